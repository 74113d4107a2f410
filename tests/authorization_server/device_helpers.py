"""A device that asks and polls, in front of a server that lets devices ask."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from mcpauth.events import Event
from mcpauth.oauth.client_metadata import DEVICE_CODE
from tests.authorization_server.front_helpers import ISSUER, NOTES, SETTINGS, Browser, Running, running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.store import Store
    from mcpauth.settings import Settings

E = TypeVar("E", bound=Event)

ON = replace(SETTINGS, device_authorization=True)
WRONG_CODE = "BCDF-GHJK"


@dataclass
class Device:
    """A program without a browser, and what it was told."""

    http: httpx2.AsyncClient
    client: Client
    told: dict[str, Any]

    async def ask(self, **changed: str | list[str] | None) -> httpx2.Response:
        """RFC 8628 §3.1; None takes a parameter out."""
        form: dict[str, str | list[str] | None] = {
            "client_id": self.client.client_id,
            "scope": "notes:read notes:write",
            "resource": NOTES,
        }
        sent = {name: value for name, value in (form | changed).items() if value is not None}
        response = await self.http.post("/device_authorization", data=sent)
        if response.status_code == 200:
            self.told = response.json()
        return response

    async def poll(self, proof: str | None = None, **changed: str | None) -> httpx2.Response:
        """RFC 8628 §3.4; with a proof of RFC 9449."""
        form: dict[str, str | None] = {
            "grant_type": DEVICE_CODE,
            "client_id": self.client.client_id,
            "device_code": self.told["device_code"],
        }
        sent = {name: value for name, value in (form | changed).items() if value is not None}
        headers = {"DPoP": proof} if proof is not None else {}
        return await self.http.post("/token", data=sent, headers=headers)

    async def error(self, **changed: str | None) -> str:
        """The error of a poll."""
        response = await self.poll(**changed)
        assert response.status_code == 400, response.text
        assert response.headers["cache-control"] == "no-store"
        error: str = response.json()["error"]
        return error

    @property
    def user_code(self) -> str:
        code: str = self.told["user_code"]
        return code


async def device_client(server: Running, *grant_types: str, **metadata: object) -> Client:
    """A public client for devices; with refresh tokens unless told."""
    sent = {"client_name": "Robo TV", "grant_types": list(grant_types) or [DEVICE_CODE, "refresh_token"]}
    client, _ = await server.clients.register({**sent, **metadata}, source="dynamic")
    return client


@asynccontextmanager
async def device(
    server: Running, client: Client | None = None, **changed: str | list[str] | None
) -> AsyncGenerator[Device]:
    """A device that has asked."""
    transport = httpx2.ASGITransport(server.app, client=("198.51.100.9", 5000))
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        asking = Device(http, client or await device_client(server), {})
        response = await asking.ask(**changed)
        assert response.status_code == 200, response.text
        yield asking


@asynccontextmanager
async def server_for_devices(store: Store | None = None, settings: Settings = ON) -> AsyncGenerator[Running]:
    async with running(store, settings) as server:
        yield server


async def enter(browser: Browser, user_code: str) -> httpx2.Response:
    """Type the code into the page; where that leads, which is sign-in when all is well."""
    page = await browser.http.get("/device")
    assert page.status_code == 200
    return await browser.follow(await browser.submit(page, {"user_code": user_code}))


async def to_consent(browser: Browser, user_code: str, username: str = "ada") -> httpx2.Response:
    """Enter the code and sign in."""
    page = await browser.sign_in(await enter(browser, user_code), username)
    assert "Is this the code shown on your device?" in page.text
    return page


async def decide(
    server: Running, user_code: str, decision: str = "allow", *ticked: str, username: str = "ada"
) -> httpx2.Response:
    """All that a user does, in a browser of their own; the last page."""
    async with server.browser() as browser:
        return await browser.decide(await to_consent(browser, user_code, username), decision, *ticked)


def events(server: Running, kind: type[E]) -> list[E]:
    """What happened of this kind."""
    return [event for event in server.happened if isinstance(event, kind)]
