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
from mcpauth.authorization_service import AuthorizationService, authorization_service
from mcpauth.client_service import ClientService, client_service
from mcpauth.endpoints.metadata import Features, MetadataEndpoint, metadata_document, well_known_paths
from mcpauth.events import Events, Listener
from mcpauth.oauth.id_jag import PROFILE
from mcpauth.oauth.issuer_keys import IssuerKeys
from mcpauth.oauth.key_refresh import kept_fresh
from mcpauth.oauth.store import StoreUnavailable
from mcpauth.oauth.user import Users
from mcpauth.pages import Pages
from mcpauth.pages.errors import ErrorPages
from mcpauth.registration_service import RegistrationService, confirming, registration_service
from mcpauth.self_check import check_metadata
from mcpauth.stores.encrypted import unlocked
from mcpauth.stores.memory import MemoryStore
from mcpauth.stores.sqlite import SqliteStore
from mcpauth.token_service import TokenService, token_service
from mcpauth.web.cors import any_origin_route
from mcpauth.web.fetch import SafeFetch, internal_fetch
from mcpauth_middleware.audit.journal import AuditJournal

if TYPE_CHECKING:
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
                auth_methods=parts.clients.authenticator.names,
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

    clients: ClientService
    tokens: TokenService
    authorization: AuthorizationService
    registration: RegistrationService
    metadata: MetadataEndpoint


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
    authorization = await authorization_service(
        settings,
        store,
        users=users,
        clients=clients,
        tokens=tokens,
        sign_in=sign_in,
        pages=pages,
        events=events,
        now=now,
    )
    registration = registration_service(
        settings, store, clients=clients.registered, grants=tokens.grants, events=events, now=now
    )
    metadata = _metadata(settings, tokens, authorization)
    return _Parts(clients, tokens, authorization, registration, metadata)


def _metadata(
    settings: Settings, tokens: TokenService, authorization: AuthorizationService
) -> MetadataEndpoint:
    algorithms = tokens.id_tokens.algorithms if tokens.id_tokens is not None else None
    features = Features(
        registration=settings.registration,
        client_id_metadata_documents=settings.client_id_metadata_documents.enabled,
        device_authorization=settings.device_authorization,
        grant_types=tokens.grant_types,
        grant_profiles=(PROFILE,) if "id-jag" in settings.trusted().kinds else (),
        dpop=settings.dpop != "off",
        pushed_only=settings.require_pushed_authorization_requests,
        acr_values=authorization.acr_values,
        id_token_algorithms=algorithms() if algorithms is not None else frozenset(),
    )
    document = metadata_document(settings.issuer, settings.registry(), features)
    return MetadataEndpoint(document, id_token_algorithms=algorithms)


def _routes(settings: Settings, parts: _Parts, pages: Pages, errors: ErrorPages) -> list[BaseRoute]:
    """Every path that is answered; all others are 404, well-known ones included."""
    at = settings.path
    routes: list[BaseRoute] = [
        # First, because paths are looked up in order: they are asked all the time.
        *parts.tokens.routes(at),
        *parts.authorization.routes(at, errors),
        *(Route(path, pages.static) for path in pages.static_paths),
        *(
            any_origin_route(path, parts.metadata.get, methods=["GET"])
            for path in well_known_paths(settings.issuer)
        ),
    ]
    if settings.registration:
        routes += parts.registration.routes(at)
    return routes
