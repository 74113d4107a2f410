"""The revocation list for those who wait: long polling, event streams, and two processes on one file."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from mcpauth.oauth.revocation_feed import RevocationFeed, TooManyWaiting
from mcpauth.oauth.revocation_list import RevocationList
from mcpauth.stores.memory import MemoryStore
from mcpauth.stores.sqlite import SqliteStore
from tests.authorization_server.grants_helpers import Clock, Service, service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, MutableMapping

# What is meant to be answered at once asks to wait for longer than a test may take.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(25)]

ROOT = Path(__file__).parents[2]
SOON = 0.01


class Counting(MemoryStore):
    """Counts how often it is listed."""

    lists = 0

    async def list(self, kind: str, owner: str | None = None) -> list[tuple[str, dict[str, Any]]]:
        self.lists += 1
        return await super().list(kind, owner)


@asynccontextmanager
async def feed_of(
    store: MemoryStore, *, interval: float = SOON, max_waiting: int = 100
) -> AsyncGenerator[tuple[RevocationFeed, RevocationList]]:
    revocations = RevocationList(store)
    feed = RevocationFeed(revocations, interval=interval, max_waiting=max_waiting)
    try:
        yield feed, revocations
    finally:
        await feed.aclose()


async def test_everyone_who_waits_hears_of_a_revocation_at_once_with_one_look_at_the_store() -> None:
    store = Counting()
    async with feed_of(store, interval=0.05) as (feed, revocations):
        version = (await feed.current()).version
        waiting = [asyncio.create_task(feed.after(version, 5)) for _ in range(50)]
        await asyncio.sleep(0)
        await revocations.add_grant("a")
        lists = store.lists
        snapshots = await asyncio.gather(*waiting)
        assert store.lists - lists <= 2
        assert {tuple(each.value for each in snapshot.revocations) for snapshot in snapshots} == {("a",)}


async def test_who_knows_an_old_list_does_not_wait() -> None:
    async with feed_of(MemoryStore()) as (feed, revocations):
        version = (await feed.current()).version
        await revocations.add_grant("a")
        await asyncio.sleep(SOON)
        assert (await feed.after(version, 60)).version != version


async def test_waiting_ends_in_time_and_the_store_is_left_alone_then() -> None:
    store = Counting()
    async with feed_of(store) as (feed, _):
        version = (await feed.current()).version
        assert (await feed.after(version, 5 * SOON)).version == version
        await asyncio.sleep(5 * SOON)
        lists = store.lists
        await asyncio.sleep(5 * SOON)
        assert store.lists == lists


async def test_one_more_than_may_wait_does_not() -> None:
    async with feed_of(MemoryStore(), max_waiting=2) as (feed, _):
        version = (await feed.current()).version
        waiting = [asyncio.create_task(feed.after(version, 5)) for _ in range(2)]
        await asyncio.sleep(0.001)
        with pytest.raises(TooManyWaiting):
            await feed.after(version, 5)
        waiting.pop().cancel()
        await asyncio.sleep(0.001)
        assert (await feed.after(version, SOON)).version == version, "a place came free"
        feed.close()
        await asyncio.gather(*waiting)


async def test_over_the_limit_a_long_poll_is_a_plain_answer(caplog: pytest.LogCaptureFixture) -> None:
    async with service() as server:
        server.app.state.revocation_feed._max_waiting = 0
        version = (await server.http.get("/revoked")).headers["etag"]
        response = await server.http.get("/revoked?wait=30", headers={"If-None-Match": version})
        assert response.status_code == 304
        assert "too many wait" in caplog.text


async def test_a_long_poll_is_answered_when_something_is_revoked() -> None:
    async with service() as server:
        client = await server.public_client()
        token = (await server.user_tokens(client))["refresh_token"]
        version = (await server.http.get("/revoked")).headers["etag"]
        waiting = asyncio.create_task(
            server.http.get("/revoked?wait=30", headers={"If-None-Match": version}, timeout=30)
        )
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await server.revoke(client, token)
        response = await waiting
        assert response.status_code == 200
        assert len(response.json()["revoked"]) == 1


async def test_a_long_poll_without_news_is_a_304_in_the_end() -> None:
    async with service() as server:
        version = (await server.http.get("/revoked")).headers["etag"]
        response = await server.http.get("/revoked?wait=1", headers={"If-None-Match": version})
        assert response.status_code == 304


async def test_a_long_poll_without_a_version_is_answered_at_once() -> None:
    async with service() as server:
        assert (await server.http.get("/revoked?wait=30")).status_code == 200


class Reader:
    """Reads `GET /revoked` as ASGI sends it; httpx2's transport would wait for the end of the stream."""

    def __init__(self, server: Service, **headers: str) -> None:
        self.app = server.app
        self.headers = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
        self.query = b""
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.gone = asyncio.Event()

    async def run(self) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": "/revoked",
            "raw_path": b"/revoked",
            "root_path": "",
            "query_string": self.query,
            "headers": self.headers,
            "client": None,
            "server": ("as.example", 443),
        }
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            await self.sent.put(dict(message))

        await self.app(scope, receive, send)

    async def message(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.sent.get(), 5)

    async def event(self) -> dict[str, Any]:
        """The data of the next event; comments are left out."""
        while (text := (await self.message())["body"].decode()).startswith(":"):
            pass
        kind, version, data, *rest = text.split("\n")
        assert kind == "event: revoked"
        assert version.startswith("id: ")
        assert rest == ["", ""]
        found: dict[str, Any] = json.loads(data.removeprefix("data: "))
        return found


async def test_a_stream_tells_the_whole_list_and_then_what_comes_to_it() -> None:
    async with service() as server:
        client = await server.public_client()
        tokens = [(await server.user_tokens(client))["refresh_token"] for _ in range(2)]
        await server.revoke(client, tokens[0])
        reader = Reader(server, accept="text/event-stream")
        running = asyncio.create_task(reader.run())
        start = await reader.message()
        assert start["status"] == 200
        assert dict(start["headers"])[b"content-type"].startswith(b"text/event-stream")
        (first,) = (await reader.event())["revoked"]
        await server.revoke(client, tokens[1])
        (second,) = (await reader.event())["revoked"]
        assert first["grant_id"] != second["grant_id"], "only what is new"
        reader.gone.set()
        await asyncio.wait_for(running, 5)


async def test_an_entry_that_runs_out_is_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpauth.endpoints.revocation_list.HEARTBEAT_SECONDS", 1)
    async with service() as server:
        client = await server.public_client()
        await server.revoke(client, (await server.user_tokens(client))["refresh_token"])
        reader = Reader(server, accept="text/event-stream")
        running = asyncio.create_task(reader.run())
        await reader.message()
        await reader.event()
        server.clock.advance(3600)
        assert (await reader.message())["body"] == b": still here\n\n"
        server.app.state.revocation_feed.close()
        await asyncio.wait_for(running, 5)


async def test_a_stream_and_a_long_poll_end_when_the_server_goes_down() -> None:
    async with service() as server:
        version = (await server.http.get("/revoked")).headers["etag"]
        stream = Reader(server, accept="text/event-stream")
        poll = Reader(server, if_none_match=version)
        poll.query = b"wait=60"
        running = [asyncio.create_task(each.run()) for each in (stream, poll)]
        await stream.event() if (await stream.message())["status"] == 200 else None
        await asyncio.sleep(0.05)
        server.app.state.revocation_feed.close()
        await asyncio.wait_for(asyncio.gather(*running), 5)
        assert (await poll.message())["status"] == 304


async def test_who_has_gone_does_not_take_a_place() -> None:
    async with service() as server:
        version = (await server.http.get("/revoked")).headers["etag"]
        poll = Reader(server, if_none_match=version)
        poll.query = b"wait=60"
        running = asyncio.create_task(poll.run())
        await asyncio.sleep(0.05)
        assert len(server.app.state.revocation_feed._waiting) == 1
        poll.gone.set()
        await asyncio.wait_for(running, 5)
        assert len(server.app.state.revocation_feed._waiting) == 0


SETTINGS = """\
issuer = "http://127.0.0.1:{port}"
database = "as.db"

[[resources]]
identifier = "https://notes.example/mcp"
name = "Notes"

[[resources.scopes]]
name = "notes:read"
description = "Read"

[[resources.scopes]]
name = "notes:write"
description = "Write"
"""


async def serving(stack: AsyncExitStack, folder: Path) -> tuple[str, asyncio.subprocess.Process]:
    """A server process on the database of the folder, and its address."""
    (folder / "mcpauth.toml").write_text(SETTINGS.format(port=9000))
    log = (folder / f"{time.monotonic_ns()}.log").open("w+")
    stack.callback(log.close)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mcpauth", "serve", "--config", str(folder / "mcpauth.toml"), "--port", "0"),
        cwd=ROOT,
        stdout=log,
        stderr=log,
    )

    async def stop() -> None:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 10)

    stack.push_async_callback(stop)
    for _ in range(200):
        log.seek(0)
        for line in log.read().splitlines():
            if "port" in line and "listening on" in line:
                return f"http://127.0.0.1:{line.split('port ')[1].split(',')[0]}", process
        await asyncio.sleep(0.05)
    raise AssertionError("the server did not start")


async def test_two_processes_on_one_file_tell_each_others_revocations_within_a_second(tmp_path: Path) -> None:
    """One revokes; a stream and a long poll at the other hear of it. It stops although the stream is open."""
    async with AsyncExitStack() as stack:
        (one, _), (other, process) = [await serving(stack, tmp_path) for _ in range(2)]
        store = await SqliteStore.open(tmp_path / "as.db")
        stack.push_async_callback(store.aclose)
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=30))
        for address in (one, other):
            await until_up(http, address)
        async with service(store, Clock(time.time())) as here:
            client = await here.public_client()
            token = (await here.user_tokens(client))["refresh_token"]
        version = (await http.get(f"{other}/revoked")).headers["etag"]
        poll = asyncio.create_task(http.get(f"{other}/revoked?wait=20", headers={"If-None-Match": version}))
        events = {"Accept": "text/event-stream"}
        stream = await stack.enter_async_context(http.stream("GET", f"{other}/revoked", headers=events))
        lines = stream.aiter_lines()
        while not (await anext(lines)).startswith("data: "):
            pass
        form = {"client_id": client.client_id, "token": token}
        assert (await http.post(f"{one}/revoke", data=form)).status_code == 200
        while not (line := await anext(lines)).startswith("data: "):
            pass
        heard = json.loads(line.removeprefix("data: "))
        assert (await poll).json() == heard
        assert len(heard["revoked"]) == 1
        process.terminate()
        assert [line async for line in lines if line] == []
        await asyncio.wait_for(process.wait(), 5)


async def until_up(http: httpx2.AsyncClient, address: str) -> None:
    for _ in range(200):
        try:
            await http.get(f"{address}/jwks")
        except httpx2.TransportError:
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not answer")
