"""An authorization server of the core alone: endpoints over ASGI, codes as if a user had just consented."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import httpx2
from starlette.applications import Starlette

from mcpauth.endpoints.jwks import JwksEndpoint
from mcpauth.endpoints.metadata import Features, MetadataEndpoint, metadata_document, well_known_paths
from mcpauth.endpoints.registration import RegistrationEndpoint
from mcpauth.endpoints.revocation import RevocationEndpoint
from mcpauth.endpoints.token import TokenEndpoint
from mcpauth.events import Event, Events
from mcpauth.grants.authorization_code import AuthorizationCodeGrant
from mcpauth.grants.first_tokens import FirstTokens
from mcpauth.grants.refresh_token import RefreshTokenGrant
from mcpauth.oauth.access_token import AccessTokens
from mcpauth.oauth.authorization_code import AuthorizationCodes
from mcpauth.oauth.authorization_request import AuthorizationRequest
from mcpauth.oauth.client import Client, Clients
from mcpauth.oauth.client_authentication import ClientAuthenticator
from mcpauth.oauth.dpop import DpopProofs
from mcpauth.oauth.grant import Grant, Grants
from mcpauth.oauth.issued_tokens import IssuedTokens
from mcpauth.oauth.key_rings import KeyRings
from mcpauth.oauth.permission import Permission
from mcpauth.oauth.pkce import s256_challenge
from mcpauth.oauth.refresh_token import RefreshTokens
from mcpauth.oauth.registration import Registrations
from mcpauth.oauth.resource_registry import Resource, ResourceRegistry, Scope
from mcpauth.oauth.revocation_list import RevocationList
from mcpauth.oauth.signing_keys import SigningKeys
from mcpauth.stores.memory import MemoryStore
from mcpauth.web.ceiling import Ceiling
from mcpauth.web.cors import any_origin_route

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from mcpauth.oauth.store import Store

ISSUER = "https://as.example"
NOTES = "https://notes.example/mcp"
TASKS = "https://tasks.example"
LOOPBACK = "http://127.0.0.1:3000/callback"
VERIFIER = "a-code-verifier-that-is-long-enough-for-the-rule"
CHALLENGE = s256_challenge(VERIFIER)
START = 1_800_000_000

REGISTRY = ResourceRegistry(
    [
        Resource(
            NOTES,
            "Notes",
            (
                Scope("notes:read", "Read your notes"),
                Scope("notes:write", "Change your notes", implies=("notes:read",), default=False),
                Scope("notes:admin", "Manage everything", implies=("notes:write",), default=False),
            ),
        ),
        Resource(TASKS, "Tasks", (Scope("tasks:read", "Read your tasks"),)),
    ],
    default=NOTES,
)


E = TypeVar("E", bound=Event)
FormFields: TypeAlias = Mapping[str, str | list[str] | None]


def basic(text: str) -> dict[str, str]:
    """A Basic header over any text."""
    return {"Authorization": f"Basic {b64encode(text.encode()).decode()}"}


@dataclass
class Clock:
    """A clock that moves when told to."""

    moment: float = START

    def __call__(self) -> float:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += seconds


@dataclass
class CoreServer:
    """The parts of the server that a test reaches into, and an HTTP client for the rest."""

    store: Store
    clock: Clock
    clients: Clients
    grants: Grants
    codes: AuthorizationCodes
    http: httpx2.AsyncClient
    keys: SigningKeys
    happened: list[Event] = field(default_factory=list[Event])
    disabled_users: set[str] = field(default_factory=set[str])

    async def public_client(self, **metadata: object) -> Client:
        """A client without a secret."""
        client, _ = await self.clients.register(
            {"redirect_uris": [LOOPBACK], **metadata}, source="pre-registered"
        )
        return client

    async def secret_client(self, method: str = "client_secret_basic") -> tuple[Client, str]:
        """A client with a secret, and the secret."""
        client, secret = await self.clients.register(
            {"redirect_uris": ["https://client.example/cb"], "token_endpoint_auth_method": method},
            source="pre-registered",
        )
        assert secret is not None
        return client, secret

    async def code(
        self,
        client: Client,
        *,
        scopes: Sequence[str] = ("notes:read", "notes:write"),
        resource: str = NOTES,
        redirect_uri_given: bool = True,
        user_id: str = "alice",
    ) -> str:
        """A code, as after sign-in and consent."""
        request = AuthorizationRequest(
            client_id=client.client_id,
            redirect_uri=client.redirect_uris[0],
            redirect_uri_given=redirect_uri_given,
            asked=(Permission(resource, tuple(scopes)),),
            code_challenge=CHALLENGE,
            state=None,
            login_hint=None,
            created_at=int(self.clock()),
            browser="",
            approved=(Permission(resource, tuple(scopes)),),
            user_id=user_id,
            auth_time=START - 60,
        )
        return await self.codes.issue(request, Grant.approved(request, now=self.clock()))

    async def post(
        self, path: str, form: FormFields, *, auth: tuple[str, str] | None = None
    ) -> httpx2.Response:
        """A form request, where None leaves a parameter out; `auth` is id and secret for a Basic header."""
        sent = {name: value for name, value in form.items() if value is not None}
        headers = basic(":".join(auth)) if auth is not None else {}
        return await self.http.post(path, data=sent, headers=headers)

    async def redeem(self, client: Client, code: str, **changes: str | list[str] | None) -> httpx2.Response:
        """Exchange a code as a public client would; a change to None leaves the parameter out."""
        form: FormFields = {
            "grant_type": "authorization_code",
            "client_id": client.client_id,
            "code": code,
            "redirect_uri": client.redirect_uris[0],
            "code_verifier": VERIFIER,
            **changes,
        }
        return await self.post("/token", form)

    async def refresh(
        self, client: Client, refresh_token: str, **changes: str | list[str] | None
    ) -> httpx2.Response:
        """Exchange a refresh token as a public client would."""
        form = {"grant_type": "refresh_token", "client_id": client.client_id, "refresh_token": refresh_token}
        return await self.post("/token", {**form, **changes})

    async def tokens(self, client: Client) -> dict[str, Any]:
        """The token response of a fresh code."""
        response = await self.redeem(client, await self.code(client))
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    def events(self, kind: type[E]) -> list[E]:
        """What happened of this kind."""
        return [event for event in self.happened if isinstance(event, kind)]


@asynccontextmanager
async def core_server(store: Store | None = None, clock: Clock | None = None) -> AsyncGenerator[CoreServer]:
    """Everything but /authorize, over the given store (in memory without one)."""
    clock = clock if clock is not None else Clock()
    store = store if store is not None else MemoryStore(clock)
    happened: list[Event] = []
    disabled: set[str] = set()

    async def is_active_user(user_id: str) -> bool:
        return user_id not in disabled

    events = Events(happened.append)
    keys = await SigningKeys.load(store, clock)
    clients = Clients(store, scopes=REGISTRY.scopes_supported, now=clock)
    revocations = RevocationList(store, now=clock)
    grants = Grants(store, is_active_user=is_active_user, revocations=revocations, events=events, now=clock)
    codes = AuthorizationCodes(store, grants, events=events, now=clock)
    # Every second use is reuse here; test_refresh_replay*.py is about the window.
    refresh_tokens = RefreshTokens(store, grants, events=events, replay_window=timedelta(0), now=clock)
    access_tokens = AccessTokens(ISSUER, KeyRings(keys), store, now=clock)
    authenticator = ClientAuthenticator(clients, events=events, now=clock)
    token = TokenEndpoint(
        authenticator,
        {
            "authorization_code": AuthorizationCodeGrant(
                codes=codes,
                first_tokens=FirstTokens(
                    grants=grants,
                    access_tokens=access_tokens,
                    refresh_tokens=refresh_tokens,
                    events=events,
                    now=clock,
                ),
            ),
            "refresh_token": RefreshTokenGrant(
                refresh_tokens=refresh_tokens, access_tokens=access_tokens, events=events
            ),
        },
        DpopProofs("accepted", store, nonces=None, now=clock),
        events,
        url=f"{ISSUER}/token",
    )
    issued = IssuedTokens(
        access_tokens=access_tokens,
        refresh_tokens=refresh_tokens,
        grants=grants,
        revocations=revocations,
        events=events,
    )
    revocation = RevocationEndpoint(authenticator, issued)
    registration = RegistrationEndpoint(
        Registrations(store, clients, now=clock),
        events,
        url=f"{ISSUER}/register",
        ceiling=Ceiling(1000, now=clock),
    )
    metadata = MetadataEndpoint(metadata_document(ISSUER, REGISTRY, Features(registration=True)))
    app = Starlette(
        routes=[
            any_origin_route("/token", token.post, methods=["POST"]),
            any_origin_route("/revoke", revocation.post, methods=["POST"]),
            any_origin_route("/register", registration.post, methods=["POST"]),
            any_origin_route("/jwks", JwksEndpoint(KeyRings(keys)).get, methods=["GET"]),
            *(any_origin_route(path, metadata.get, methods=["GET"]) for path in well_known_paths(ISSUER)),
        ]
    )
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        yield CoreServer(store, clock, clients, grants, codes, http, keys, happened, disabled)
