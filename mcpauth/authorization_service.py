"""Builds what users meet: authorization requests, sign-in, consent, and the page for devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.routing import Route

from mcpauth.device_service import DeviceService, device_service
from mcpauth.endpoints.authorization import AuthorizationEndpoint
from mcpauth.endpoints.consent import ConsentEndpoint
from mcpauth.endpoints.interaction import Interactions
from mcpauth.endpoints.pushed_authorization_request import PushedAuthorizationRequestEndpoint
from mcpauth.endpoints.sign_in import SignInEndpoint
from mcpauth.oauth.authorization_request import AuthorizationRequests
from mcpauth.oauth.authorization_rules import AuthorizationRules
from mcpauth.oauth.pushed_authorization_request import PushedAuthorizationRequests
from mcpauth.oauth.server_secret import server_secret
from mcpauth.signin.password import Passwords, PasswordSignIn
from mcpauth.signin.session import Sessions
from mcpauth.signin.usual_places import UsualPlaces
from mcpauth.web.ceiling import Ceiling
from mcpauth.web.cookies import browser_cookie, session_cookie
from mcpauth.web.cors import any_origin_route
from mcpauth.web.csrf import CsrfTokens
from mcpauth.web.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from mcpauth.client_service import ClientService
    from mcpauth.events import Events
    from mcpauth.oauth.store import Store
    from mcpauth.oauth.user import Users
    from mcpauth.pages import Pages
    from mcpauth.pages.errors import ErrorPages, Handler
    from mcpauth.settings import Settings
    from mcpauth.signin import SignIn
    from mcpauth.token_service import TokenService


@dataclass(frozen=True, slots=True)
class AuthorizationService:
    """The endpoints. `acr_values` are the kinds of sign-in that there are."""

    acr_values: tuple[str, ...]
    authorization: AuthorizationEndpoint
    sign_in: SignInEndpoint
    consent: ConsentEndpoint
    pushed: PushedAuthorizationRequestEndpoint
    device: DeviceService | None

    def routes(self, at: str, errors: ErrorPages) -> list[BaseRoute]:
        """Where they are: the pages, which have cookies and know no other origin, and what clients call."""
        routes: list[BaseRoute] = [
            _page(f"{at}/authorize", errors, get=self.authorization.get),
            _page(f"{at}/sign-in", errors, get=self.sign_in.get, post=self.sign_in.post),
            _page(f"{at}/consent", errors, get=self.consent.get, post=self.consent.post),
            any_origin_route(f"{at}/par", self.pushed.post, methods=["POST"]),
        ]
        if self.device is not None:
            ask, page = self.device.device_authorization, self.device.verification
            routes += [
                any_origin_route(f"{at}/device_authorization", ask.post, methods=["POST"]),
                _page(f"{at}/device", errors, get=page.get, post=page.post),
                _page(f"{at}/device/allowed", errors, get=page.allowed),
                _page(f"{at}/device/denied", errors, get=page.denied),
            ]
        return routes


async def authorization_service(
    settings: Settings,
    store: Store,
    *,
    users: Users,
    clients: ClientService,
    tokens: TokenService,
    sign_in: SignIn | None,
    pages: Pages,
    events: Events,
    now: Callable[[], float],
) -> AuthorizationService:
    """The authorization service of these settings, over this store."""
    way_in = sign_in or PasswordSignIn(users, Passwords(), Throttle(), UsualPlaces(store, now=now))
    rules = AuthorizationRules(
        settings.registry(),
        acr_values_supported=(way_in.acr,),
        pushed_only=settings.require_pushed_authorization_requests,
        dpop=settings.dpop != "off",
    )
    requests = AuthorizationRequests(store, now=now)
    pushed = PushedAuthorizationRequests(store, rules, now=now)
    sessions = Sessions(store, users, lifetime=settings.session_lifetime, now=now)
    browser, session = browser_cookie(secure=settings.secure), session_cookie(secure=settings.secure)
    csrf = CsrfTokens([await server_secret(store, "csrf")], now=now)
    # One for all that is stored because a stranger asks.
    ceiling = Ceiling(settings.authorization_requests_per_hour, now=now)
    interactions = Interactions(
        path=settings.path,
        requests=requests,
        clients=clients.known,
        sessions=sessions,
        csrf=csrf,
        browser_cookie=browser,
        session_cookie=session,
        ceiling=ceiling,
        now=now,
    )
    device = None
    if tokens.device_codes is not None:
        device = device_service(
            settings,
            clients=clients.authenticator,
            codes=tokens.device_codes,
            interactions=interactions,
            ceiling=ceiling,
            csrf=csrf,
            browser_cookie=browser,
            pages=pages,
            events=events,
            now=now,
        )
    return AuthorizationService(
        acr_values=rules.acr_values_supported,
        authorization=AuthorizationEndpoint(
            interactions,
            requests,
            tokens.codes,
            clients.known,
            rules,
            pushed,
            events,
            issuer=settings.issuer,
            browser_cookie=browser,
            answer_device=device.verification.answer if device is not None else None,
            now=now,
        ),
        sign_in=SignInEndpoint(interactions, way_in, sessions, pages, events, session_cookie=session),
        consent=ConsentEndpoint(interactions, requests, rules.registry, pages),
        pushed=PushedAuthorizationRequestEndpoint(
            clients.authenticator,
            pushed,
            tokens.proofs,
            events,
            ceiling=ceiling,
            url=f"{settings.issuer}/par",
        ),
        device=device,
    )


def _page(path: str, errors: ErrorPages, *, get: Handler, post: Handler | None = None) -> Route:
    async def answered(request: Request) -> Response:
        handler = post if post is not None and request.method == "POST" else get
        return await errors.guard(handler)(request)

    return Route(path, answered, methods=["GET"] if post is None else ["GET", "POST"])
