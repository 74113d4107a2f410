"""What a token is worth now, RFC 7662 §2.2, told to those who may know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth.oauth.client import Client, KnownClients
    from mcpauth.oauth.grant import Grants
    from mcpauth.oauth.issued_tokens import IssuedToken, IssuedTokens
    from mcpauth.oauth.refresh_token import RefreshTokens

INACTIVE: Mapping[str, Any] = {"active": False}

# Of an access token: `auth_time` and `acr` as RFC 9470 §6.2 has them, `act` as RFC 8693 §4.1; `grant_id` is
# our own.
TOLD = (
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "jti",
    "client_id",
    "scope",
    "auth_time",
    "acr",
    "act",
    "cnf",
    "grant_id",
)


class Introspection:
    """Answers what a token is worth.

    An access token is told to the server of its resource and to the client it was issued to, a refresh token
    only to the latter. To anybody else every token is inactive, like one that never was (§4).
    """

    def __init__(
        self,
        tokens: IssuedTokens,
        *,
        refresh_tokens: RefreshTokens,
        grants: Grants,
        clients: KnownClients,
        issuer: str,
    ) -> None:
        self._tokens = tokens
        self._refresh_tokens = refresh_tokens
        self._grants = grants
        self._clients = clients
        self._issuer = issuer

    async def describe(self, token: str, client: Client) -> Mapping[str, Any]:
        """The members of the answer to this client."""
        found = await self._tokens.find(token)
        if found is None or not may_know(client, found) or not await self._counts(found):
            return INACTIVE
        if found.claims is None:
            return await self._refresh_token(token, found)
        told = {name: found.claims[name] for name in TOLD if name in found.claims}
        return {"active": True, "token_type": "DPoP" if "cnf" in told else "Bearer", **told}

    async def _counts(self, found: IssuedToken) -> bool:
        """Whether whoever the token speaks for is still there: its user, or the client itself."""
        if found.claims is None:
            return True
        if found.grant_id is None:
            return await self._clients.get(found.client_id) is not None
        # Found: so its grant has not been revoked.
        return await self._grants.is_active_user(found.claims["sub"])

    async def _refresh_token(self, token: str, found: IssuedToken) -> Mapping[str, Any]:
        # Only the newest of its family is worth anything, and no longer than its grant is in force.
        grant = await self._grants.get(found.grant_id or "")
        if grant is None or not await self._refresh_tokens.is_newest(token):
            return INACTIVE
        resource, *others = grant.resources
        return {
            "active": True,
            "iss": self._issuer,
            "sub": grant.user_id,
            "aud": resource if not others else [resource, *others],
            "client_id": grant.client_id,
            "scope": " ".join(grant.scopes),
            "grant_id": grant.grant_id,
        }


def may_know(client: Client, token: IssuedToken) -> bool:
    """Whether the client is the server of the token's resource, or got the token itself."""
    if token.client_id == client.client_id:
        return True
    return token.claims is not None and token.claims["aud"] in client.terms.serves
