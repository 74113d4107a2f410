"""What one connection to `mcpauth serve` may cost, in bytes and in time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import uvicorn

from mcpauth.commands.serve import listen
from mcpauth.web import bounded_http
from mcpauth.web.bounded_http import MAX_HEAD_BYTES, MAX_PIPELINED, BoundedHttp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

HEAD = b"POST /token HTTP/1.1\r\nHost: as.example\r\n"
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Application:
    """Answers with the length of the body, after it was told to go on."""

    def __init__(self) -> None:
        self.asked = 0
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        self.asked += 1
        await self.goes_on.wait()
        length = 0
        while True:
            message = await receive()
            length += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
        await send({"type": "http.response.body", "body": b"%8d" % length})


@asynccontextmanager
async def served(app: Application) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server of it."""
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, http=BoundedHttp, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        app.goes_on.set()
        server.should_exit = True
        await serving


async def sent(writer: asyncio.StreamWriter, *pieces: bytes) -> None:
    """Send them, as far as the server takes them."""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass


async def answer(reader: asyncio.StreamReader) -> bytes:
    """What came before the end of the connection."""
    received = b""
    try:
        while chunk := await reader.read(65536):
            received += chunk
    except ConnectionError:
        pass
    return received


@pytest.mark.parametrize(
    "endless",
    [b"X: a\r\n", b"a" * 10],
    ids=["headers", "one header"],
)
async def test_a_head_that_does_not_end_is_431(endless: bytes) -> None:
    """RFC 6585 §5. The application is never asked."""
    app = Application()
    async with served(app) as (reader, writer):
        pieces = [endless * 1000] * (2 * MAX_HEAD_BYTES // len(endless) // 1000)
        await sent(writer, HEAD + b"X: ", *pieces)
        received = await answer(reader)
    # What the server has not read any more may take its answer with it.
    assert received == b"" or received.startswith(TOO_LARGE)
    assert app.asked == 0


async def test_trailers_that_do_not_end_are_431() -> None:
    app = Application()
    async with served(app) as (reader, writer):
        chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
        await sent(writer, chunked, *[b"X: aaaaaaa\r\n" * 1000] * 20)
        received = await answer(reader)
    assert b"200 OK" not in received


async def test_a_large_head_and_a_large_body_are_no_harm() -> None:
    app = Application()
    async with served(app) as (reader, writer):
        await sent(
            writer,
            HEAD + b"X: " + b"a" * 40_000 + b"\r\n",
            b"Content-Length: 1000000\r\nConnection: close\r\n\r\n",
            *[b"b" * 10_000] * 100,
        )
        received = await answer(reader)
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert received.endswith(b" 1000000")


async def test_many_requests_that_wait_for_an_answer_end_the_connection() -> None:
    """RFC 9112 §9.3.2 lets a client send them; each would be kept until its turn comes."""
    app = Application()
    app.goes_on.clear()
    async with served(app) as (reader, writer):
        request = b"GET /jwks HTTP/1.1\r\nHost: as.example\r\n\r\n"
        await sent(writer, request * (MAX_PIPELINED + 2))
        assert await answer(reader) == b""
        app.goes_on.set()
    assert app.asked == 1, "and those that waited are not answered to nobody"


async def test_a_few_that_wait_are_answered_in_turn() -> None:
    app = Application()
    async with served(app) as (reader, writer):
        request = b"GET /jwks HTTP/1.1\r\nHost: as.example\r\n"
        await sent(writer, (request + b"\r\n") * MAX_PIPELINED + request + b"Connection: close\r\n\r\n")
        received = await answer(reader)
    assert received.count(b"HTTP/1.1 200 OK") == MAX_PIPELINED + 1


@pytest.mark.parametrize(
    "begun", [b"", HEAD, HEAD + b"Content-Length: 5\r\n\r\na"], ids=["nothing", "head", "body"]
)
async def test_a_request_that_never_becomes_whole_ends_with_its_connection(
    begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else anybody can hold as many as the process may have open."""
    monkeypatch.setattr(bounded_http, "WHOLE_WITHIN", 0.05)
    async with served(Application()) as (reader, writer):
        await sent(writer, begun)
        assert await answer(reader) == b""


async def test_an_answer_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resource servers wait for revocations."""
    monkeypatch.setattr(bounded_http, "WHOLE_WITHIN", 0.05)
    app = Application()
    app.goes_on.clear()
    async with served(app) as (reader, writer):
        await sent(writer, HEAD + b"Content-Length: 1\r\nConnection: close\r\n\r\na")
        asyncio.get_running_loop().call_later(0.3, app.goes_on.set)
        assert (await answer(reader)).startswith(b"HTTP/1.1 200 OK")
