"""Starts the three servers of the walkthrough, each as a process of its own, as a user would."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import httpx2

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOST = "127.0.0.1"
START_SECONDS = 30

SETTINGS = """\
issuer = "{issuer}"
database = "{database}"
audit_journal = "{journal}"

[[resources]]
identifier = "{notes}"
name = "Notes"
default = true

[[resources.scopes]]
name = "notes:read"
description = "Read your notes"

[[resources.scopes]]
name = "notes:write"
description = "Write and change your notes"
implies = ["notes:read"]
default = false

[[resources]]
identifier = "{tasks}"
name = "Tasks"

[[resources.scopes]]
name = "tasks:read"
description = "See your open tasks"

[[resources.scopes]]
name = "tasks:write"
description = "Open and close tasks"
implies = ["tasks:read"]
default = false
"""


class StartFailed(RuntimeError):
    """A server did not come up; the message holds the end of what it printed."""


@dataclass(frozen=True)
class Addresses:
    """Where the three servers listen."""

    issuer: str
    notes: str
    tasks: str


class Servers:
    """The authorization server and the two MCP servers, running until `close`.

    Args:
        folder: Settings, database, journals and logs are kept here; it is emptied first.
        first_port: The three ports are this and the next two; 0 takes free ones.
    """

    def __init__(self, folder: Path, first_port: int) -> None:
        self.folder = folder
        self.username = "demo"
        self.password = secrets.token_urlsafe(9)
        ports = [first_port + n for n in range(3)] if first_port else free_ports(3)
        issuer, notes, tasks = (f"http://{HOST}:{port}" for port in ports)
        self.addresses = Addresses(issuer=issuer, notes=f"{notes}/mcp", tasks=f"{tasks}/mcp")
        self._ports = ports
        self._running = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Ask each server to stop, and wait until it has."""
        self._running.close()

    def journal(self, name: str) -> Path:
        """The audit journal of one server: `authorization-server`, `notes` or `tasks`."""
        return self.folder / f"{name}.audit.jsonl"

    def _start(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True)
        settings = self.folder / "mcpauth.toml"
        settings.write_text(
            SETTINGS.format(
                issuer=self.addresses.issuer,
                # Paths in a settings file are relative to it.
                database="mcpauth.sqlite",
                journal=self.journal("authorization-server").name,
                notes=self.addresses.notes,
                tasks=self.addresses.tasks,
            )
        )
        mcpauth = [sys.executable, "-m", "mcpauth"]
        added = subprocess.run(  # noqa: S603 - our own interpreter, fixed arguments
            [*mcpauth, "users", "add", self.username, "--password-stdin", "--config", str(settings)],
            input=self.password,
            text=True,
            capture_output=True,
            check=False,
        )
        if added.returncode:
            raise StartFailed(f"mcpauth users add failed:\n{added.stderr}")
        serve = [*mcpauth, "serve", "--config", str(settings), "--host", HOST, "--port", str(self._ports[0])]
        self._run("authorization-server", serve, {})
        environment = {
            "MCPAUTH_ISSUER": self.addresses.issuer,
            "NOTES_RESOURCE": self.addresses.notes,
            "NOTES_AUDIT": str(self.journal("notes")),
            "TASKS_RESOURCE": self.addresses.tasks,
            "TASKS_AUDIT": str(self.journal("tasks")),
        }
        for name, app, port in (
            ("notes", "examples.notes_sdk:app", self._ports[1]),
            ("tasks", "examples.tasks_fastmcp:app", self._ports[2]),
        ):
            uvicorn = [sys.executable, "-m", "uvicorn", app, "--host", HOST, "--port", str(port)]
            self._run(name, uvicorn, environment)
        for name, url in (
            ("authorization-server", f"{self.addresses.issuer}/.well-known/oauth-authorization-server"),
            ("notes", self.addresses.notes),
            ("tasks", self.addresses.tasks),
        ):
            self._wait_for(name, url)

    def _run(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        log = self._running.enter_context((self.folder / f"{name}.log").open("w"))
        process = subprocess.Popen(  # noqa: S603 - our own interpreter, fixed arguments
            command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        self._running.callback(stop, process)

    def _wait_for(self, name: str, url: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                # Any answer will do: a protected server says 401.
                httpx2.get(url, timeout=2)
            except httpx2.TransportError:
                time.sleep(0.1)
            else:
                return
        tail = (self.folder / f"{name}.log").read_text()[-2000:]
        raise StartFailed(f"{name} did not answer at {url} within {START_SECONDS} s. It printed:\n{tail}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End one process, politely first."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_ports(count: int) -> list[int]:
    """So many ports of the loopback address that nobody listens on just now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def taken(port: int) -> bool:
    """Does something listen on this loopback port already?"""
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
