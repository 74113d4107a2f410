"""Streams pass event by event: neither their length nor their number is held in memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest

from examples.walkthrough.servers import free_ports, stop
from tests.middleware.edge_helpers import message
from tests.stacks.environments import ROOT, search_path
from tests.stacks.running import wait_for
from tests.stacks.stream_server import FIRST

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.stacks.issuer import LocalIssuer

pytestmark = pytest.mark.anyio

MEBIBYTE = 1024 * 1024
LONG = 100 * MEBIBYTE
STREAMS = 1000
_MEMORY = re.compile(r"Vm(RSS|HWM):\s+(\d+) kB")


@dataclass(frozen=True)
class StreamServer:
    """A server of streams, as a process whose memory can be looked at."""

    url: str
    headers: dict[str, str]
    pid: int

    def memory(self) -> dict[str, int]:
        """Bytes now ("RSS") and at most so far ("HWM")."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return {name: int(kilobytes) * 1024 for name, kilobytes in _MEMORY.findall(status)}


@contextmanager
def serving(issuer: LocalIssuer, folder: Path, *, protected: bool = True) -> Generator[StreamServer]:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/mcp"
    config = {
        "size": LONG,
        "protected": protected,
        "resource": url,
        "issuer": issuer.identifier,
        "journal": str(folder / f"{port}.audit.jsonl"),
    }
    log = folder / f"{port}.log"
    application = ["--factory", "tests.stacks.stream_server:create_app", "--port", str(port)]
    options = ["--no-access-log", "--log-level", "warning", "--lifespan", "off"]
    environment = {**os.environ, "STREAM_CONFIG": json.dumps(config), "PYTHONPATH": search_path()}
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *application, *options],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
        try:
            wait_for(process, f"http://127.0.0.1:{port}/release", log)
            yield StreamServer(url, {"Authorization": f"Bearer {issuer.token(url)}"}, process.pid)
        finally:
            stop(process)


async def test_a_long_stream_is_not_held_in_memory(issuer: LocalIssuer, tmp_path: Path) -> None:
    """100 MiB of events: the first is there before the second exists, and memory stays flat."""
    with serving(issuer, tmp_path) as server:
        headers, body = message("tools/call", {"name": "stream"}, revision="2025-11-25")
        async with httpx2.AsyncClient(timeout=30) as client:
            before = server.memory()["HWM"]
            async with client.stream(
                "POST", server.url, headers={**headers, **server.headers}, content=body
            ) as stream:
                assert stream.status_code == 200
                chunks = stream.aiter_raw()
                assert await anext(chunks) == FIRST
                # Only now does the application go on.
                await client.get(server.url.replace("/mcp", "/release"))
                received = len(FIRST) + sum([len(chunk) async for chunk in chunks])
            grown = server.memory()["HWM"] - before

    assert received > LONG
    assert grown < 10 * MEBIBYTE, f"{grown / MEBIBYTE:.1f} MiB"


async def test_a_thousand_open_streams_cost_little(issuer: LocalIssuer, tmp_path: Path) -> None:
    """Each has its first event at once, and a second thousand takes no more memory than the first."""
    _allow_many_sockets()
    with serving(issuer, tmp_path, protected=False) as bare:
        start = bare.memory()["RSS"]
        await _open_at_once(bare)
        cost_of_the_server = bare.memory()["HWM"] - start

    with serving(issuer, tmp_path) as server:
        # Loads what the first request loads.
        await _open_at_once(server, count=20)
        start = server.memory()["RSS"]
        await _open_at_once(server)
        first = server.memory()["HWM"] - start
        await _open_at_once(server)
        second = server.memory()["HWM"] - start

    assert first - cost_of_the_server < 20 * MEBIBYTE, (
        f"{(first - cost_of_the_server) / STREAMS:.0f} bytes each"
    )
    assert second - first < 5 * MEBIBYTE, f"{(second - first) / STREAMS:.0f} bytes each stay behind"


async def _open_at_once(server: StreamServer, count: int = STREAMS) -> None:
    """Open so many streams, see the first event of each, and only then close them."""
    writers: list[asyncio.StreamWriter] = []
    limit = anyio.CapacityLimiter(50)
    port = httpx2.URL(server.url).port
    fields = {"Host": f"127.0.0.1:{port}", "Accept": "text/event-stream", **server.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())

    async def one() -> None:
        async with limit:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            writer.write(f"GET /mcp HTTP/1.1\r\n{head}\r\n".encode())
            answer = await reader.readuntil(b"data: first\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer[:200]

    try:
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(one)
    finally:
        for writer in writers:
            writer.transport.abort()
        for writer in writers:
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def _allow_many_sockets() -> None:
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A process that is started later has the same limit.
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(now, min(4096, most)), most))
