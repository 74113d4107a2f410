"""A whole authorization server over ASGI, with users' tokens to be had without a browser."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx2

from mcpauth.events import Event, Events
from mcpauth.oauth.authorization_code import AuthorizationCodes
from mcpauth.oauth.authorization_request import AuthorizationRequest
from mcpauth.oauth.client import Client, Clients
from mcpauth.oauth.client_metadata import ClientMetadata
from mcpauth.oauth.grant import Grant, Grants
from mcpauth.oauth.operator_terms import OperatorTerms
from mcpauth.oauth.permission import Permission
from mcpauth.oauth.resource_registry import Resource, Scope
from mcpauth.oauth.revocation_list import RevocationList
from mcpauth.oauth.user import User, Users
from mcpauth.server import create_app
from mcpauth.settings import Settings
from mcpauth.signin.password import Passwords, PasswordSignIn
from mcpauth.signin.usual_places import UsualPlaces
from mcpauth.stores.memory import MemoryStore
from mcpauth.web.throttle import Throttle
from tests.authorization_server.core_helpers import (
    CHALLENGE,
    ISSUER,
    LOOPBACK,
    NOTES,
    REGISTRY,
    TASKS,
    VERIFIER,
    Clock,
    E,
    FormFields,
    basic,
)
from tests.authorization_server.front_helpers import CHEAP

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from starlette.applications import Starlette

    from mcpauth.oauth.fetching import Fetch
    from mcpauth.oauth.store import Store

FILES = "https://files.example"
RESOURCES = (*REGISTRY.resources, Resource(FILES, "Files", (Scope("files:read", "Read your files"),)))
SETTINGS = Settings(ISSUER, RESOURCES, NOTES, database="memory:")

Pair = tuple[Client, str]
"""A client with a secret, and the secret."""


@dataclass
class Service:
    """A server, what a test reaches into, and an HTTP client for the rest."""

    app: Starlette
    settings: Settings
    store: Store
    clock: Clock
    clients: Clients
    users: Users
    grants: Grants
    codes: AuthorizationCodes
    http: httpx2.AsyncClient
    ada: User
    happened: list[Event] = field(default_factory=list[Event])

    async def public_client(self, **metadata: object) -> Client:
        """A client without a secret."""
        client, _ = await self.clients.register({"redirect_uris": [LOOPBACK], **metadata}, source="dynamic")
        return client

    async def confidential_client(self, *grant_types: str, terms: OperatorTerms | None = None) -> Pair:
        """A client with a secret, on terms that an operator gave it."""
        checked = ClientMetadata((), "Robo", grant_types, "client_secret_basic", None, None, {})
        client, secret = await self.clients.admit(
            checked, source="pre-registered", terms=terms or OperatorTerms()
        )
        assert secret is not None
        return client, secret

    async def server_of(self, *resources: str) -> Pair:
        """The resource server of these resources, as a client."""
        exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
        return await self.confidential_client(exchange, terms=OperatorTerms(serves=resources))

    async def user_code(
        self,
        client: Client,
        *,
        scopes: Sequence[str] = ("notes:read", "notes:write"),
        resource: str = NOTES,
    ) -> str:
        """A code to which ada has just consented."""
        request = AuthorizationRequest(
            client_id=client.client_id,
            redirect_uri=LOOPBACK,
            redirect_uri_given=True,
            asked=(Permission(resource, tuple(scopes)),),
            code_challenge=CHALLENGE,
            state=None,
            login_hint=None,
            created_at=int(self.clock()),
            browser="",
            approved=(Permission(resource, tuple(scopes)),),
            user_id=self.ada.user_id,
            auth_time=int(self.clock()) - 60,
        )
        return await self.codes.issue(request, Grant.approved(request, now=self.clock()))

    async def user_tokens(
        self,
        client: Client,
        *,
        scopes: Sequence[str] = ("notes:read", "notes:write"),
        resource: str = NOTES,
        auth: tuple[str, str] | None = None,
    ) -> dict[str, Any]:
        """The token response of a code to which ada has just consented."""
        code = await self.user_code(client, scopes=scopes, resource=resource)
        form = {
            "grant_type": "authorization_code",
            "client_id": client.client_id,
            "code": code,
            "redirect_uri": LOOPBACK,
            "code_verifier": VERIFIER,
        }
        response = await self.post("/token", form, auth=auth)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def post(
        self, path: str, form: FormFields, *, auth: tuple[str, str] | None = None
    ) -> httpx2.Response:
        """A form request, where None leaves a parameter out; `auth` is id and secret for a Basic header."""
        sent = {name: value for name, value in form.items() if value is not None}
        headers = basic(":".join(auth)) if auth is not None else {}
        return await self.http.post(path, data=sent, headers=headers)

    async def post_as(self, pair: Pair, path: str, **form: str | list[str] | None) -> httpx2.Response:
        """A form request of a client with a secret."""
        client, secret = pair
        return await self.post(path, form, auth=(client.client_id, secret))

    async def introspect(self, pair: Pair, token: str) -> dict[str, Any]:
        """What the client is told about the token."""
        response = await self.post_as(pair, "/introspect", token=token)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def revoke(self, client: Client, token: str) -> None:
        """Revocation by a public client."""
        response = await self.post("/revoke", {"client_id": client.client_id, "token": token})
        assert response.status_code == 200, response.text

    async def refresh(
        self, client: Client, refresh_token: str, **changes: str | list[str] | None
    ) -> httpx2.Response:
        """Exchange a refresh token as a public client would."""
        form = {"grant_type": "refresh_token", "client_id": client.client_id, "refresh_token": refresh_token}
        return await self.post("/token", {**form, **changes})

    def events(self, kind: type[E]) -> list[E]:
        """What happened of this kind."""
        return [event for event in self.happened if isinstance(event, kind)]


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a JWT, unverified."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


@asynccontextmanager
async def service(
    store: Store | None = None,
    clock: Clock | None = None,
    fetch: Fetch | None = None,
    fetch_internal: Fetch | None = None,
    **settings: Any,
) -> AsyncGenerator[Service]:
    """A server with the user ada, over the given store (in memory without one)."""
    clock = clock if clock is not None else Clock()
    kept = store if store is not None else MemoryStore(clock)
    chosen = replace(SETTINGS, **settings)
    happened: list[Event] = []
    users = Users(kept, now=clock)
    app = create_app(
        chosen,
        store=kept,
        # Nobody signs in here, and other parameters of Argon2 cost each test a quarter of a second.
        sign_in=PasswordSignIn(users, Passwords(CHEAP), Throttle(now=clock), UsualPlaces(kept, now=clock)),
        listeners=[happened.append],
        fetch=fetch,
        fetch_internal=fetch_internal,
        now=clock,
    )
    ada = await users.by_name("ada") or await users.add("ada", "no password")
    assert ada is not None
    revocations = RevocationList(kept, access_token_lifetime=chosen.access_token_lifetime, now=clock)
    grants = Grants(kept, is_active_user=users.is_active, revocations=revocations, events=Events(), now=clock)
    codes = AuthorizationCodes(kept, grants, events=Events(), now=clock)
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http,
    ):
        yield Service(
            app, chosen, kept, clock, Clients(kept, now=clock), users, grants, codes, http, ada, happened
        )


__all__ = ["FILES", "ISSUER", "NOTES", "TASKS", "Clock", "Pair", "Service", "claims_of", "service"]
