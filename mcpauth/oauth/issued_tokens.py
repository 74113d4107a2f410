"""Issued tokens, found by their text alone: for revocation, RFC 7009, and for introspection, RFC 7662."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mcpauth.events import Events, TokenRevoked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth.oauth.access_token import AccessTokens
    from mcpauth.oauth.grant import Grants
    from mcpauth.oauth.refresh_token import RefreshTokens
    from mcpauth.oauth.revocation_list import RevocationList


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token of this server, and whose it is.

    `grant_id` is None for what a client got in its own name. `claims` are those of an access token.
    """

    kind: Literal["access_token", "refresh_token"]
    client_id: str
    grant_id: str | None
    claims: Mapping[str, Any] | None = None

    @property
    def is_exchanged(self) -> bool:
        """Whether a resource server got it for a user's token (RFC 8693): the grant is not that client's."""
        return self.claims is not None and "act" in self.claims


class IssuedTokens:
    """Looks tokens up, and ends them."""

    def __init__(
        self,
        *,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        grants: Grants,
        revocations: RevocationList,
        events: Events,
    ) -> None:
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._grants = grants
        self._revocations = revocations
        self._events = events

    async def find(self, token: str) -> IssuedToken | None:
        """The token, of either kind, if it or its family is alive."""
        record = await self._refresh_tokens.find(token)
        if record is not None:
            found = IssuedToken("refresh_token", record["client_id"], record["grant_id"])
            return None if await self._grants.is_revoked(record["grant_id"]) else found
        return await self.find_access_token(token)

    async def find_access_token(self, token: str) -> IssuedToken | None:
        """The access token, if it has neither expired nor been revoked."""
        claims = await self._access_tokens.read(token)
        if claims is None or await self._revocations.has_token(claims["jti"]):
            return None
        grant_id = claims.get("grant_id")
        if grant_id is not None and await self._grants.is_revoked(grant_id):
            return None
        return IssuedToken("access_token", claims["client_id"], grant_id, claims)

    async def revoke(self, token: IssuedToken) -> None:
        """End the token, because its client asks for it, and where the grant is that client's, the grant."""
        if token.grant_id is not None and not token.is_exchanged:
            await self._grants.revoke(token.grant_id, reason="client")
        elif token.claims is not None:
            token_id = token.claims["jti"]
            if await self._revocations.add_token(token_id, token.claims["exp"]):
                await self._events.emit(TokenRevoked(client_id=token.client_id, token_id=token_id))
