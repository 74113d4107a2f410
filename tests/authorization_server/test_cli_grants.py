"""`mcpauth grants`: what an operator sees of what users allowed, and ends, while the server runs."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from mcpauth.stores.sqlite import SqliteStore
from tests.authorization_server.grants_helpers import NOTES, TASKS, Clock, Service, claims_of, service
from tests.authorization_server.test_cli import Cli, refused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from click.testing import Result

    from mcpauth.oauth.client import Client

pytestmark = pytest.mark.anyio


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path)


@pytest.fixture
async def server(cli: Cli) -> AsyncGenerator[Service]:
    """A server on the database that the commands work on."""
    store = await SqliteStore.open(cli.folder / "mcpauth.db")
    try:
        async with service(store, Clock(time.time())) as server:
            yield server
    finally:
        await store.aclose()


async def run(cli: Cli, *arguments: str) -> Result:
    # In a thread, since a command has an event loop of its own.
    return await asyncio.to_thread(cli, "grants", *arguments)


async def listed(cli: Cli, *arguments: str) -> list[dict[str, Any]]:
    result = await run(cli, "list", *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


async def allowed(server: Service, client: Client, **more: Any) -> tuple[str, dict[str, Any]]:
    """A grant of ada's, and its tokens."""
    tokens = await server.user_tokens(client, **more)
    return claims_of(tokens["access_token"])["grant_id"], tokens


async def is_alive(server: Service, client: Client, tokens: dict[str, Any]) -> bool:
    response = await server.refresh(client, tokens["refresh_token"])
    assert response.status_code == 200 or response.json()["error"] == "invalid_grant"
    return response.status_code == 200


async def on_the_list(server: Service) -> set[str]:
    """The grants that resource servers are told of."""
    server.app.state.revocation_feed._read_at = -float("inf")
    return {entry["grant_id"] for entry in (await server.http.get("/revoked")).json()["revoked"]}


@asynccontextmanager
async def as_bob(server: Service) -> AsyncGenerator[None]:
    """Whatever is allowed meanwhile, bob allows."""
    bob = await server.users.add("bob", "no password")
    assert bob is not None
    ada, server.ada = server.ada, bob
    yield
    server.ada = ada


async def test_a_grant_is_listed_with_who_allowed_what_to_whom(cli: Cli, server: Service) -> None:
    client = await server.public_client(client_name="Robo Notes")
    grant_id, tokens = await allowed(server, client)
    assert await listed(cli) == [
        {
            "grant_id": grant_id,
            "user_id": server.ada.user_id,
            "username": "ada",
            "client_id": client.client_id,
            "client_name": "Robo Notes",
            "permissions": [{"resource": NOTES, "scopes": ["notes:read", "notes:write"]}],
            "created_at": int(server.clock()),
        }
    ]
    told = await run(cli, "list")
    assert told.exit_code == 0
    heading, row = told.stdout.splitlines()
    assert heading.split() == ["GRANT", "ID", "USER", "CLIENT", "ID", "CLIENT", "SINCE", "ALLOWED"]
    for part in (grant_id, "ada", client.client_id, "Robo Notes", f"{NOTES} notes:read notes:write"):
        assert part in row
    for token in (tokens["access_token"], tokens["refresh_token"]):
        assert token not in told.stdout
    assert await is_alive(server, client, tokens), "looking ends nothing"


async def test_a_list_can_be_of_one_user_or_one_client_or_both(cli: Cli, server: Service) -> None:
    one, other = await server.public_client(), await server.public_client(client_name="Other")
    first, _ = await allowed(server, one)
    server.clock.advance(1)
    second, _ = await allowed(server, other, resource=TASKS, scopes=("tasks:read",))
    server.clock.advance(1)
    async with as_bob(server):
        third, _ = await allowed(server, one)

    async def ids(*options: str) -> list[str]:
        return [each["grant_id"] for each in await listed(cli, *options)]

    assert await ids() == [first, second, third], "the oldest first"
    assert await ids("--user", "ADA") == [first, second]
    assert await ids("--user", "bob") == [third]
    assert await ids("--client", one.client_id) == [first, third]
    assert await ids("--client", one.client_id, "--user", "bob") == [third]
    assert await ids("--client", "unknown") == []
    assert refused(await run(cli, "list", "--user", "eve"), 1) == "error: there is no user eve"


async def test_an_empty_list_says_so(cli: Cli) -> None:
    assert (await run(cli, "list")).stdout.startswith("No grants: ")
    assert await listed(cli) == []


async def test_a_disabled_users_grants_are_marked(cli: Cli, server: Service) -> None:
    """They come back when the user is enabled."""
    await allowed(server, await server.public_client())
    await asyncio.to_thread(cli, "users", "disable", "ada")
    assert "ada (disabled)" in (await run(cli, "list")).stdout


async def test_a_name_cannot_move_the_cursor(cli: Cli, server: Service) -> None:
    client, _ = await server.clients.register(
        {"redirect_uris": ["http://127.0.0.1/cb"], "client_name": "x"}, source="dynamic"
    )
    hostile = "\x1b[2J\u202eevil"
    await server.store.replace(
        "client", client.client_id, client.to_record(), client.to_record() | {"client_name": hostile}
    )
    grant_id, _ = await allowed(server, client)
    told = (await run(cli, "list")).stdout
    assert grant_id in told
    assert "\x1b" not in told
    assert "\u202e" not in told


async def test_an_ended_grant_is_gone_with_all_its_tokens(cli: Cli, server: Service) -> None:
    """For the server itself at once, for resource servers through the revocation list; no other one ends."""
    client = await server.public_client()
    resource_server = await server.server_of(NOTES)
    ended, tokens = await allowed(server, client)
    kept, other = await allowed(server, client)
    result = await run(cli, "revoke", ended)
    assert (result.exit_code, result.stdout) == (0, "Ended 1 grant.\n")
    assert await on_the_list(server) == {ended}
    assert await server.introspect(resource_server, tokens["access_token"]) == {"active": False}
    assert not await is_alive(server, client, tokens)
    assert [each["grant_id"] for each in await listed(cli)] == [kept]
    assert (await server.introspect(resource_server, other["access_token"]))["active"]
    assert await is_alive(server, client, other)


async def test_an_unknown_or_ended_grant_is_told(cli: Cli, server: Service) -> None:
    grant_id, _ = await allowed(server, await server.public_client())
    assert refused(await run(cli, "revoke", "nothing"), 1) == "error: there is no grant nothing"
    assert await on_the_list(server) == set()
    assert (await run(cli, "revoke", grant_id)).exit_code == 0
    assert refused(await run(cli, "revoke", grant_id), 1) == f"error: there is no grant {grant_id}"


async def test_a_disabled_users_grant_can_be_ended_for_good(cli: Cli, server: Service) -> None:
    client = await server.public_client()
    grant_id, tokens = await allowed(server, client)
    await asyncio.to_thread(cli, "users", "disable", "ada")
    assert (await run(cli, "revoke", grant_id)).exit_code == 0
    await asyncio.to_thread(cli, "users", "enable", "ada")
    assert not await is_alive(server, client, tokens)
    assert await on_the_list(server) == {grant_id}


async def test_all_grants_of_a_user_are_ended(cli: Cli, server: Service) -> None:
    one, other = await server.public_client(), await server.public_client(client_name="Other")
    first, first_tokens = await allowed(server, one)
    second, second_tokens = await allowed(server, other)
    async with as_bob(server):
        kept, kept_tokens = await allowed(server, one)
    result = await run(cli, "revoke", "--user", "ada", "--yes")
    assert (result.exit_code, result.stdout) == (0, "Ended 2 grants.\n")
    assert await on_the_list(server) == {first, second}
    assert not await is_alive(server, one, first_tokens)
    assert not await is_alive(server, other, second_tokens)
    assert await is_alive(server, one, kept_tokens)
    assert [each["grant_id"] for each in await listed(cli)] == [kept]
    again = await run(cli, "revoke", "--user", "ada")
    assert (again.exit_code, again.stdout) == (0, "Ended 0 grants.\n"), "and nothing is asked"


async def test_all_grants_to_a_client_are_ended_and_the_client_stays(cli: Cli, server: Service) -> None:
    one, other = await server.public_client(), await server.public_client(client_name="Other")
    ended, _ = await allowed(server, one)
    kept, _ = await allowed(server, other)
    async with as_bob(server):
        bobs, _ = await allowed(server, one)
    assert (await run(cli, "revoke", "--client", one.client_id, "--yes")).stdout == "Ended 2 grants.\n"
    assert await on_the_list(server) == {ended, bobs}
    assert [each["grant_id"] for each in await listed(cli)] == [kept]
    assert await server.clients.get(one.client_id) == one
    _, tokens = await allowed(server, one)
    assert await is_alive(server, one, tokens), "users may allow it anew"


async def test_what_one_user_allowed_one_client_is_ended(cli: Cli, server: Service) -> None:
    one, other = await server.public_client(), await server.public_client(client_name="Other")
    ended, _ = await allowed(server, one)
    await allowed(server, other)
    async with as_bob(server):
        await allowed(server, one)
    options = ("--client", one.client_id, "--user", "ada")
    assert (await run(cli, "revoke", *options, "--yes")).stdout == "Ended 1 grant.\n"
    assert await on_the_list(server) == {ended}
    assert len(await listed(cli)) == 2


async def test_without_a_terminal_several_are_ended_only_with_yes(cli: Cli, server: Service) -> None:
    client = await server.public_client()
    _, tokens = await allowed(server, client)
    for options in (("--user", "ada"), ("--client", client.client_id)):
        assert refused(await run(cli, "revoke", *options), 2) == "error: no terminal to ask; say --yes"
    assert await on_the_list(server) == set()
    assert await is_alive(server, client, tokens)


@pytest.mark.parametrize(("answer", "ended"), [("n", False), ("", False), ("y", True)])
async def test_at_a_terminal_it_is_asked_before(cli: Cli, server: Service, answer: str, ended: bool) -> None:
    client = await server.public_client()
    _, tokens = await allowed(server, client)

    def at_terminal() -> tuple[int, bytes]:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "mcpauth", "grants", "revoke", "--user", "ada"]
        with subprocess.Popen(
            [*command, "--config", str(cli.config)],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        ) as process:  # fmt: skip
            os.close(theirs)
            shown = b""
            while b"End 1 grant? [y/N]:" not in shown:
                shown += os.read(ours, 1024)
            os.write(ours, answer.encode() + b"\n")
            while b"Ended 1 grant." not in shown and b"nothing was changed" not in shown:
                shown += os.read(ours, 1024)
            code = process.wait(20)
        os.close(ours)
        return code, shown

    code, shown = await asyncio.to_thread(at_terminal)
    assert (code, b"Ended 1 grant." in shown) == ((0, True) if ended else (1, False))
    assert await is_alive(server, client, tokens) is not ended
    assert len(await on_the_list(server)) == ended


@pytest.mark.parametrize(
    "arguments", [(), ("a", "--user", "ada"), ("a", "--client", "b"), ("a", "--yes", "--user", "ada")]
)
async def test_it_is_said_what_to_end(cli: Cli, server: Service, arguments: tuple[str, ...]) -> None:
    _, tokens = await allowed(server, client := await server.public_client())
    line = refused(await run(cli, "revoke", *arguments), 2)
    assert line == "error: name one grant, or all of them with --user or --client"
    assert await is_alive(server, client, tokens)


async def test_an_unknown_user_has_no_grants_to_end(cli: Cli, server: Service) -> None:
    _, tokens = await allowed(server, client := await server.public_client())
    result = await run(cli, "revoke", "--user", "eve", "--yes")
    assert refused(result, 1) == "error: there is no user eve"
    assert await is_alive(server, client, tokens)
