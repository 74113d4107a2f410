"""JWT access tokens, RFC 9068 §4, with the advice of RFC 8725: every check a resource server owes, in order.

Deliberately stricter than the general JWT rules: header members that could point at another key do
not exist, and what a server adds or leaves out must have been said of it (`AuthorizationServer`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mcpauth_middleware.errors import InvalidToken, naming
from mcpauth_middleware.resource import canonical_resource
from mcpauth_middleware.tokens import claims as rules
from mcpauth_middleware.tokens.authorization_server import (
    ACCESS_TOKEN_TYP,
    AuthorizationServer,
    distinct,
    media_type,
)
from mcpauth_middleware.tokens.compact import read_compact
from mcpauth_middleware.tokens.fetch import fetch_json
from mcpauth_middleware.tokens.issuer import Issuer
from mcpauth_middleware.tokens.jwks import ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import httpx2

    from mcpauth_middleware.background import Background
    from mcpauth_middleware.principal import Principal
    from mcpauth_middleware.tokens.compact import CompactJws

_HEADER_MEMBERS = frozenset({"alg", "typ", "kid"})


class JwtVerifier:
    """Verifies access tokens of the given issuers for one resource.

    An issuer given as a string follows RFC 9068; describe others with `AuthorizationServer`.
    `accepted_audiences` is for all of them, `accepted_typ` for those given as strings.
    A token that is bound to a key (`cnf`) is refused, since this verifier sees no proof of it; who checks
    the proof after it, as the middleware does, says `bound_tokens=True`.

    Raises:
        ValueError: an issuer or the resource cannot be one, or there is no issuer.
    """

    def __init__(
        self,
        *,
        resource: str,
        issuers: Sequence[str | AuthorizationServer],
        accepted_audiences: Sequence[str] = (),
        accepted_typ: Collection[str | None] = (ACCESS_TOKEN_TYP,),
        bound_tokens: bool = False,
        http_client: httpx2.AsyncClient | None = None,
        background: Background | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not issuers:
            raise ValueError("issuers: name at least one authorization server")

        async def fetch(url: str) -> Mapping[str, Any]:
            return await fetch_json(url, client=http_client)

        with naming("resource"):
            self._resource = canonical_resource(resource)
        with naming("issuers"):
            servers = distinct(
                AuthorizationServer(given, accepted_typ=accepted_typ) if isinstance(given, str) else given
                for given in issuers
            )
            self._accepted = {
                server.issuer: _Accepted(
                    replace(
                        server,
                        accepted_audiences=frozenset(
                            {
                                *rules.spellings(self._resource),
                                *accepted_audiences,
                                *server.accepted_audiences,
                            }
                        ),
                    ),
                    Issuer(
                        server.issuer, fetch=fetch, now=now, jwks_uri=server.jwks_uri, background=background
                    ),
                )
                for server in servers
            }
        self._bound_tokens = bound_tokens
        self._now = now

    async def verify(self, token: str) -> Principal:
        """The principal of a valid token; see `TokenVerifier`."""
        return await self.verify_parsed(read_compact(token))

    async def verify_parsed(self, jws: CompactJws) -> Principal:
        """The same for a token that has been taken apart already."""
        accepted = self._accepted.get(rules.text(jws.claims, "iss"))
        if accepted is None:
            raise InvalidToken("issuer")
        accepted.check_header(jws)
        rules.check_audience(jws.claims, accepted.server.accepted_audiences)
        await accepted.check_signature(jws)
        rules.check_times(jws.claims, self._now())
        # RFC 9449 §7.1, RFC 8705 §3: without the proof, anyone who saw the token could use it.
        if "cnf" in jws.claims and not self._bound_tokens:
            raise InvalidToken("bound_to_a_key")
        return rules.principal_of(jws.claims, accepted.server, resource=self._resource)

    def generation(self, issuer: str) -> object:
        """Another object each time the keys of this issuer have changed."""
        return self._accepted[issuer].issuer.keys


class _Accepted:
    """One authorization server, and its keys."""

    def __init__(self, server: AuthorizationServer, issuer: Issuer) -> None:
        self.server = server
        self.issuer = issuer
        self._header_members = _HEADER_MEMBERS.union(server.extra_header_members)
        self._typ = frozenset(None if typ is None else media_type(typ) for typ in server.accepted_typ)

    def check_header(self, jws: CompactJws) -> None:
        header = jws.header
        # `crit` among them: this verifier understands no extension (RFC 7515 §4.1.11).
        if not header.keys() <= self._header_members:
            raise InvalidToken("header")
        if rules.text(header, "alg") not in ALGORITHMS:
            raise InvalidToken("algorithm")
        typ = rules.optional_text(header, "typ")
        typ = None if typ is None else media_type(typ)
        if typ not in self._typ:
            raise InvalidToken("typ")
        if typ != ACCESS_TOKEN_TYP:
            rules.check_is_access_token(jws.claims, self.server)

    async def check_signature(self, jws: CompactJws) -> None:
        keys = await self.issuer.signing_keys(rules.optional_text(jws.header, "kid"), jws.header["alg"])
        if not keys:
            raise InvalidToken("unknown_key")
        for key in keys:
            if key.verifies(jws.signing_input, jws.signature):
                return
        raise InvalidToken("signature")
