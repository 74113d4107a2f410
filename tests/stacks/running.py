"""Starts one stack as a process of its own, and reads what it decided and what it ran."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2

from examples.walkthrough.servers import free_ports, stop
from tests.middleware.edge_helpers import message, post
from tests.stacks.environments import ROOT, python_of, search_path

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from tests.stacks.issuer import LocalIssuer
    from tests.stacks.stacks import Era, Stack

START_SECONDS = 30

SERVERS = {
    "uvicorn": ["-m", "uvicorn", "{app}", "--port", "{port}", "--log-level", "warning"],
    "hypercorn": ["-m", "hypercorn", "{app}", "--bind", "127.0.0.1:{port}"],
    "granian": ["-m", "granian", "{app}", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}"],
}
REVISIONS: dict[Era, str] = {"handshake": "2025-11-25", "stateless": "2026-07-28"}


@dataclass(frozen=True)
class Running:
    """A stack that listens, and the files in which it notes what happens."""

    stack: Stack
    issuer: LocalIssuer
    url: str
    """The MCP endpoint, which is also the resource."""
    folder: Path

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    def token(self, **claims: Any) -> str:
        return self.issuer.token(self.url, **claims)

    def bearer(self, **claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(**claims)}"}

    def ran(self) -> list[dict[str, Any]]:
        """What really ran, as the tools themselves noted it."""
        return _lines(self.folder / "ran.jsonl")

    def journal(self) -> list[dict[str, Any]]:
        """The audit journal."""
        return _lines(self.folder / "audit.jsonl")

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.origin, timeout=30)

    async def session(
        self, client: httpx2.AsyncClient, era: Era, headers: Mapping[str, str]
    ) -> dict[str, str]:
        """What requests need beside a token: the id of a session, where the stack has them."""
        if era == "stateless" or not self.stack.has_sessions:
            return {}
        me = {"name": "test", "version": "1"}
        params = {"protocolVersion": REVISIONS[era], "capabilities": {}, "clientInfo": me}
        opened = await self.post(client, era, "initialize", params, headers=headers)
        assert opened.status_code == 200, opened.text
        session = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"]}
        ready = await self.post(
            client, era, "notifications/initialized", id=None, headers={**headers, **session}
        )
        assert ready.status_code == 202
        return session

    async def post(
        self,
        client: httpx2.AsyncClient,
        era: Era,
        method: str,
        params: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> httpx2.Response:
        return await post(client, method, params, path=self.path, revision=REVISIONS[era], **options)


def headers_and_body(era: Era, method: str, params: Mapping[str, Any]) -> tuple[dict[str, str], bytes]:
    """One message as an honest client of the era sends it."""
    return message(method, params, revision=REVISIONS[era])


@contextmanager
def running(
    stack: Stack,
    issuer: LocalIssuer,
    folder: Path,
    *,
    protected: bool = True,
    strict: bool = False,
    server: str = "uvicorn",
    mount: str = "none",
    path: str = "/mcp",
    port: int | None = None,
) -> Generator[Running]:
    """The stack, protected or not, behind one of the ASGI servers."""
    python = python_of(stack.environment)
    port = port or free_ports(1)[0]
    folder.mkdir(parents=True, exist_ok=True)
    up = Running(stack, issuer, f"http://127.0.0.1:{port}{path}", folder)
    config = {
        "stack": asdict(stack),
        "resource": up.url,
        "issuer": issuer.identifier,
        "record": str(folder / "ran.jsonl"),
        "journal": str(folder / "audit.jsonl"),
        "protected": protected,
        "strict": strict,
        "mount": mount,
    }
    command = [part.format(app="tests.stacks.server:app", port=port) for part in SERVERS[server]]
    environment = {**os.environ, "STACK_CONFIG": json.dumps(config), "PYTHONPATH": search_path()}
    log = folder / "server.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [python, *command], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
        try:
            wait_for(process, up.url, log)
            yield up
        finally:
            stop(process)


def wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait until a server answers.

    Raises:
        AssertionError: it does not; the message holds the end of what it printed.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            # Any answer will do: a protected server says 401.
            httpx2.get(url, timeout=2)
        except httpx2.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the server did not start:\n{log.read_text()[-3000:]}")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
