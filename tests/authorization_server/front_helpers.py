"""A whole authorization server over ASGI, and a small browser that keeps cookies and fills in forms."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import httpx2
from argon2 import PasswordHasher

from mcpauth.events import Event
from mcpauth.oauth.client import Client, Clients, ClientSource
from mcpauth.oauth.resource_registry import Resource, Scope
from mcpauth.oauth.user import User, Users
from mcpauth.server import create_app
from mcpauth.settings import Settings
from mcpauth.signin.password import Passwords, PasswordSignIn
from mcpauth.signin.usual_places import UsualPlaces
from mcpauth.stores.memory import MemoryStore
from mcpauth.web.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from starlette.types import ASGIApp

    from mcpauth.oauth.fetching import Fetch
    from mcpauth.oauth.store import Store

ISSUER = "https://auth.example"
NOTES = "https://notes.example/mcp"
TASKS = "https://tasks.example"
LOOPBACK = "http://127.0.0.1:3000/callback"
PASSWORD = "correct horse battery"
VERIFIER = "a-code-verifier-that-is-long-enough-for-the-rule"
CHALLENGE = urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
START = 1_800_000_000
# Argon2 as cheap as it goes: these tests are about what is done with the answer.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

RESOURCES = (
    Resource(
        NOTES,
        "Team notes",
        (
            Scope("notes:read", "Read your notes"),
            Scope("notes:write", "Change your notes", implies=("notes:read",), default=False),
            Scope("notes:admin", "Manage everything", default=False),
        ),
    ),
    Resource(TASKS, "Tasks", (Scope("tasks:read", "Read your tasks"),)),
)
SETTINGS = Settings(ISSUER, RESOURCES, NOTES, database="memory:")


@dataclass
class Clock:
    """A clock that moves when told to."""

    moment: float = START

    def __call__(self) -> float:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += seconds


@dataclass
class Form:
    """The form of a page."""

    action: str
    fields: dict[str, str]
    checkboxes: list[str]


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.form = Form("", {}, [])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.form.action = attributes["action"]
        elif tag == "input" and attributes["type"] == "checkbox":
            self.form.checkboxes.append(attributes["name"])
        elif tag == "input":
            self.form.fields[attributes["name"]] = attributes.get("value", "")


def form_of(page: httpx2.Response) -> Form:
    """The form of a page, as it is before anybody touches it."""
    reader = _FormReader()
    reader.feed(page.text)
    return reader.form


def answer_of(response: httpx2.Response) -> dict[str, str]:
    """The parameters with which a browser goes back to the client."""
    pairs = parse_qsl(urlsplit(response.headers["location"]).query, keep_blank_values=True)
    assert len(pairs) == len(dict(pairs)), "a parameter occurs twice"
    return dict(pairs)


Value: TypeAlias = str | list[str] | None
"""Of a parameter: one, several, or left out."""


@dataclass
class Browser:
    """Follows the flow step by step."""

    http: httpx2.AsyncClient
    client: Client

    def request_parameters(self, **changed: Value) -> dict[str, str | list[str]]:
        """A correct authorization request, but for what is changed; None takes a parameter out."""
        parameters: dict[str, Value] = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.client.redirect_uris[0],
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "state": "a state",
            "scope": "notes:read notes:write",
            "resource": NOTES,
        }
        return {name: value for name, value in (parameters | changed).items() if value is not None}

    async def push(self, **changed: Value) -> httpx2.Response:
        """Hand the request in as a public client (RFC 9126)."""
        return await self.http.post("/par", data=self.request_parameters(**changed))

    async def authorize(self, **changed: Value) -> httpx2.Response:
        return await self.http.get("/authorize", params=self.request_parameters(**changed))

    async def follow(self, response: httpx2.Response) -> httpx2.Response:
        """Go where a redirect of this server leads, until there is a page or a redirect elsewhere."""
        for _ in range(5):
            location = response.headers.get("location", "")
            if not location.startswith("/"):
                return response
            response = await self.http.get(location)
        raise AssertionError("the redirects do not end")

    async def submit(self, page: httpx2.Response, values: Mapping[str, str]) -> httpx2.Response:
        form = form_of(page)
        return await self.http.post(form.action, data={**form.fields, **values})

    async def sign_in(
        self, page: httpx2.Response, username: str = "ada", password: str = PASSWORD
    ) -> httpx2.Response:
        """Fill in the sign-in page; the consent page, when all is well."""
        return await self.follow(await self.submit(page, {"username": username, "password": password}))

    async def decide(self, page: httpx2.Response, decision: str = "allow", *ticked: str) -> httpx2.Response:
        """Fill in the consent page, all ticked unless told; the redirect to the client, when all is well."""
        names = [f"scope 1 {name}" for name in ticked] if ticked else form_of(page).checkboxes
        return await self.follow(
            await self.submit(page, {"decision": decision, **dict.fromkeys(names, "allow")})
        )

    async def to_sign_in(self, **changed: Value) -> httpx2.Response:
        page = await self.follow(await self.authorize(**changed))
        assert page.status_code == 200
        assert "<h1>Sign in</h1>" in page.text
        return page

    async def to_consent(self, **changed: Value) -> httpx2.Response:
        page = await self.sign_in(await self.to_sign_in(**changed))
        assert page.status_code == 200
        assert "<legend>It will be able to" in page.text
        return page

    async def redeem(self, code: str, **changed: Value) -> httpx2.Response:
        """Exchange a code as the client, which is public."""
        form: dict[str, Value] = {
            "grant_type": "authorization_code",
            "client_id": self.client.client_id,
            "code": code,
            "redirect_uri": self.client.redirect_uris[0],
            "code_verifier": VERIFIER,
        }
        sent = {name: value for name, value in (form | changed).items() if value is not None}
        return await self.http.post("/token", data=sent)

    async def to_code(self, **changed: Value) -> str:
        return answer_of(await self.decide(await self.to_consent(**changed)))["code"]


@dataclass
class Running:
    """A server, and what a test reaches into."""

    app: ASGIApp
    store: Store
    clock: Clock
    users: Users
    clients: Clients
    happened: list[Event] = field(default_factory=list[Event])

    async def add_user(self, username: str, password: str = PASSWORD) -> User:
        user = await self.users.add(username, CHEAP.hash(password))
        assert user is not None
        return user

    async def register(
        self,
        *,
        source: ClientSource = "dynamic",
        client_name: str = "Robo Notes",
        redirect_uris: Sequence[str] = (LOOPBACK,),
    ) -> Client:
        """A public client."""
        metadata = {"client_name": client_name, "redirect_uris": list(redirect_uris)}
        client, _ = await self.clients.register(metadata, source=source)
        return client

    @asynccontextmanager
    async def browser(
        self, client: Client | None = None, *, address: str = "192.0.2.7", cookie: bytes | None = None
    ) -> AsyncGenerator[Browser]:
        """A new browser, without cookies but for the given one, in front of a client's request."""
        transport = httpx2.ASGITransport(self.app, client=(address, 5000))
        headers = {} if cookie is None else {b"Cookie": cookie}
        async with httpx2.AsyncClient(transport=transport, base_url=ISSUER, headers=headers) as http:
            yield Browser(http, client or await self.register())


@asynccontextmanager
async def running(
    store: Store | None = None, settings: Settings = SETTINGS, *, fetch: Fetch | None = None
) -> AsyncGenerator[Running]:
    """A server with the user ada."""
    clock = Clock()
    kept = MemoryStore(now=clock) if store is None else store
    happened: list[Event] = []
    users = Users(kept, now=clock)
    app = create_app(
        settings,
        store=kept,
        sign_in=PasswordSignIn(users, Passwords(CHEAP), Throttle(now=clock), UsualPlaces(kept, now=clock)),
        listeners=[happened.append],
        fetch=fetch,
        now=clock,
    )
    server = Running(app, kept, clock, users, Clients(kept, now=clock), happened)
    if await users.by_name("ada") is None:
        await server.add_user("ada")
    async with app.router.lifespan_context(app):
        yield server


async def kept_codes(server: Running) -> int:
    """How many authorization codes there are."""
    return len(await server.store.list("authorization_code"))
