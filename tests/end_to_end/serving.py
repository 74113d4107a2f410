"""What the tests with foreign programs share: `mcpauth serve` with registered clients, and npm packages."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from examples.walkthrough.browser import Browser
from examples.walkthrough.servers import free_ports, stop
from tests.end_to_end.step_up import PASSWORD, USERNAME
from tests.requires import program
from tests.stacks.running import wait_for

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

INSTALL_SECONDS = 90
MCPAUTH = [sys.executable, "-m", "mcpauth"]
RESOURCE = "http://127.0.0.1:8000/mcp"
SETTINGS = f"""\
issuer = "{{issuer}}"
database = "mcpauth.sqlite"
device_authorization = true

[[resources]]
identifier = "{RESOURCE}"
name = "Notes"
default = true

[[resources.scopes]]
name = "notes:read"
description = "Read your notes"

[[resources.scopes]]
name = "notes:write"
description = "Write your notes"
default = false
"""


@dataclass(frozen=True)
class Registered:
    """A client that the operator registered; a public one has no secret."""

    client_id: str
    client_secret: str | None


@dataclass(frozen=True)
class AuthorizationServer:
    """One that runs, and its settings file."""

    issuer: str
    settings: Path
    pid: int

    def browser(self) -> Browser:
        """The browser of its one user."""
        return Browser(USERNAME, PASSWORD)

    def register(self, redirect_uri: str | None, *, confidential: bool = False) -> Registered:
        """What `mcpauth clients add` gives, while the server runs; without a redirect URI for a device."""
        purpose = (
            ["--grant-type", "device_code"] if redirect_uri is None else ["--redirect-uri", redirect_uri]
        )
        return self.add_client(*purpose, *(["--confidential"] if confidential else []))

    def add_client(self, *options: str) -> Registered:
        """The same with any options."""
        command = [*MCPAUTH, "clients", "add", "--name", "Foreign", "--json", "--config", str(self.settings)]
        added = subprocess.run([*command, *options], text=True, check=True, capture_output=True)
        told = json.loads(added.stdout)
        return Registered(told["client_id"], told.get("client_secret"))


@contextmanager
def authorization_server(folder: Path, **more: str | bool) -> Generator[AuthorizationServer]:
    """`mcpauth serve` with one user, on a free port; `more` are further settings."""
    port = free_ports(1)[0]
    issuer = f"http://127.0.0.1:{port}"
    settings = folder / "mcpauth.toml"
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in more.items()]
    settings.write_text("".join(lines) + SETTINGS.format(issuer=issuer))
    add_user = [*MCPAUTH, "users", "add", USERNAME, "--password-stdin", "--config", str(settings)]
    subprocess.run(add_user, input=PASSWORD, text=True, check=True, capture_output=True)
    serve = [*MCPAUTH, "serve", "--config", str(settings), "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "authorization-server.log"
    with log.open("w") as file:
        process = subprocess.Popen(serve, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        try:
            wait_for(process, f"{issuer}/.well-known/oauth-authorization-server", log)
            yield AuthorizationServer(issuer, settings, process.pid)
        finally:
            stop(process)


def installed(source: Path, folder: Path) -> Path:
    """The npm packages that `source` asks for and its programs, outside the repository."""
    npm = program("npm")
    shutil.copytree(source, folder, dirs_exist_ok=True)
    command = [npm, "install", "--silent", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=folder, check=True, timeout=INSTALL_SECONDS, capture_output=True)
    return folder
