"""Builds the authorization server: settings, a store and a way to sign in become an ASGI app. Nothing else
builds.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute, Route
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from mcpauth.application import AuthorizationServerApp
from mcpauth.audit import recorded_in
from mcpauth.client_service import client_service
from mcpauth.device_service import DeviceService, device_service
from mcpauth.endpoints.authorization import AuthorizationEndpoint
from mcpauth.endpoints.consent import ConsentEndpoint
from mcpauth.endpoints.interaction import Interactions
from mcpauth.endpoints.metadata import MetadataEndpoint, metadata_document, well_known_paths
from mcpauth.endpoints.pushed_authorization_request import PushedAuthorizationRequestEndpoint
from mcpauth.endpoints.sign_in import SignInEndpoint
from mcpauth.events import Events, Listener
from mcpauth.oauth.authorization_request import AuthorizationRequests, AuthorizationRules
from mcpauth.oauth.id_jag import PROFILE
from mcpauth.oauth.issuer_keys import IssuerKeys
from mcpauth.oauth.pushed_authorization_request import PushedAuthorizationRequests
from mcpauth.oauth.server_secret import server_secret
from mcpauth.oauth.signing_keys import kept_fresh
from mcpauth.oauth.store import StoreUnavailable
from mcpauth.oauth.user import Users
from mcpauth.pages import Pages
from mcpauth.pages.errors import ErrorPages, Handler
from mcpauth.registration_service import RegistrationService, confirming, registration_service
from mcpauth.self_check import check_metadata
from mcpauth.signin.password import Passwords, PasswordSignIn
from mcpauth.signin.session import Sessions
from mcpauth.stores.encrypted import unlocked
from mcpauth.stores.memory import MemoryStore
from mcpauth.stores.sqlite import SqliteStore
from mcpauth.token_service import TokenService, token_service
from mcpauth.web.cookies import browser_cookie, session_cookie
from mcpauth.web.cors import any_origin_route
from mcpauth.web.csrf import CsrfTokens
from mcpauth.web.fetch import SafeFetch, internal_fetch
from mcpauth.web.throttle import Throttle
from mcpauth_middleware.audit.journal import AuditJournal

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.oauth.fetching import Fetch
    from mcpauth.oauth.store import Store
    from mcpauth.settings import Settings
    from mcpauth.signin import SignIn

Clock = Callable[[], float]


def authorization_server(
    settings: Settings,
    *,
    store: Store | None = None,
    sign_in: SignIn | None = None,
    listeners: Sequence[Listener] = (),
    fetch: Fetch | None = None,
    fetch_internal: Fetch | None = None,
    now: Clock = time.time,
) -> AuthorizationServerApp:
    """The authorization server of these settings, as an ASGI app; running it opens what it needs.

    A `store` that is passed in stays the caller's to close; without one, the settings' database is opened.
    `sign_in` is by user name and password unless another way is passed in. `listeners` are told every event.
    `fetch` is how others' documents and keys are fetched (without it from public addresses only),
    and `fetch_internal` how the keys of issuers with `private_network` are.
    """
    pages = Pages(settings.issuer)
    errors = ErrorPages(pages)

    @asynccontextmanager
    async def opening(app: AuthorizationServerApp) -> AsyncGenerator[list[BaseRoute]]:
        async with AsyncExitStack() as closing:
            opened = store
            if opened is not None:
                opened = await unlocked(opened, settings.encryption())
            else:
                opened = await open_store(settings, now=now)
                closing.push_async_callback(opened.aclose)
            told = list(listeners)
            if settings.audit_journal is not None:
                journal = AuditJournal(settings.audit_journal, now=now)
                closing.push_async_callback(journal.aclose)
                told.append(recorded_in(journal))
            told.append(confirming(opened, now=now))
            outside = fetch if fetch is not None else SafeFetch(now=now)
            inside = fetch_internal if fetch_internal is not None else internal_fetch(now=now)
            parts = await _build(settings, opened, sign_in, Events(*told), pages, outside, inside, now)
            closing.push_async_callback(parts.tokens.feed.aclose)
            await closing.enter_async_context(kept_fresh(parts.tokens.keys))
            app.state.revocation_feed = parts.tokens.feed
            routes = _routes(settings, parts, pages, errors)
            check_metadata(
                parts.metadata.document,
                routes,
                issuer=settings.issuer,
                grant_types=parts.tokens.token.grant_types,
                auth_methods=parts.auth_methods,
            )
            yield routes

    app = AuthorizationServerApp(settings.issuer, settings.path, errors, opening)
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    return app


create_app = authorization_server


async def open_store(settings: Settings, *, now: Clock) -> Store:
    """The store of the settings.

    Raises:
        StoreUnavailable: the database cannot be opened, or its secrets cannot.

    """
    store = MemoryStore(now=now) if settings.in_memory else await SqliteStore.open(settings.database, now=now)
    try:
        return await unlocked(store, settings.encryption())
    except StoreUnavailable:
        await store.aclose()
        raise


@dataclass(frozen=True, slots=True)
class _Parts:
    """The endpoints, built."""

    authorization: AuthorizationEndpoint
    sign_in: SignInEndpoint
    consent: ConsentEndpoint
    pushed: PushedAuthorizationRequestEndpoint
    tokens: TokenService
    registration: RegistrationService
    device: DeviceService | None
    metadata: MetadataEndpoint
    auth_methods: tuple[str, ...]


async def _build(
    settings: Settings,
    store: Store,
    sign_in: SignIn | None,
    events: Events,
    pages: Pages,
    fetch: Fetch,
    fetch_internal: Fetch,
    now: Clock,
) -> _Parts:
    registry = settings.registry()
    users = Users(store, now=now)
    clients = client_service(settings, store, fetch=fetch, events=events, now=now)
    tokens = await token_service(
        settings,
        store,
        users=users,
        clients=clients.registered,
        authenticator=clients.authenticator,
        issuer_keys=IssuerKeys(fetch, fetch_internal, now=now),
        events=events,
        now=now,
    )
    id_token_algorithms = tokens.id_tokens.algorithms if tokens.id_tokens is not None else None
    requests = AuthorizationRequests(store, now=now)
    way_in = sign_in or PasswordSignIn(users, Passwords(), Throttle())
    rules = AuthorizationRules(
        registry,
        acr_values_supported=(way_in.acr,),
        pushed_only=settings.require_pushed_authorization_requests,
        dpop=settings.dpop != "off",
    )
    pushed = PushedAuthorizationRequests(store, rules, now=now)
    sessions = Sessions(store, users, lifetime=settings.session_lifetime, now=now)
    browser, session = browser_cookie(secure=settings.secure), session_cookie(secure=settings.secure)
    csrf = CsrfTokens([await server_secret(store, "csrf")], now=now)
    interactions = Interactions(
        path=settings.path,
        requests=requests,
        clients=clients.known,
        sessions=sessions,
        csrf=csrf,
        browser_cookie=browser,
        session_cookie=session,
        now=now,
    )
    device = None
    if tokens.device_codes is not None:
        device = device_service(
            settings,
            clients=clients.authenticator,
            codes=tokens.device_codes,
            interactions=interactions,
            requests=requests,
            csrf=csrf,
            browser_cookie=browser,
            pages=pages,
            events=events,
            now=now,
        )
    return _Parts(
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
        sign_in=SignInEndpoint(
            interactions,
            way_in,
            sessions,
            pages,
            events,
            session_cookie=session,
        ),
        consent=ConsentEndpoint(interactions, requests, registry, pages),
        pushed=PushedAuthorizationRequestEndpoint(
            clients.authenticator, pushed, tokens.proofs, events, url=f"{settings.issuer}/par"
        ),
        tokens=tokens,
        registration=registration_service(
            settings, store, clients=clients.registered, grants=tokens.grants, events=events, now=now
        ),
        device=device,
        metadata=MetadataEndpoint(
            metadata_document(
                settings.issuer,
                registry,
                registration=settings.registration,
                client_id_metadata_documents=settings.client_id_metadata_documents.enabled,
                device_authorization=settings.device_authorization,
                grant_types=tokens.grant_types,
                dpop=settings.dpop != "off",
                signing_algorithms=id_token_algorithms() if id_token_algorithms is not None else (),
                acr_values=rules.acr_values_supported,
                pushed_only=settings.require_pushed_authorization_requests,
                grant_profiles=[PROFILE] if "id-jag" in settings.trusted().kinds else (),
            ),
            id_token_algorithms=id_token_algorithms,
        ),
        auth_methods=clients.authenticator.names,
    )


def _routes(settings: Settings, parts: _Parts, pages: Pages, errors: ErrorPages) -> list[BaseRoute]:
    """Every path that is answered; all others are 404, well-known ones included."""
    at = settings.path
    routes: list[BaseRoute] = [
        # First, because paths are looked up in order: resource servers ask this all the time.
        Route(f"{at}/introspect", parts.tokens.introspection.post, methods=["POST"]),
        # For people: cookies, no other origins.
        _page(f"{at}/authorize", errors, get=parts.authorization.get),
        _page(f"{at}/sign-in", errors, get=parts.sign_in.get, post=parts.sign_in.post),
        _page(f"{at}/consent", errors, get=parts.consent.get, post=parts.consent.post),
        *(Route(path, pages.static) for path in pages.static_paths),
        # For clients, those in browsers too: no cookies, any origin.
        any_origin_route(f"{at}/par", parts.pushed.post, methods=["POST"]),
        any_origin_route(f"{at}/token", parts.tokens.token.post, methods=["POST"]),
        any_origin_route(f"{at}/revoke", parts.tokens.revocation.post, methods=["POST"]),
        any_origin_route(f"{at}/jwks", parts.tokens.jwks.get, methods=["GET"]),
        *(
            any_origin_route(path, parts.metadata.get, methods=["GET"])
            for path in well_known_paths(settings.issuer)
        ),
        # For resource servers, which are no browsers.
        Route(f"{at}/revoked", parts.tokens.revocation_list.get, methods=["GET"]),
    ]
    if parts.tokens.userinfo is not None:
        routes.append(
            any_origin_route(f"{at}/userinfo", parts.tokens.userinfo.answer, methods=["GET", "POST"])
        )
    if parts.device is not None:
        page = parts.device.verification
        routes += [
            any_origin_route(
                f"{at}/device_authorization", parts.device.device_authorization.post, methods=["POST"]
            ),
            _page(f"{at}/device", errors, get=page.get, post=page.post),
            _page(f"{at}/device/allowed", errors, get=page.allowed),
            _page(f"{at}/device/denied", errors, get=page.denied),
        ]
    if settings.registration:
        routes += parts.registration.routes(at)
    return routes


def _page(path: str, errors: ErrorPages, *, get: Handler, post: Handler | None = None) -> Route:
    async def answered(request: Request) -> Response:
        handler = post if post is not None and request.method == "POST" else get
        return await errors.guard(handler)(request)

    return Route(path, answered, methods=["GET"] if post is None else ["GET", "POST"])
