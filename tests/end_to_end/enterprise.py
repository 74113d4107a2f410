"""What the enterprise tests share: an identity provider, a server that trusts it, and one with notes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from examples.walkthrough.servers import free_ports, stop
from tests.authorization_server.issuer_helpers import authlib_id_jag
from tests.end_to_end.serving import MCPAUTH
from tests.stacks.environments import ROOT, search_path
from tests.stacks.running import wait_for

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

IDP = "https://idp.example"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SUBJECT = "U019488227"
ID_TOKEN = "the user's ID token"
SETTINGS = """\
issuer = "{issuer}"
database = "mcpauth.sqlite"
audit_journal = "as.audit.jsonl"

[[resources]]
identifier = "{notes}"
name = "Notes"

[[resources.scopes]]
name = "notes:read"
description = "Read your notes"

[[resources.scopes]]
name = "notes:write"
description = "Change your notes"
implies = ["notes:read"]
default = false
"""
TRUSTED = """
[[trusted_issuers]]
issuer = "{idp}"
kind = "id-jag"
jwks_file = "idp.json"
client_ids = ["{client_id}"]
resources = ["{notes}"]
scopes = ["notes:read", "notes:write"]
provision = true

[[trusted_issuers]]
issuer = "https://platform.example"
kind = "workload"
jwks_file = "idp.json"

[[trusted_issuers.workloads]]
subject = "system:serviceaccount:ci:nightly"
client_id = "nightly-report"
resources = ["{notes}"]
scopes = ["notes:read"]
"""


@dataclass
class IdentityProvider:
    """One that exchanges an ID token for an ID-JAG (RFC 8693), which Authlib makes."""

    key: ECKey
    client_id: str = ""
    """The client's name at the authorization server, which administrators tell the provider."""
    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def id_jag(self, audience: str, resource: str) -> str:
        now = int(time.time())
        return authlib_id_jag(
            self.key,
            {
                "iss": IDP,
                "aud": audience,
                "sub": SUBJECT,
                "client_id": self.client_id,
                "iat": now,
                "exp": now + 300,
                "resource": resource,
                "scope": "notes:read notes:write",
            },
        )

    async def token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        self.asked.append(form)
        if form.get("subject_token") != ID_TOKEN:
            return JSONResponse({"error": "invalid_grant"}, 400)
        id_jag = "urn:ietf:params:oauth:token-type:id-jag"
        assertion = self.id_jag(form["audience"], form["resource"])
        return JSONResponse(
            {"access_token": assertion, "issued_token_type": id_jag, "token_type": "N_A", "expires_in": 300},
            headers={"Cache-Control": "no-store"},
        )

    @contextmanager
    def serving(self) -> Generator[None]:
        (port,) = free_ports(1)
        app = Starlette(routes=[Route("/token", self.token, methods=["POST"])])
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run)
        thread.start()
        self.url = f"http://127.0.0.1:{port}/token"
        try:
            while not server.started:
                time.sleep(0.02)
            yield
        finally:
            server.should_exit = True
            thread.join()


@dataclass(frozen=True)
class Enterprise:
    """Everything that runs."""

    idp: IdentityProvider
    issuer: str
    notes: str
    client_id: str
    client_secret: str
    folder: Path

    def happened(self, kind: str) -> list[dict[str, Any]]:
        """What the authorization server's journal has of this kind."""
        lines = (self.folder / "as.audit.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["type"] == kind]


@contextmanager
def enterprise(folder: Path) -> Generator[Enterprise]:
    """Three servers: the provider in this process, the others in their own."""
    issuer, notes = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    settings = folder / "mcpauth.toml"
    settings.write_text(SETTINGS.format(issuer=issuer, notes=f"{notes}/mcp"))
    added = subprocess.run(
        [
            *(*MCPAUTH, "clients", "add", "--name", "Agent", "--json"),
            *("--config", str(settings), "--grant-type", GRANT_TYPE),
        ],
        text=True,
        check=True,
        capture_output=True,
    )
    client = json.loads(added.stdout)
    idp = IdentityProvider(ECKey.generate_key("P-256"), client["client_id"])
    (folder / "idp.json").write_text(json.dumps({"keys": [idp.key.as_dict(private=False)]}))
    with settings.open("a") as file:
        file.write(TRUSTED.format(idp=IDP, client_id=client["client_id"], notes=f"{notes}/mcp"))
    serve = [*MCPAUTH, "serve", "--config", str(settings), "--port", issuer.rpartition(":")[2]]
    uvicorn_of_notes = [sys.executable, "-m", "uvicorn", "examples.notes_sdk:app"]
    environment = {"MCPAUTH_ISSUER": issuer, "NOTES_RESOURCE": f"{notes}/mcp", "PYTHONPATH": search_path()}
    log = folder / "servers.log"
    with log.open("w") as file:
        processes = [
            subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
            for command in (serve, [*uvicorn_of_notes, "--port", notes.rpartition(":")[2]])
        ]
        try:
            wait_for(processes[0], f"{issuer}/.well-known/oauth-authorization-server", log)
            wait_for(processes[1], f"{notes}/mcp", log)
            with idp.serving():
                yield Enterprise(
                    idp, issuer, f"{notes}/mcp", client["client_id"], client["client_secret"], folder
                )
        finally:
            for process in processes:
                stop(process)
