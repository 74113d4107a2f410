"""From a request to its principal, RFC 6750 §2 and RFC 9449 §7: steps in their order; each may refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth_middleware.bearer import read_credentials
from mcpauth_middleware.errors import InvalidRequest, InvalidToken, MissingToken, Unavailable, UseDpopNonce
from mcpauth_middleware.tokens.revocation import is_revoked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpauth_middleware.asgi import ASGIApp, Event, Receive, Scope, Send
    from mcpauth_middleware.background import Background
    from mcpauth_middleware.bearer import Credentials
    from mcpauth_middleware.exchange import Exchange
    from mcpauth_middleware.principal import Principal
    from mcpauth_middleware.request_headers import RequestHeaders
    from mcpauth_middleware.streams import OpenStreams
    from mcpauth_middleware.throttle import FailedAuthentications
    from mcpauth_middleware.tokens.dpop import DpopBinding
    from mcpauth_middleware.tokens.revocation import RevocationList
    from mcpauth_middleware.tokens.verifier import TokenVerifier
    from mcpauth_middleware.upstream import TokenExchange


class Authentication:
    """Tells who sent a request, and ends what outlives its token."""

    def __init__(
        self,
        verifier: TokenVerifier,
        *,
        dpop: DpopBinding,
        revocation_lists: Mapping[str, RevocationList],
        failures: FailedAuthentications,
        streams: OpenStreams,
        background: Background,
        now: Callable[[], float],
        upstream: TokenExchange | None = None,
        asks_about: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._verifier = verifier
        self._asks_about = asks_about
        self._dpop = dpop
        self._revocation_lists = revocation_lists
        self._failures = failures
        self.streams = streams
        self._background = background
        self._now = now
        self._upstream = upstream

    async def principal(self, exchange: Exchange, *, again: bool = False) -> Principal:
        """Who sent the request; `again` when time has passed since: its proof, good once, was looked at.

        Raises:
            MissingToken, InvalidToken, InvalidRequest: nobody that could be told.
            RateLimited: the same, once too often from this address.
            Unavailable: it cannot be told now.
        """
        is_counted = False
        try:
            credentials = self._credentials(exchange)
            if is_counted := self._asks_about(credentials.token):
                # Before, or whoever invents tokens could have the authorization server asked without end.
                await self._failures.count(exchange.address)
            principal = await self._verifier.verify(credentials.token)
            if not again:
                self._dpop.check(credentials, principal, exchange)
            if (revocations := self._revocation_lists.get(principal.issuer)) is not None:
                await revocations.check(principal)
        except UseDpopNonce:
            raise  # no failure: the client could not know the nonce
        except (MissingToken, InvalidToken, InvalidRequest):
            if not is_counted:
                await self._failures.count(exchange.address)
            raise
        if self._upstream is not None:
            self._upstream.keep(principal, credentials.token)
        return principal

    def why_ended(self, principal: Principal) -> str | None:
        """Why a token that was good when its request came is so no more; None: it is."""
        if principal.expires_at <= self._now():
            return "token_expired"
        return "revoked" if is_revoked(self._revocation_lists, principal) else None

    def _credentials(self, exchange: Exchange) -> Credentials:
        credentials = read_credentials(exchange.sent, exchange.scope.get("query_string", b""))
        if credentials.scheme == "DPoP" and self._dpop.mode == "off":
            raise MissingToken
        exchange.scheme = credentials.scheme
        return credentials

    async def lifespan(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the application's lifespan through; before it has ended, end what runs in the background."""

        async def closing_before_the_end(event: Event) -> None:
            if event["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self._background.aclose()
            await send(event)

        try:
            await app(scope, receive, closing_before_the_end)
        finally:
            await self._background.aclose()


async def is_still_good(verifier: TokenVerifier, sent: RequestHeaders) -> bool:
    """Whether whoever verified the token of a request takes it still. Its proof, good once, was looked at."""
    try:
        await verifier.verify(read_credentials(sent, b"").token)
    except (MissingToken, InvalidToken, InvalidRequest):
        return False
    except Unavailable:
        return True  # that cannot be told now; at its end it ends all the same
    return True
