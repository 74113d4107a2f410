"""Which challenges a refusal carries: Bearer first, then DPoP (RFC 6750 §3, RFC 9449 §7.1).

Clients exist that look only at the first challenge, or for the first `error=` or `scope=` in the whole
header; both find what they are looking for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth_middleware.challenge import challenge
from mcpauth_middleware.errors import MissingToken
from mcpauth_middleware.tokens.dpop_proof import SIGNING_ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth_middleware.bearer import Scheme
    from mcpauth_middleware.errors import Refused
    from mcpauth_middleware.tokens.dpop import DpopMode


_ACCEPTED: dict[DpopMode, tuple[Scheme, ...]] = {
    "off": ("Bearer",),
    "accepted": ("Bearer", "DPoP"),
    "required": ("DPoP",),
}


class Challenges:
    """The WWW-Authenticate headers of one resource."""

    def __init__(self, *, resource_metadata: str, dpop: DpopMode) -> None:
        self._resource_metadata = resource_metadata
        self._schemes = _ACCEPTED[dpop]

    def all(self, refused: Refused, scopes: Sequence[str], used: Scheme) -> tuple[tuple[str, str], ...]:
        """One of each scheme that is accepted; what was wrong is said in that of the request."""
        used = used if used in self._schemes else self._schemes[0]
        # RFC 6750 §3.1: without a token there is no error to tell.
        error = None if isinstance(refused, MissingToken) else refused.error
        return tuple(
            # The first tells all that a client needs to begin.
            self._header(
                scheme, refused, scopes if first else (), error=error if scheme == used else None, link=first
            )
            for scheme in self._schemes
            for first in [scheme == self._schemes[0]]
        )

    def one(self, refused: Refused, scopes: Sequence[str], used: Scheme) -> tuple[tuple[str, str], ...]:
        """That of the request alone: its scheme is right, and the token good."""
        used = used if used in self._schemes else self._schemes[0]
        return (self._header(used, refused, scopes, error=refused.error, link=True),)

    def _header(
        self, scheme: Scheme, refused: Refused, scopes: Sequence[str], *, error: str | None, link: bool
    ) -> tuple[str, str]:
        return "WWW-Authenticate", challenge(
            scheme,
            resource_metadata=self._resource_metadata if link else None,
            error=error,
            scope=scopes,
            error_description=refused.description if error else None,
            algs=SIGNING_ALGORITHMS if scheme == "DPoP" else (),
        )
