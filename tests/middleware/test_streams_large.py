"""Large answers: they pass as they come, and little of them is ever held (MCP, Streamable HTTP)."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Literal

import anyio
import pytest

from tests.middleware.edge_helpers import HANDSHAKE_REVISIONS, MODERN, bearer, message, protect
from tests.middleware.work import counted

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import ASGIApp, Event, Receive, Scope, Send

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
CHUNKS, CHUNK = 400, b"x" * (MB // 4)
"""A hundred megabytes."""
LIMIT = 16 * MB
"""So much of one event may be held before it is known to be no list."""

Form = Literal["many events", "one event", "one document"]


class Large:
    """A server that goes on with its answer only once the client has what came before."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self.made = 0
        self.arrived = anyio.Event()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        kind = b"application/json" if self._form == "one document" else b"text/event-stream"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        if self._form != "one document":
            await self._body(send, b": hello\n\n")
            await self.arrived.wait()
        if self._form == "one event":
            await self._body(send, b"data: ")
        before, after = (b"data: ", b"\n\n") if self._form == "many events" else (b"", b"")
        for _ in range(CHUNKS):
            self.made += 1
            await self._body(send, before + CHUNK + after)
        await self._body(send, b"\n\n", more=False)

    async def _body(self, send: Send, body: bytes, *, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": more})


@pytest.mark.parametrize("form", ["many events", "one event", "one document"])
@pytest.mark.parametrize("revision", [HANDSHAKE_REVISIONS[-1], MODERN])
async def test_a_hundred_megabytes_pass_as_they_come(form: Form, revision: str) -> None:
    """The first bytes are there before the next are made, and memory does not grow with the answer."""
    server = Large(form)
    headers, body = message("tools/call", {"name": "read_file"}, revision=revision)
    raw = [(name.lower().encode(), value.encode()) for name, value in {**headers, **bearer()}.items()]
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "headers": [(b"host", b"rs.example"), *raw],
    }
    size = 0

    async def receive() -> Event:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: Event) -> None:
        nonlocal size
        if event["type"] == "http.response.start":
            assert event["status"] == 200
            return
        if not size:
            assert server.made <= (LIMIT // len(CHUNK) + 2 if form == "one document" else 0)
            server.arrived.set()
        size += len(event["body"])

    guarded = protect(server)
    tracemalloc.start()
    try:
        with anyio.fail_after(60):
            await guarded(scope, receive, send)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size >= CHUNKS * len(CHUNK)
    # One event of a revision with sessions is held up to the limit, and copied once to be looked at.
    assert peak < (8 * MB if form == "many events" or revision == MODERN else 3 * LIMIT + 8 * MB)


STREAM_REVISION = [(b"mcp-protocol-version", HANDSHAKE_REVISIONS[-1].encode())]


class Listening:
    """A client that opens a stream (GET) and stays."""

    def __init__(self) -> None:
        self.first, self.over = anyio.Event(), anyio.Event()

    async def open(self, guarded: ASGIApp) -> None:
        token = [(name.lower().encode(), value.encode()) for name, value in bearer().items()]
        headers = [(b"host", b"rs.example"), *token, *STREAM_REVISION]
        await guarded(
            {"type": "http", "method": "GET", "path": "/mcp", "headers": headers}, self._receive, self._send
        )

    async def _receive(self) -> Event:
        await self.over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, event: Event) -> None:
        if event.get("body"):
            self.first.set()


async def _stays(_scope: Scope, receive: Receive, send: Send) -> None:
    kind = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": kind})
    await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass
    await send({"type": "http.response.body", "body": b""})


async def test_the_first_byte_of_a_stream_costs_the_same_with_a_thousand_others_open() -> None:
    """In function calls, so that the machine does not matter: what is open is not looked through."""
    guarded, streams = protect(_stays), list[Listening]()
    costs: list[int] = []
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for others in (10, 1000):
                while len(streams) < others:
                    streams.append(Listening())
                    group.start_soon(streams[-1].open, guarded)
                    await streams[-1].first.wait()
                streams.append(Listening())
                with counted() as count:
                    group.start_soon(streams[-1].open, guarded)
                    await streams[-1].first.wait()
                    costs.append(count())
            for stream in streams:
                stream.over.set()
    assert costs[0] > 50, "the stream was opened while it was counted"
    assert costs[1] < costs[0] * 1.2, costs
