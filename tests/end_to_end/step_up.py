"""What the step-up tests share: a server that knows ten scopes, and a client's way through it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from examples.walkthrough.browser import Browser
from examples.walkthrough.servers import free_ports, stop
from tests.stacks.environments import ROOT, search_path
from tests.stacks.issuer import LocalIssuer
from tests.stacks.running import Running, running, wait_for
from tests.stacks.stacks import STACKS

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

NEEDED = {
    "needs_1": {"a:1"},
    "needs_2": {"b:1", "b:2"},
    "needs_3": {"c:1", "c:2", "c:3"},
    "needs_4": {"d:1", "d:2", "d:3", "d:4"},
}
"""What each tool needs, none of which a new client has."""

USERNAME, PASSWORD = "ada", "correct horse battery staple"
WALK_SECONDS = 60


@dataclass(frozen=True)
class Walked:
    """What a client said on its way."""

    said: list[dict[str, Any]]

    def opened(self) -> list[set[str]]:
        """For each authorization: the scopes it asked for."""
        return [set(_asked(each["open"], "scope").split()) for each in self.said if "open" in each]

    def called(self) -> list[dict[str, Any]]:
        return [each for each in self.said if "called" in each]


@contextmanager
def protected_server(stack: str, folder: Path) -> Generator[Running]:
    """A stack, and this project's own authorization server for it."""
    server_port, issuer_port = free_ports(2)
    issuer = f"http://127.0.0.1:{issuer_port}"
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "mcpauth.toml"
    settings.write_text(_settings(issuer, f"http://127.0.0.1:{server_port}/mcp"))
    mcpauth = [sys.executable, "-m", "mcpauth"]
    subprocess.run(
        [*mcpauth, "users", "add", USERNAME, "--password-stdin", "--config", str(settings)],
        input=PASSWORD,
        text=True,
        check=True,
        capture_output=True,
    )
    log = folder / "authorization-server.log"
    command = [
        *mcpauth,
        "serve",
        "--config",
        str(settings),
        "--host",
        "127.0.0.1",
        "--port",
        str(issuer_port),
    ]
    with log.open("w") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        try:
            wait_for(process, f"{issuer}/.well-known/oauth-authorization-server", log)
            with running(STACKS[stack], LocalIssuer(issuer), folder, port=server_port) as up:
                yield up
        finally:
            stop(process)


async def walk(command: Sequence[str], cwd: Path = ROOT, *, back_to: str | None = None) -> Walked:
    """Run a client program and play its browser. `back_to` is the redirect URI where the URL does not say."""
    browser = Browser(USERNAME, PASSWORD)
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": search_path()},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(WALK_SECONDS):
            async for line in process.stdout:
                said.append(json.loads(line))
                if "open" in said[-1]:
                    url: str = said[-1]["open"]
                    back = await browser.visit(url, back_to=back_to or _asked(url, "redirect_uri"))
                    process.stdin.write(f"{back}\n".encode())
                    await process.stdin.drain()
                elif "device" in said[-1]:
                    await browser.visit(said[-1]["device"], back_to=said[-1]["done"])
            errors = (await process.stderr.read()).decode()
            assert await process.wait() == 0, f"{said}\n{errors[-3000:]}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await browser.aclose()
    return Walked(said)


def stepped_up_once_each(walked: Walked, up: Running, *, before: int = 0) -> None:
    """Each tool took one 403 and one new authorization, which asked for all it needs; then it ran.

    `before`: how long the journal was when the client began.
    """
    asked = walked.opened()
    assert asked[0] == {"files:read"}, "what the first challenge names"
    assert len(asked) == 1 + len(NEEDED), "one authorization to sign in, one for each tool"
    for scopes, needed in zip(asked[1:], NEEDED.values(), strict=True):
        assert needed <= scopes

    events = up.journal()[before:]
    stepped = [event["mcp"]["name"] for event in events if event.get("reason") == "insufficient_scope"]
    assert stepped == list(NEEDED), "one refusal for each tool, however many scopes it lacks"
    ran = [event["mcp"]["name"] for event in events if _started(event)]
    assert [name for name in ran if name in NEEDED] == list(NEEDED), "each ran once"


def _started(event: dict[str, Any]) -> bool:
    return bool(event["phase"] == "intent" and event["mcp"].get("method") == "tools/call")


def _asked(url: str, parameter: str) -> str:
    return parse_qs(urlsplit(url).query)[parameter][0]


def _settings(issuer: str, resource: str) -> str:
    scopes = "".join(
        f'[[resources.scopes]]\nname = "{scope}"\ndescription = "{scope}"\ndefault = false\n'
        for scope in sorted({"files:write", *(scope for each in NEEDED.values() for scope in each)})
    )
    return (
        f'issuer = "{issuer}"\ndatabase = "mcpauth.sqlite"\naudit_journal = "as.audit.jsonl"\n'
        f'[[resources]]\nidentifier = "{resource}"\nname = "Stack"\ndefault = true\n'
        f'[[resources.scopes]]\nname = "files:read"\ndescription = "Read"\n{scopes}'
    )
