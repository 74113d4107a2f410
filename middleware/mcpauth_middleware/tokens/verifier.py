"""What the middleware asks of whoever checks access tokens, RFC 6750 §2.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mcpauth_middleware.principal import Principal


class TokenVerifier(Protocol):
    """Tells whose token it is. Pass an own one as `verifier` where `JwtVerifier` does not fit."""

    async def verify(self, token: str) -> Principal:
        """The principal of a token that is valid for this resource now.

        Raises:
            InvalidToken: it is not; the client gets a 401.
            IssuerUnavailable: it cannot be told; the client gets a 503.
        """
        ...
