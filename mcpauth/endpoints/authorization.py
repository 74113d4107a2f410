"""The authorization endpoint, RFC 6749 §4.1: a client's request becomes, once its user has decided, an
answer with `iss` (RFC 9207). The request may have been pushed (RFC 9126).

`GET /authorize` with the client's parameters only stores the request, and may be repeated: clients probe the
address before they open a browser with it. `GET /authorize?request=…` is where every step returns to; it
finds the next one.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from mcpauth.events import AuthorizationRefused, ConsentDenied, ConsentGiven, Events
from mcpauth.oauth.authorization_response import code_redirect, error_redirect
from mcpauth.oauth.authorization_rules import (
    AuthorizationRules,
    NoRedirect,
    RedirectError,
    check_authorization_request,
)
from mcpauth.oauth.errors import (
    AccessDenied,
    ConsentRequired,
    InvalidRequestUri,
    LoginRequired,
    OAuthError,
)
from mcpauth.oauth.form import Form, parse_query
from mcpauth.oauth.grant import Grant
from mcpauth.oauth.random_text import random_text
from mcpauth.oauth.store import digest
from mcpauth.pages.errors import lost
from mcpauth.web.html import see_other

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.endpoints.interaction import Interactions
    from mcpauth.oauth.authorization_code import AuthorizationCodes
    from mcpauth.oauth.authorization_request import AskingDevice, AuthorizationRequest, AuthorizationRequests
    from mcpauth.oauth.client import KnownClients
    from mcpauth.oauth.pushed_authorization_request import PushedAuthorizationRequests
    from mcpauth.web.cookies import Cookie


class AuthorizationEndpoint:
    """Answers `GET /authorize`. `answer_device` brings a decision to a device, for which there is no redirect
    (RFC 8628); None where devices cannot ask.
    """

    def __init__(
        self,
        interactions: Interactions,
        requests: AuthorizationRequests,
        codes: AuthorizationCodes,
        clients: KnownClients,
        rules: AuthorizationRules,
        pushed: PushedAuthorizationRequests,
        events: Events,
        *,
        issuer: str,
        browser_cookie: Cookie,
        answer_device: Callable[[AskingDevice, Grant | None], Awaitable[Response]] | None = None,
        now: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._interactions = interactions
        self._requests = requests
        self._codes = codes
        self._clients = clients
        self._rules = rules
        self._pushed = pushed
        self._events = events
        self._issuer = issuer
        self._browser_cookie = browser_cookie
        self._answer_device = answer_device
        self._now = now
        self._token_bytes = token_bytes

    async def get(self, request: Request) -> Response:
        """A new request, or the next step of one under way."""
        pairs = parse_query(request.scope["query_string"])
        # A client's parameter `request` is a JWT of RFC 9101; it always comes with a client_id, ours never
        # does.
        if {name for name, _ in pairs} == {"request"}:
            return await self._next_step(request, Form(pairs).optional("request"))
        try:
            return await self._begin(request, pairs)
        except NoRedirect as error:
            await self._refused(error, client_id=None, redirected=False)
            raise
        except RedirectError as error:
            await self._refused(error.error, client_id=error.client_id, redirected=True)
            return self._error(error.error, error.redirect_uri, error.state)

    async def _begin(self, request: Request, pairs: list[tuple[str, str]]) -> Response:
        known_browser = self._browser_cookie.read(request)
        browser = known_browser or random_text(self._token_bytes)
        parameters, pushed = await self._pushed.resolve(pairs)
        checked = await check_authorization_request(
            parameters,
            clients=self._clients,
            rules=self._rules,
            browser=digest(browser),
            now=self._now(),
            pushed=pushed,
        )
        if checked.demands.in_silence:
            raise await self._needs_the_user(request, checked)
        response = await self._interactions.begin(request, checked)
        if known_browser is None:
            self._browser_cookie.set(response, browser)
        return response

    async def _needs_the_user(self, request: Request, checked: AuthorizationRequest) -> RedirectError:
        """`prompt=none`, OpenID Connect Core §3.1.2.1: nothing may be shown, and something has to be."""
        signed_in = await self._interactions.session(request) is not None
        error = (
            ConsentRequired("the user has to be asked") if signed_in else LoginRequired("nobody is signed in")
        )
        return RedirectError(error, checked.redirect_uri, checked.state, checked.client_id)

    async def _next_step(self, request: Request, request_id: str | None) -> Response:
        interaction = await self._interactions.resume(request, request_id)
        step = interaction.next_step()
        if step != "answer":
            return self._interactions.go_on(interaction.request_id, step)
        # Taken before the code exists: of two browsers' tabs one gets an answer.
        decided = await self._requests.take(interaction.request_id)
        if decided is None or not await self._is_first_answer(decided):
            raise lost()
        return await self._answer(decided)

    async def _is_first_answer(self, decided: AuthorizationRequest) -> bool:
        """RFC 9126 §4: several browsers may have opened one pushed request; one of them gets an answer."""
        if decided.pushed is None or await self._pushed.use_up(decided.pushed):
            return True
        error = InvalidRequestUri("the request_uri was used already")
        await self._refused(error, client_id=decided.client_id, redirected=False)
        return False

    async def _answer(self, decided: AuthorizationRequest) -> Response:
        if not decided.approved or decided.user_id is None:
            await self._events.emit(
                ConsentDenied(
                    user_id=decided.user_id or "",
                    client_id=decided.client_id,
                    asked={each.resource: each.scopes for each in decided.asked},
                )
            )
            if decided.device is not None:
                return await self._to_device(decided.device, None)
            return self._error(AccessDenied("the user said no"), decided.redirect_uri, decided.state)
        grant = Grant.approved(decided, now=self._now())
        if decided.device is not None:
            response = await self._to_device(decided.device, grant)
        else:
            code = await self._codes.issue(decided, grant)
            response = see_other(
                code_redirect(decided.redirect_uri, issuer=self._issuer, code=code, state=decided.state)
            )
        await self._events.emit(
            ConsentGiven(
                user_id=grant.user_id,
                client_id=grant.client_id,
                allowed={each.resource: each.scopes for each in grant.permissions},
                grant_id=grant.grant_id,
            )
        )
        return response

    async def _to_device(self, asking: AskingDevice, grant: Grant | None) -> Response:
        if self._answer_device is None:
            raise lost()
        return await self._answer_device(asking, grant)

    def _error(self, error: OAuthError, redirect_uri: str, state: str | None) -> Response:
        return see_other(error_redirect(redirect_uri, issuer=self._issuer, error=error, state=state))

    async def _refused(self, error: OAuthError, *, client_id: str | None, redirected: bool) -> None:
        await self._events.emit(
            AuthorizationRefused(
                client_id=client_id, error=error.code, description=error.description, redirected=redirected
            )
        )
