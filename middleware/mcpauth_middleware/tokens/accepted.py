"""Every kind of access token that a server accepts, RFC 6750 §2.1: which one it is decides who checks it.

A token goes to the one authorization server that can have issued it and to no other: whoever is asked
about a token learns it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth_middleware.errors import InvalidToken
from mcpauth_middleware.tokens.compact import read_compact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth_middleware.principal import Principal
    from mcpauth_middleware.tokens.compact import CompactJws
    from mcpauth_middleware.tokens.introspection import IntrospectionVerifier
    from mcpauth_middleware.tokens.jwt import JwtVerifier
    from mcpauth_middleware.tokens.verified import VerifiedTokens


class AcceptedTokens:
    """JWTs by the keys of their issuer; tokens of a server with introspection by asking. See `TokenVerifier`.

    Raises:
        ValueError: several servers have introspection, so that nobody could tell whose an opaque token is.
    """

    def __init__(
        self,
        jwt: JwtVerifier | None,
        *,
        introspection: Mapping[str, IntrospectionVerifier],
        verified: VerifiedTokens | None,
    ) -> None:
        if len(introspection) > 1:
            raise ValueError("only one authorization server can be asked about opaque tokens")
        self._jwt = jwt
        self._introspection = introspection
        self._verified = verified

    async def verify(self, token: str) -> Principal:
        """The principal of a valid token; see `TokenVerifier`."""
        if self._verified is not None and (principal := self._verified.find(token)) is not None:
            return principal
        try:
            jws = read_compact(token)
        except InvalidToken:
            # Whatever is no JWT may be an opaque token of the one server that is asked about those.
            for server in self._introspection.values():
                return await server.verify(token)
            raise
        if (asked := self._asked_about(jws)) is not None:
            return await asked.verify(token)
        return await self._signed(token, jws)

    def asks_about(self, token: str) -> bool:
        """Whether an authorization server would be asked, and did not call the token good lately."""
        if not self._introspection or (self._verified is not None and self._verified.find(token) is not None):
            return False
        try:
            asked = self._asked_about(read_compact(token))
        except InvalidToken:
            return any(asked.asks_about(token) for asked in self._introspection.values())
        return asked is not None and asked.asks_about(token)

    def _asked_about(self, jws: CompactJws) -> IntrospectionVerifier | None:
        issuer = jws.claims.get("iss")
        if issuer is None:
            # Nobody else takes such a token; for the one server that is asked it need not say anything.
            return next(iter(self._introspection.values()), None)
        return self._introspection.get(str(issuer))

    async def _signed(self, token: str, jws: CompactJws) -> Principal:
        if self._jwt is None:
            raise InvalidToken("issuer")
        principal = await self._jwt.verify_parsed(jws)
        if self._verified is not None:
            self._verified.keep(token, principal)
        return principal
