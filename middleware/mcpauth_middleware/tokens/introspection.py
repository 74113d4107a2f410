"""Opaque access tokens, RFC 7662: the authorization server is asked what a token is worth.

The answer is kept for some seconds only, so that a revoked token ends soon. An authorization server that
cannot be asked makes its tokens neither good nor bad: `IssuerUnavailable`, and never a 401.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from mcpauth_middleware.background import Background, CallCancelled, SharedCalls, TooManyCalls
from mcpauth_middleware.errors import InvalidToken, IssuerUnavailable
from mcpauth_middleware.resource import canonical_resource
from mcpauth_middleware.tokens import claims as rules
from mcpauth_middleware.tokens.bounded_cache import BoundedCache
from mcpauth_middleware.tokens.compact import MAX_TOKEN_BYTES
from mcpauth_middleware.tokens.discovery import DiscoveredUrl
from mcpauth_middleware.tokens.fetch import FetchFailed, JsonRequest, exchange_json, fetch_json
from mcpauth_middleware.tokens.verified import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import httpx2

    from mcpauth_middleware.principal import Principal
    from mcpauth_middleware.tokens.authorization_server import AuthorizationServer

MAX_CACHE_SECONDS = 10.0
LATELY_SECONDS = 600.0
"""So long a token that was good is not one that somebody may have invented."""
MAX_ENTRIES = 10_000
MAX_QUESTIONS = 100
"""Anyone can send what might be a token: the authorization server is not asked about more at a time."""
RETRY_SECONDS = 5

_OK, _UNAUTHORIZED = 200, 401
_logger = logging.getLogger(__name__)


class IntrospectionVerifier:
    """Asks one authorization server about tokens for one resource. See `TokenVerifier`.

    Many requests with one token ask once, and the answer holds for `cache_seconds`, ten at most.
    As with `JwtVerifier`, a token that is bound to a key needs `bound_tokens=True`.

    Raises:
        ValueError: the server's description has no credentials, or an option is out of its range.
    """

    def __init__(
        self,
        server: AuthorizationServer,
        *,
        resource: str,
        accepted_audiences: Sequence[str] = (),
        cache_seconds: float = MAX_CACHE_SECONDS,
        bound_tokens: bool = False,
        http_client: httpx2.AsyncClient | None = None,
        background: Background | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not 0 <= cache_seconds <= MAX_CACHE_SECONDS:
            raise ValueError(f"cache_seconds: must be from 0 to {MAX_CACHE_SECONDS:g} (got {cache_seconds})")
        self._server = server
        self._endpoint = IntrospectionEndpoint(server, http_client=http_client, now=now)
        self._resource = canonical_resource(resource)
        self._audiences = frozenset(
            {*rules.spellings(self._resource), *accepted_audiences, *server.accepted_audiences}
        )
        self._cache_seconds = cache_seconds
        self._bound_tokens = bound_tokens
        self._now = now
        self._good: BoundedCache[Principal] = BoundedCache(max_entries=MAX_ENTRIES, now=now)
        # Apart, so that a flood of invented tokens does not drive out the good ones.
        self._bad: BoundedCache[str] = BoundedCache(max_entries=MAX_ENTRIES, now=now)
        self._lately: BoundedCache[bytes] = BoundedCache(max_entries=MAX_ENTRIES, now=now)
        self._questions: SharedCalls[Principal | str] = SharedCalls(
            background or Background(), max_calls=MAX_QUESTIONS
        )

    async def verify(self, token: str) -> Principal:
        """The principal of a token that is valid now; see `TokenVerifier`."""
        if len(token) > MAX_TOKEN_BYTES:
            raise InvalidToken("too_long")
        key = digest(token)
        verdict = self._good.get(key) or self._bad.get(key)
        if verdict is None:
            verdict = await self._ask(key, token)
        if isinstance(verdict, str):
            raise InvalidToken(verdict)
        return verdict

    def asks_about(self, token: str) -> bool:
        """Whether the authorization server would be asked, and did not call the token good lately."""
        key = digest(token)
        return self._lately.get(key) is None and self._bad.get(key) is None

    async def _ask(self, key: bytes, token: str) -> Principal | str:
        try:
            return await self._questions.result(key, partial(self._judge, key, token))
        except (FetchFailed, CallCancelled) as error:
            _logger.warning("No introspection by %s: %s", self._server.issuer, error)
            raise IssuerUnavailable("issuer_unavailable", retry_after=RETRY_SECONDS) from None
        except TooManyCalls:
            raise IssuerUnavailable("introspection_busy", retry_after=1) from None

    async def _judge(self, key: bytes, token: str) -> Principal | str:
        """The principal, or the reason why there is none."""
        claims = await self._endpoint.ask(token)
        until = self._now() + self._cache_seconds
        try:
            principal = self._principal(claims)
        except InvalidToken as refused:
            self._bad.put(key, refused.reason, until=until)
            return refused.reason
        self._good.put(key, principal, until=min(until, principal.expires_at))
        self._lately.put(key, key, until=self._now() + LATELY_SECONDS)
        return principal

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        # Exactly true: "true" or 1 is no answer of a server that knows §2.2.
        if claims.get("active") is not True:
            raise InvalidToken("inactive")
        if claims.get("iss", self._server.issuer) != self._server.issuer:
            raise InvalidToken("issuer")
        rules.check_told_kind(claims)
        # §2.2 lets the server leave these out; without them nobody could tell for whom and for how long.
        rules.check_audience(claims, self._audiences)
        rules.check_times(claims, self._now())
        if "cnf" in claims and not self._bound_tokens:
            raise InvalidToken("bound_to_a_key")
        # A client that acts for itself need not have a `sub`.
        subject = claims.get("sub", claims.get("client_id"))
        return rules.principal_of({**claims, "sub": subject}, self._server, resource=self._resource)


class IntrospectionEndpoint:
    """The introspection endpoint of an authorization server, found by its metadata."""

    def __init__(
        self, server: AuthorizationServer, *, http_client: httpx2.AsyncClient | None, now: Callable[[], float]
    ) -> None:
        if server.introspection is None:
            raise ValueError("introspection: give the ClientCredentials of this resource server")
        self._authorization = server.introspection.authorization()
        self._http_client = http_client

        async def fetch(url: str) -> Mapping[str, Any]:
            return await fetch_json(url, client=http_client)

        self._url = DiscoveredUrl(
            server.issuer,
            "introspection_endpoint",
            fetch=fetch,
            now=now,
            configured=server.introspection_endpoint,
        )

    async def ask(self, token: str) -> Mapping[str, Any]:
        """The answer, §2.2.

        Raises:
            FetchFailed: there is none that could be relied on.
        """
        try:
            return await self._ask(await self._url.get(), token)
        except FetchFailed:
            self._url.doubt()
            raise

    async def _ask(self, url: str, token: str) -> Mapping[str, Any]:
        request = JsonRequest(
            url,
            method="POST",
            headers={"Authorization": self._authorization},
            form={"token": token, "token_type_hint": "access_token"},
        )
        answer = await exchange_json(request, client=self._http_client)
        if answer.status == _UNAUTHORIZED:
            raise FetchFailed(f"{url}: does not know this resource server; check its client_id and secret")
        if answer.status != _OK:
            raise FetchFailed(f"{url}: status {answer.status}")
        return answer.document()
