"""The answer to each refusal, in the form its client can bear (RFC 6750 §3, RFC 6585 §4, JSON-RPC 2.0 §5.1).

What decides the form is measured behaviour: an SDK of the revisions before 2026-07-28 may lose its
whole session over an HTTP error, while the later ones read a JSON-RPC error from it. Only what OAuth
itself needs is an HTTP error for everyone: 401, and the 403 that asks for more scopes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpauth_middleware.challenges import Challenges
from mcpauth_middleware.errors import (
    AuditUnavailable,
    Denied,
    InsufficientScope,
    InvalidArguments,
    InvalidRequest,
    InvalidToken,
    MethodNotAllowed,
    MissingToken,
    RateLimited,
    Unavailable,
    UseDpopNonce,
)
from mcpauth_middleware.message.refusal import INVALID_PARAMS, MessageRefused
from mcpauth_middleware.message.target import Target
from mcpauth_middleware.responses import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcpauth_middleware.bearer import Scheme
    from mcpauth_middleware.errors import Refused
    from mcpauth_middleware.message import Message
    from mcpauth_middleware.tokens.dpop import DpopMode

METHOD_NOT_FOUND = -32601
# Codes of our own, outside the ranges that JSON-RPC and MCP reserve.
INSUFFICIENT_SCOPE = 40300
RATE_LIMITED = 42900
UNAVAILABLE = 50300

_NAMED_BY = {"prompts/get": "name", "resources/read": "uri", "resources/subscribe": "uri"}


class Refusals:
    """Turns refusals into answers for one resource."""

    def __init__(
        self, *, resource_metadata: str, scopes: Callable[[], Sequence[str]], dpop: DpopMode = "off"
    ) -> None:
        self._challenges = Challenges(resource_metadata=resource_metadata, dpop=dpop)
        self._scopes = scopes

    def answer(
        self, refused: Refused | MessageRefused, message: Message | None, scheme: Scheme = "Bearer"
    ) -> Answer:
        """The answer to a request; `message` is None when it was refused before its body was read.

        `scheme` is that of the Authorization header.
        """
        match refused:
            case MessageRefused():
                return _malformed(refused)
            case InsufficientScope():
                return self._step_up(refused, message, scheme)
            case Denied() if message is not None:
                return _unknown(message)
            case RateLimited() if message is not None:
                return _slow_down(refused, message)
            case InvalidArguments() if message is not None:
                return _invalid_arguments(refused, message)
            case AuditUnavailable() if message is not None:
                return _later(refused, message)
            case _:
                return Answer(refused.status, _oauth_error(refused), self._headers(refused, scheme))

    def _headers(self, refused: Refused, scheme: Scheme) -> tuple[tuple[str, str], ...]:
        match refused:
            case UseDpopNonce():
                challenges = self._challenges.all(refused, self._scopes(), scheme)
                return (*challenges, ("DPoP-Nonce", refused.nonce))
            case MissingToken() | InvalidToken():
                return self._challenges.all(refused, self._scopes(), scheme)
            case InvalidRequest():
                return self._challenges.one(refused, (), scheme)
            case Unavailable() | RateLimited():
                return (("Retry-After", str(refused.retry_after)),)
            case MethodNotAllowed():
                return (("Allow", "GET, HEAD, POST, DELETE, OPTIONS"),)
            case _:
                return ()

    def _step_up(self, refused: InsufficientScope, message: Message | None, scheme: Scheme) -> Answer:
        error = _error(INSUFFICIENT_SCOPE, refused.description, {"scope": " ".join(refused.scopes)})
        return Answer(
            refused.status,
            _response(message, error=error),
            self._challenges.one(refused, refused.scopes, scheme),
        )


def _malformed(refused: MessageRefused) -> Answer:
    """For a body, or headers, that are not one MCP message."""
    error = _error(refused.code, refused.message)
    # What is wrong with the parameters may be a model's doing, and must not end its session.
    is_borne = refused.code == INVALID_PARAMS and refused.id is not None and not refused.modern
    return Answer(200 if is_borne else refused.status, {"jsonrpc": "2.0", "id": refused.id, "error": error})


def _oauth_error(refused: Refused) -> dict[str, Any]:
    code = {"error": refused.error} if refused.error else {}
    return {**code, "error_description": refused.description}


def _unknown(message: Message) -> Answer:
    """What a server says of a name it does not have: a name that must not be seen is answered alike."""
    if message.kind != "request":
        return Answer(202)  # nobody waits for the answer to a notification
    if message.method == "tools/call":
        return _tool_error(message, f"Unknown tool: {message.params['name']}")
    target = message.targets[0] if message.targets else None
    if target is None or target == Target("method", message.method or ""):
        error = _error(METHOD_NOT_FOUND, "Method not found", message.method)
        return Answer(404 if message.modern else 200, _response(message, error=error))
    # The one kind of method that is asked for by another.
    kind = "subscription" if target.kind == "method" else target.kind
    # Named only when the message itself names just the one: which of several is hidden is not told.
    name = message.params.get(_NAMED_BY.get(message.method or "", ""))
    error = _error(
        INVALID_PARAMS,
        f"Unknown {kind}: {name}" if name else f"Unknown {kind}",
        {"uri": name} if name and kind == "resource" else None,
    )
    return Answer(400 if message.modern else 200, _response(message, error=error))


def _invalid_arguments(refused: InvalidArguments, message: Message) -> Answer:
    data = {"problems": list(refused.problems)} if refused.problems else None
    error = _error(INVALID_PARAMS, refused.text, data)
    return Answer(400 if message.modern else 200, _response(message, error=error))


def _slow_down(refused: RateLimited, message: Message) -> Answer:
    error = _error(RATE_LIMITED, "Rate limit reached", {"retryAfterSeconds": refused.retry_after})
    if message.modern:
        return Answer(429, _response(message, error=error), (("Retry-After", str(refused.retry_after)),))
    if message.method == "tools/call":
        # The model reads this, and can do as it says.
        return _tool_error(
            message, f"Rate limit reached. Wait {refused.retry_after} seconds, then call the tool again."
        )
    return Answer(200, _response(message, error=error))


def _later(refused: AuditUnavailable, message: Message) -> Answer:
    error = _error(UNAVAILABLE, refused.description, {"retryAfterSeconds": refused.retry_after})
    if message.modern:
        retry_after = ("Retry-After", str(refused.retry_after))
        return Answer(refused.status, _response(message, error=error), (retry_after,))
    if message.kind != "request":
        return Answer(202)  # an HTTP error would end the session, and nobody reads another one
    if message.method == "tools/call":
        return _tool_error(
            message, f"{refused.description}. Wait {refused.retry_after} seconds, then call the tool again."
        )
    return Answer(200, _response(message, error=error))


def _tool_error(message: Message, text: str) -> Answer:
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": True}
    if message.modern:
        result["resultType"] = "complete"
    return Answer(200, _response(message, result=result))


def _response(message: Message | None, **member: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message.id if message is not None else None, **member}


def _error(code: int, text: str, data: object = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": text}
    return error if data is None else {**error, "data": data}
