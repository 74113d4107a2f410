"""Two uvicorn worker processes on one SQLite file, over real sockets: never two winners, never a failure."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from examples.walkthrough.servers import free_ports, stop
from mcpauth.stores.sqlite import SqliteStore
from tests.authorization_server.core_helpers import LOOPBACK, VERIFIER
from tests.authorization_server.grants_helpers import Clock, Service, service
from tests.authorization_server.hostile_values import FORM
from tests.authorization_server.two_workers import DATABASE, WINDOW, WORKER
from tests.stacks.raw_http import chunked, exchange, request
from tests.stacks.running import wait_for

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from mcpauth.oauth.client import Client

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
AT_ONCE = 20
MOST_ROUNDS = 30
"""Until both workers have answered: which one takes a connection is chance."""


@dataclass
class Workers:
    """The address of the workers, and those that have answered."""

    port: int
    log: Path
    seen: set[str] = field(default_factory=set[str])

    async def at_once(self, form: dict[str, str]) -> list[httpx2.Response]:
        """The same token request twenty times, each on a connection of its own."""
        limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=0)
        base_url = f"http://127.0.0.1:{self.port}"
        async with httpx2.AsyncClient(base_url=base_url, limits=limits, timeout=60) as http:
            answers = await asyncio.gather(*(http.post("/token", data=form) for _ in range(AT_ONCE)))
        self.seen |= {answer.headers[WORKER] for answer in answers}
        return answers


@contextmanager
def workers(folder: Path, *, replay_seconds: int) -> Generator[Workers]:
    """Two workers behind one port."""
    (port,) = free_ports(1)
    environment = os.environ | {DATABASE: str(folder / "as.db"), WINDOW: str(replay_seconds)}
    target = "tests.authorization_server.two_workers:app"
    command = [sys.executable, "-m", "uvicorn", "--factory", target, "--workers", "2", "--port", str(port)]
    log = folder / "workers.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)
        try:
            wait_for(process, f"http://127.0.0.1:{port}/jwks", log)
            yield Workers(port, log)
        finally:
            stop(process)
    assert "Traceback" not in log.read_text()


@asynccontextmanager
async def behind(folder: Path) -> AsyncGenerator[Service]:
    """What a test does to the same file: clients, and codes as if a user had just consented."""
    clock = Clock(time.time())
    store = await SqliteStore.open(folder / "as.db", clock)
    try:
        async with service(store, clock) as server:
            yield server
    finally:
        await store.aclose()


async def code_form(server: Service, client: Client) -> dict[str, str]:
    server.clock.moment = time.time()
    return {
        "grant_type": "authorization_code",
        "client_id": client.client_id,
        "code": await server.user_code(client),
        "redirect_uri": LOOPBACK,
        "code_verifier": VERIFIER,
    }


def refresh_form(client: Client, tokens: dict[str, Any]) -> dict[str, str]:
    return {
        "grant_type": "refresh_token",
        "client_id": client.client_id,
        "refresh_token": tokens["refresh_token"],
    }


def one_winner(answers: list[httpx2.Response]) -> httpx2.Response:
    """The one success; every other answer is the error that a spent code or token gets."""
    (winner,) = [answer for answer in answers if answer.status_code == 200]
    others = [answer for answer in answers if answer is not winner]
    assert {(answer.status_code, answer.json()["error"]) for answer in others} == {(400, "invalid_grant")}
    return winner


async def test_of_20_redemptions_of_a_code_one_succeeds_and_what_it_got_ends(tmp_path: Path) -> None:
    """RFC 6749 §4.1.2."""
    with workers(tmp_path, replay_seconds=30) as served:
        async with behind(tmp_path) as server:
            client = await server.public_client()
            for _ in range(MOST_ROUNDS):
                winner = one_winner(await served.at_once(await code_form(server, client)))
                after = await served.at_once(refresh_form(client, winner.json()))
                assert {answer.json().get("error") for answer in after} == {"invalid_grant"}
                if len(served.seen) == 2:
                    break
    assert len(served.seen) == 2


async def test_of_20_refreshes_all_get_the_one_successor(tmp_path: Path) -> None:
    """RFC 9700 §4.14.2, with the replay window; the successor then works."""
    with workers(tmp_path, replay_seconds=300) as served:
        async with behind(tmp_path) as server:
            client = await server.public_client()
            tokens = await server.user_tokens(client)
            for _ in range(MOST_ROUNDS):
                answers = await served.at_once(refresh_form(client, tokens))
                assert {answer.status_code for answer in answers} == {200}
                (refresh_token,) = {answer.json()["refresh_token"] for answer in answers}
                (access_token,) = {answer.json()["access_token"] for answer in answers}
                assert refresh_token != tokens["refresh_token"]
                tokens = {"refresh_token": refresh_token, "access_token": access_token}
                if len(served.seen) == 2:
                    break
    assert len(served.seen) == 2


async def test_without_a_window_one_of_20_refreshes_succeeds_and_the_family_ends(tmp_path: Path) -> None:
    """RFC 9700 §4.14.2."""
    with workers(tmp_path, replay_seconds=0) as served:
        async with behind(tmp_path) as server:
            client = await server.public_client()
            for _ in range(MOST_ROUNDS):
                tokens = await server.user_tokens(client)
                winner = one_winner(await served.at_once(refresh_form(client, tokens)))
                after = await served.at_once(refresh_form(client, winner.json()))
                assert {answer.json().get("error") for answer in after} == {"invalid_grant"}
                if len(served.seen) == 2:
                    break
    assert len(served.seen) == 2


HOST = ("Host", "auth.example")
TYPE = ("Content-Type", FORM)
CHUNKED = ("Transfer-Encoding", "chunked")

# What no ASGI server hands on as it is. Each with the statuses that are right; None is a closed connection.
RAW: dict[str, tuple[bytes, set[int | None]]] = {
    "a form in chunks": (
        request("POST", "/token", [HOST, TYPE, CHUNKED], chunked(b"grant_type=", b"x"), length=False),
        {400, 401},
    ),
    "a form of a megabyte in chunks": (
        request("POST", "/token", [HOST, TYPE, CHUNKED], chunked(*[b"x" * 4096] * 256), length=False),
        {413, None},  # closed while there is more to come: the answer may be lost on the way
    ),
    "chunks that never end": (
        request("POST", "/token", [HOST, TYPE, CHUNKED], b"1000\r\n" + b"x" * 4096, length=False),
        {400, None},
    ),
    "a chunk whose size is no number": (
        request("POST", "/token", [HOST, TYPE, CHUNKED], b"zz\r\nx\r\n0\r\n\r\n", length=False),
        {400},
    ),
    "a length and chunks": (
        request("POST", "/token", [HOST, TYPE, CHUNKED], chunked(b"a=b")),
        {400, 401},
    ),
    "two lengths": (
        request("POST", "/token", [HOST, TYPE, ("Content-Length", "1")], b"a=b"),
        {400},
    ),
    "less than was announced": (
        request("POST", "/token", [HOST, TYPE, ("Content-Length", "9999")], b"a=b", length=False),
        {400, None},
    ),
    "a query of 100 kB": (request("GET", "/authorize?x=" + "a" * 100_000, [HOST]), {400, 414, 431, None}),
    "a header of 100 kB": (request("GET", "/authorize", [HOST, ("X", "a" * 100_000)]), {400, 431, None}),
    "a cookie of escapes": (
        request("GET", "/authorize", [HOST, ("Cookie", 'mcpauth_session="' + "\\" * 60_000 + '"')]),
        {400},
    ),
    "a query that is no text": (request("POST", b"/token?\xff", [HOST, TYPE], b"a=b"), {400}),
    "a NUL in the path": (request("GET", b"/jwks\0", [HOST]), {400, 404}),
    "a path of dots": (request("GET", "/static/../../../etc/passwd", [HOST]), {404}),
    "an encoded path of dots": (request("GET", "/static/%2e%2e/%2e%2e/settings.py", [HOST]), {404}),
    "no host": (request("GET", "/jwks", []), {200, 400}),
    "two hosts": (request("GET", "/jwks", [HOST, ("Host", "evil.example")]), {200, 400}),
    # §3.2.2: the host of the target counts. The keys are public, and no host changes them.
    "an address of another server": (request("GET", "http://evil.example/jwks", [HOST]), {200, 400, 404}),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500, {400, None}),
}


async def test_what_no_client_would_send_over_a_socket_is_refused_and_the_workers_live_on(
    tmp_path: Path,
) -> None:
    """RFC 9112: over a real server, whose own answers count as well."""
    with workers(tmp_path, replay_seconds=30) as served:
        answers: dict[str, int | None] = {}
        for name, (data, _) in RAW.items():
            answers[name], _body = await exchange(served.port, data, half_close=True)
        wrong = {name: status for name, status in answers.items() if status not in RAW[name][1]}
        alive, _ = await exchange(served.port, request("GET", "/jwks", [HOST]))
    assert wrong == {}
    assert alive == 200
