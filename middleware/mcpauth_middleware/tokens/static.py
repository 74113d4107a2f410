"""Tokens that are written down, RFC 6750 §2.1: for development on one machine, and refused anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth_middleware.bearer import is_b64token
from mcpauth_middleware.errors import InvalidToken
from mcpauth_middleware.principal import Principal
from mcpauth_middleware.tokens.verified import digest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ISSUER = "static"
NEVER = 2**53 - 1


class StaticTokens:
    """Knows the tokens it was given and no other. See `TokenVerifier`.

    `McpAuthMiddleware` takes it only for a resource on loopback.

    Raises:
        ValueError: there is no token, or one that cannot be sent.
    """

    def __init__(self, principals: Mapping[str, Principal]) -> None:
        if not principals:
            raise ValueError("StaticTokens: give at least one token")
        if not all(is_b64token(token.encode(errors="replace")) for token in principals):
            raise ValueError("StaticTokens: a token has only letters, digits and -._~+/, and may end with =")
        # By digest, so that comparing takes the same time whatever is right about a wrong token.
        self._principals = {digest(token): principal for token, principal in principals.items()}

    async def verify(self, token: str) -> Principal:
        """The principal of a token; see `TokenVerifier`."""
        principal = self._principals.get(digest(token))
        if principal is None:
            raise InvalidToken("unknown")
        return principal


def static_principal(
    subject: str, *, scopes: Collection[str] = (), client_id: str = "development", resource: str = ""
) -> Principal:
    """A principal for `StaticTokens`, who never expires."""
    return Principal(
        issuer=ISSUER,
        subject=subject,
        client_id=client_id,
        scopes=frozenset(scopes),
        resource=resource,
        expires_at=NEVER,
    )
