"""The revocation list: what it holds and for how long."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from mcpauth.commands import mcpauth
from mcpauth.events import TokenRevoked
from mcpauth.oauth.operator_terms import OperatorTerms
from mcpauth.oauth.store import Record, Records, StoreUnavailable
from mcpauth.stores.memory import MemoryStore
from mcpauth.stores.sqlite import SqliteStore
from tests.authorization_server.grants_helpers import ISSUER, NOTES, Clock, Service, claims_of, service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import httpx2

pytestmark = pytest.mark.anyio

MARGIN = 60
LIFETIME = 600


@pytest.fixture
async def server() -> AsyncGenerator[Service]:
    async with service() as server:
        yield server


async def fetch(server: Service, version: str | None = None) -> httpx2.Response:
    # What is read may be half a second old, by the real clock: a look at the store itself.
    server.app.state.revocation_feed._read_at = -float("inf")
    headers = {"If-None-Match": version} if version is not None else {}
    return await server.http.get("/revoked", headers=headers)


async def revoked(server: Service) -> list[dict[str, Any]]:
    response = await fetch(server)
    assert response.status_code == 200
    entries: list[dict[str, Any]] = response.json()["revoked"]
    return entries


async def test_the_list_is_announced_and_empty_at_first(server: Service) -> None:
    document = (await server.http.get("/.well-known/oauth-authorization-server")).json()
    assert document["mcpauth_revocation_list_uri"] == f"{ISSUER}/revoked"
    response = await fetch(server)
    assert response.json() == {"revoked": []}
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-cache"


async def test_a_revoked_grant_is_listed_until_its_last_access_token_has_expired(server: Service) -> None:
    client = await server.public_client()
    tokens = await server.user_tokens(client)
    grant_id = claims_of(tokens["access_token"])["grant_id"]
    server.clock.advance(100)
    await server.revoke(client, tokens["refresh_token"])
    until = int(server.clock()) + LIFETIME + MARGIN
    assert await revoked(server) == [{"grant_id": grant_id, "until": until}]
    server.clock.advance(LIFETIME + MARGIN - 1)
    assert len(await revoked(server)) == 1
    server.clock.advance(1)
    assert await revoked(server) == []
    assert not await server.grants.revoke(grant_id, reason="user"), "the grant itself stays ended"


async def test_a_token_of_longer_lived_settings_is_listed_as_long_as_it_lives() -> None:
    """The operator made the lifetime shorter, while tokens of an hour are about."""
    hour = timedelta(hours=1)
    store = MemoryStore(clock := Clock())
    async with service(store, clock, access_token_lifetime=hour) as before:
        client = await before.public_client()
        tokens = await before.user_tokens(client)
    async with service(store, clock) as server:
        await server.revoke(client, tokens["refresh_token"])
        clock.advance(hour.total_seconds() - 1)
        (entry,) = await revoked(server)
        claims = claims_of(tokens["access_token"])
        assert entry["grant_id"] == claims["grant_id"]
        assert claims["exp"] <= entry["until"]


async def test_it_grows_with_what_is_revoked_in_one_lifetime_and_not_with_time(server: Service) -> None:
    client = await server.public_client()
    for _ in range(30):
        server.clock.advance(60)
        await server.revoke(client, (await server.user_tokens(client))["refresh_token"])
    assert len(await revoked(server)) == (LIFETIME + MARGIN) // 60


async def test_a_reused_refresh_token_or_code_puts_the_grant_on_the_list(server: Service) -> None:
    """RFC 9700 §4.14.2: what the thief got must not be good for anything."""
    client = await server.public_client()
    token = (await server.user_tokens(client))["refresh_token"]
    following = (await server.refresh(client, token)).json()["refresh_token"]
    await server.refresh(client, following)
    assert await revoked(server) == []
    assert (await server.refresh(client, token)).status_code == 400
    assert len(await revoked(server)) == 1


async def test_a_token_that_a_client_got_in_its_own_name_is_listed_alone(server: Service) -> None:
    """RFC 7009 §2.1: there is no grant of a user behind it."""
    terms = OperatorTerms(resources=(NOTES,), scopes=("notes:read",))
    pair = await server.confidential_client("client_credentials", terms=terms)
    answers = [await server.post_as(pair, "/token", grant_type="client_credentials") for _ in range(2)]
    one, other = (answer.json()["access_token"] for answer in answers)
    assert (await server.post_as(pair, "/revoke", token=one)).status_code == 200
    claims = claims_of(one)
    assert await revoked(server) == [{"jti": claims["jti"], "until": claims["exp"] + MARGIN}]
    assert await server.introspect(pair, one) == {"active": False}
    assert (await server.introspect(pair, other))["active"]
    assert (await server.post_as(pair, "/revoke", token=one)).status_code == 200
    assert len(server.events(TokenRevoked)) == 1


async def test_another_clients_token_does_not_come_onto_the_list(server: Service) -> None:
    tokens = await server.user_tokens(await server.public_client())
    for token in (tokens["access_token"], tokens["refresh_token"]):
        await server.revoke(await server.public_client(), token)
    assert await revoked(server) == []


async def test_the_grants_of_a_disabled_user_are_listed_until_enabled(server: Service) -> None:
    client = await server.public_client()
    await server.user_tokens(client)
    ended = await server.user_tokens(client)
    await server.revoke(client, ended["refresh_token"])
    await server.grants.suspend(server.ada.user_id)
    assert len(await revoked(server)) == 2
    await server.grants.resume(server.ada.user_id)
    (entry,) = await revoked(server)
    assert entry["grant_id"] == claims_of(ended["access_token"])["grant_id"], "it ended for good"


async def test_a_grant_that_ends_while_it_is_listed_is_listed_longer(server: Service) -> None:
    """Tokens may have been minted in between."""
    client = await server.public_client()
    tokens = await server.user_tokens(client)
    await server.grants.suspend(server.ada.user_id)
    server.clock.advance(300)
    await server.revoke(client, tokens["refresh_token"])
    (entry,) = await revoked(server)
    assert entry["until"] == server.clock() + LIFETIME + MARGIN


async def test_a_reader_that_has_the_list_is_told_so(server: Service) -> None:
    """RFC 9110 §13.1.2."""
    version = (await fetch(server)).headers["etag"]
    unchanged = await fetch(server, version)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == version
    assert (await fetch(server, f'"abc", W/{version}')).status_code == 304
    client = await server.public_client()
    await server.revoke(client, (await server.user_tokens(client))["refresh_token"])
    changed = await fetch(server, version)
    assert changed.status_code == 200
    assert changed.headers["etag"] != version


async def test_equal_lists_have_equal_versions_in_every_process() -> None:
    store = MemoryStore()
    async with service(store) as one, service(store) as other:
        client = await one.public_client()
        await one.revoke(client, (await one.user_tokens(client))["refresh_token"])
        assert (await fetch(one)).headers["etag"] == (await fetch(other)).headers["etag"]


async def test_the_list_holds_nothing_that_is_secret(server: Service) -> None:
    client = await server.public_client()
    tokens = await server.user_tokens(client)
    await server.revoke(client, tokens["access_token"])
    text = (await fetch(server)).text
    for secret in (tokens["access_token"], tokens["refresh_token"], client.client_id, server.ada.user_id):
        assert secret not in text


@pytest.mark.parametrize(
    "query", ["wait=x", "wait=-1", "wait=1.5", "wait=99999", "wait=1&wait=1", "wait=%ff"]
)
async def test_a_wait_that_is_no_number_of_seconds_is_an_invalid_request(server: Service, query: str) -> None:
    response = await server.http.get(f"/revoked?{query}")
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


class Failing(MemoryStore):
    """A store that cannot be read, or of which one kind cannot be written, when told so."""

    listing = True
    unwritable: str | None = None

    async def list(self, kind: str, owner: str | None = None) -> Records:
        if not self.listing:
            raise StoreUnavailable("it broke")
        return await super().list(kind, owner)

    async def add(
        self, kind: str, key: str, record: Record, *, expires_at: int | None = None, owner: str | None = None
    ) -> bool:
        if kind == self.unwritable:
            raise StoreUnavailable("it broke")
        return await super().add(kind, key, record, expires_at=expires_at, owner=owner)


async def test_a_store_that_fails_is_503_and_never_an_empty_list() -> None:
    store = Failing()
    async with service(store) as server:
        store.listing = False
        response = await fetch(server)
        assert response.status_code == 503
        assert "revoked" not in response.json()


@pytest.mark.parametrize("kind", ["revocation", "revoked_grant"])
async def test_a_revocation_that_fails_half_way_is_503_and_can_be_repeated(kind: str) -> None:
    """RFC 7009 §2.2.1: never a 200 for what did not happen."""
    store = Failing()
    async with service(store) as server:
        client = await server.public_client()
        token = (await server.user_tokens(client))["refresh_token"]
        store.unwritable = kind
        form = {"client_id": client.client_id, "token": token}
        assert (await server.post("/revoke", form)).status_code == 503
        store.unwritable = None
        await server.revoke(client, token)
        assert len(await revoked(server)) == 1
        assert (await server.refresh(client, token)).status_code == 400


class Cli:
    """Runs commands on the database of a running server."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "mcpauth.db"
        self.config = folder / "mcpauth.toml"
        CliRunner().invoke(mcpauth, ["init", str(self.config)])

    async def __call__(self, *arguments: str) -> None:
        command = [*arguments, "--config", str(self.config)]
        result = await asyncio.to_thread(CliRunner().invoke, mcpauth, command)
        assert result.exit_code == 0, result.output


async def test_an_operator_who_disables_a_user_puts_their_grants_on_the_list(tmp_path: Path) -> None:
    """Resource servers hear of it while the access token still verifies."""
    cli = Cli(tmp_path)
    store = await SqliteStore.open(cli.database)
    try:
        async with service(store, Clock(time.time())) as server:
            token = (await server.user_tokens(await server.public_client()))["access_token"]
            await cli("users", "disable", "ada")
            (entry,) = await revoked(server)
            assert entry["grant_id"] == claims_of(token)["grant_id"]
            await cli("users", "enable", "ada")
            assert await revoked(server) == []
    finally:
        await store.aclose()


async def test_an_operator_who_removes_a_client_ends_its_grants(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    store = await SqliteStore.open(cli.database)
    try:
        async with service(store, Clock(time.time())) as server:
            notes = await server.server_of(NOTES)
            client, other = await server.public_client(), await server.public_client()
            token = (await server.user_tokens(client))["access_token"]
            kept = (await server.user_tokens(other))["access_token"]
            await cli("clients", "remove", client.client_id)
            (entry,) = await revoked(server)
            assert entry["grant_id"] == claims_of(token)["grant_id"]
            assert await server.introspect(notes, token) == {"active": False}
            assert (await server.introspect(notes, kept))["active"]
    finally:
        await store.aclose()
