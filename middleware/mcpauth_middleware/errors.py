"""Why a request goes no further: one class per refusal, with its HTTP status (RFC 6750 §3.1, RFC 9110 §15).

`description` is for the client's developer and says nothing about which check failed; `reason` is a
short constant for the audit journal and never leaves the server.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence


class Refused(Exception):
    """A request that is answered here and does not reach the application."""

    status: ClassVar[int] = 400
    error: ClassVar[str | None] = None
    """The code on the wire, where the refusal has one."""
    description: ClassVar[str] = "The request was refused"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class InvalidRequest(Refused):
    """The token was sent in a way that RFC 6750 §2 does not allow, or twice."""

    status = 400
    error = "invalid_request"
    description = "Send the access token once, in the Authorization header"


class MissingToken(Refused):
    """No token came. RFC 6750 §3.1: such an answer names no error."""

    status = 401
    description = "An access token is required"

    def __init__(self, reason: str = "no_token") -> None:
        super().__init__(reason)


class InvalidToken(Refused):
    """The token is expired, revoked, malformed, not for this server or not from its authorization server."""

    status = 401
    error = "invalid_token"
    description = "The access token is invalid or has expired"


class InvalidDpopProof(InvalidToken):
    """The token is bound to a key, and the request does not prove that its sender has it (RFC 9449 §7.1)."""

    error = "invalid_dpop_proof"
    description = "The DPoP proof is missing or not valid for this request"


class UseDpopNonce(InvalidDpopProof):
    """The proof is good but for the nonce, which the answer gives (RFC 9449 §9)."""

    error = "use_dpop_nonce"
    description = "Put the nonce of this answer into the DPoP proof"

    def __init__(self, nonce: str) -> None:
        super().__init__("nonce")
        self.nonce = nonce


class OriginRefused(Refused):
    """A web page of an origin that is not allowed sent the request."""

    status = 403
    error = "origin_not_allowed"
    description = "This origin may not call this server"


class InsufficientScope(Refused):
    """The principal may do this with more scopes: the one refusal that a client can mend by itself."""

    status = 403
    error = "insufficient_scope"
    description = "This call needs more scopes than the access token has"

    def __init__(self, scopes: Iterable[str]) -> None:
        super().__init__("insufficient_scope")
        self.scopes = tuple(sorted(scopes))
        """Every scope the call needs, those already held included."""


class Denied(Refused):
    """The policy does not let this principal send this message, whatever its scopes."""

    status = 403
    error = "access_denied"


class InvalidArguments(Refused):
    """The arguments of a call are not what the tool's input schema asks for."""

    status = 400
    error = "invalid_arguments"

    def __init__(self, problems: Sequence[str], text: str = "Invalid arguments") -> None:
        super().__init__("invalid_arguments")
        self.problems = tuple(problems)
        self.text = "; ".join([f"{text}: {problems[0]}", *problems[1:]]) if problems else text
        """For whoever made the call to read, be it a model: nothing in it is of anybody else."""


class NotAnEndpoint(Refused):
    """The path is none at which MCP is spoken: nothing is judged there, so nothing runs."""

    status = 404
    error = "not_found"
    description = "The access token is for another path of this server"


class MethodNotAllowed(Refused):
    """An HTTP method that no revision of MCP uses."""

    status = 405
    error = "method_not_allowed"
    description = "Use POST, GET, HEAD or DELETE"


class ContentTooLarge(Refused):
    """The body is longer than this server reads."""

    status = 413
    error = "content_too_large"
    description = "The request body is too large"


class RateLimited(Refused):
    """Too many calls; the same one may pass after `retry_after` seconds."""

    status = 429
    error = "rate_limited"
    description = "Too many requests"

    def __init__(self, limit: str | None, *, retry_after: float) -> None:
        super().__init__("rate_limited")
        self.limit = limit
        # Rounded up, so that it is never too early; what is left below a millisecond is of calculation.
        self.retry_after = max(1, math.ceil(round(retry_after, 3)))


class MisdirectedRequest(Refused):
    """The Host header is not a name of this server, as in DNS rebinding."""

    status = 421
    error = "misdirected_request"
    description = "This server does not answer for this host"


class Unavailable(Refused):
    """The server cannot decide now; the same request may succeed later. No 401: the token may be good."""

    status = 503
    error = "temporarily_unavailable"
    description = "The request cannot be authorized at the moment"

    def __init__(self, reason: str, *, retry_after: int) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        """Seconds for the Retry-After header."""


class IssuerUnavailable(Unavailable):
    """The keys of the authorization server cannot be had."""


class AuditUnavailable(Unavailable):
    """The intent could not be recorded, so the call must not run."""

    description = "The server cannot do this at the moment"

    def __init__(self) -> None:
        super().__init__("audit_failed", retry_after=5)


@contextmanager
def naming(option: str) -> Generator[None]:
    """Put the option's name before the message of a `ValueError` from checking it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


class ClientDisconnected(Exception):
    """The client went away before its request was complete: there is nobody to answer."""
