"""The authorization server and the MCP server in one process: the real `mcp` client walks the whole dance."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest

from examples.walkthrough.browser import Browser
from examples.walkthrough.narrator import Narrator
from examples.walkthrough.servers import free_ports, stop
from examples.walkthrough.steps import Plan, Walk
from tests.end_to_end.step_up import PASSWORD, USERNAME
from tests.stacks.running import wait_for

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "its own main": ["-m", "examples.one_process"],
    "uvicorn": ["-m", "uvicorn", "examples.one_process:app", "--port", "{port}"],
}


@dataclass(frozen=True)
class OneProcess:
    """The running example."""

    process: subprocess.Popen[bytes]
    origin: str
    log: Path


@contextmanager
def one_process(folder: Path, command: list[str]) -> Generator[OneProcess]:
    (port,) = free_ports(1)
    settings = folder / "mcpauth.toml"
    settings.write_text((ROOT / "examples" / "one_process.toml").read_text().replace("9500", str(port)))
    environment = {**os.environ, "MCPAUTH_CONFIG": str(settings)}
    mcpauth = [sys.executable, "-m", "mcpauth", "users", "add", USERNAME, "--password-stdin"]
    subprocess.run(mcpauth, input=PASSWORD, text=True, check=True, capture_output=True, env=environment)
    log = folder / "one_process.log"
    started = [sys.executable, *(part.format(port=port) for part in command)]
    with log.open("w") as file:
        process = subprocess.Popen(
            started, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
        try:
            wait_for(process, f"http://127.0.0.1:{port}/mcp", log)
            yield OneProcess(process, f"http://127.0.0.1:{port}", log)
        finally:
            stop(process)


@pytest.mark.parametrize(("command", "mode"), [("its own main", "auto"), ("uvicorn", "legacy")])
def test_the_whole_dance_happens_in_one_process(tmp_path: Path, command: str, mode: str) -> None:
    """From the challenge over step-up, refresh and revocation to the last refusal; then it ends in peace."""
    with one_process(tmp_path, COMMANDS[command]) as running:
        plan = Plan(
            title="One process",
            url=f"{running.origin}/mcp",
            mode=mode,
            listed_first={"search_notes"},
            reading=("search_notes", {"word": "plants"}),
            writing=("add_note", {"text": "Water the plants"}),
            writing_scope="notes:write",
            hidden="erase_everything",
        )
        asked: list[str] = []

        async def walk() -> None:
            browser = Browser(USERNAME, PASSWORD, on_page=lambda page: asked.append(page.url.path))
            try:
                await Walk(plan, browser, Narrator()).run()
            finally:
                await browser.aclose()

        anyio.run(walk)
        assert set(asked) == {"/auth/authorize", "/auth/sign-in", "/auth/consent"}
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(15)
        log = running.log.read_text()
    # The example's own log of what was asked over the network.
    access = [line for line in log.splitlines() if ' - "' in line]
    assert len([line for line in access if '"POST /auth/token HTTP/1.1" 200' in line]) == 3
    assert not [line for line in access if "/auth/jwks" in line or "/auth/revoked" in line or "?" in line]
    assert "Traceback" not in log
    assert "eyJ" not in log


def test_the_documents_of_both_servers_are_at_the_root_of_the_host(tmp_path: Path) -> None:
    """RFC 9728 §3.1, RFC 8414 §3.1: each names the other."""
    with one_process(tmp_path, COMMANDS["its own main"]) as running, httpx2.Client() as http:
        refused = http.post(f"{running.origin}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert refused.status_code == 401
        resource = f"{running.origin}/.well-known/oauth-protected-resource/mcp"
        assert f'resource_metadata="{resource}"' in refused.headers["www-authenticate"]
        (issuer,) = http.get(resource).json()["authorization_servers"]
        assert issuer == f"{running.origin}/auth"
        document = http.get(f"{running.origin}/.well-known/oauth-authorization-server/auth").json()
        assert document["issuer"] == issuer
        assert document["protected_resources"] == [f"{running.origin}/mcp"]
        assert http.get(document["jwks_uri"]).json()["keys"]
        doctor = [sys.executable, "-m", "mcpauth", "doctor", "--config", str(tmp_path / "mcpauth.toml")]
        examined = subprocess.run(doctor, capture_output=True, text=True, check=False)
        assert examined.returncode == 0, examined.stdout
        assert "its metadata names it and this issuer byte for byte" in examined.stdout


def test_whoever_waits_for_revocations_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """A resource server elsewhere may hold a request or a stream open as long as it likes."""
    with one_process(tmp_path, COMMANDS["its own main"]) as running, httpx2.Client(timeout=30) as http:
        url = f"{running.origin}/auth/revoked"
        with http.stream("GET", url, headers={"Accept": "text/event-stream"}) as stream:
            assert stream.status_code == 200
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(15) == -signal.SIGTERM
