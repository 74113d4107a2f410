"""The two authorization servers that are compared, each a process of its own, with clients and a person."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from examples.walkthrough.browser import Browser
from examples.walkthrough.servers import free_ports, stop
from tests.end_to_end.serving import RESOURCE, Registered, authorization_server, installed
from tests.requires import program
from tests.stacks.running import wait_for

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

PEER = Path(__file__).with_name("oidc_provider")
REDIRECT_URI = "http://127.0.0.1:43111/callback"
SCOPE = "notes:read"
OPAQUE_RESOURCE = "http://127.0.0.1:8000/opaque"
VERIFIER = "a-code-verifier-of-forty-three-characters-or-more"
_METADATA = "/.well-known/oauth-authorization-server"


@dataclass(frozen=True)
class Server:
    """One that runs. `resources` are what tokens are for; the last one is that of introspected tokens."""

    name: str
    pid: int
    issuer: str
    client: Registered
    """Of users."""
    machine: Registered
    """Gets tokens in its own name."""
    resource_server: Registered
    """Introspects."""
    resources: tuple[str, ...]
    person: Browser
    metadata: Mapping[str, Any]

    @property
    def port(self) -> int:
        """Where it listens."""
        port = urlsplit(self.issuer).port
        assert port is not None
        return port

    def path(self, endpoint: str) -> str:
        """The path of an endpoint of the metadata, or of the metadata itself."""
        return _METADATA if endpoint == "metadata" else urlsplit(str(self.metadata[endpoint])).path

    async def grant(self, http: httpx2.AsyncClient) -> str:
        """A refresh token, by way of the pages for people."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": SCOPE,
            "resource": self.resources,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "state": "s",
        }
        url = f"{self.metadata['authorization_endpoint']}?{urlencode(asked, doseq=True)}"
        back = parse_qs(urlsplit(await self.person.visit(url, back_to=REDIRECT_URI)).query)
        redeemed = {
            "grant_type": "authorization_code",
            "code": back["code"][0],
            "redirect_uri": REDIRECT_URI,
            "code_verifier": VERIFIER,
            "resource": self.resources[0],
        }
        answer = await http.post(self.metadata["token_endpoint"], data=redeemed, headers=basic(self.client))
        return str(answer.raise_for_status().json()["refresh_token"])


def basic(client: Registered) -> dict[str, str]:
    """How a client authenticates, RFC 6749 §2.3.1; its secret needs no escaping."""
    pair = f"{client.client_id}:{client.client_secret}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@contextmanager
def ours() -> Generator[Server]:
    """`mcpauth serve`, as it is by default, with a database and an audit journal on the disk."""
    with (
        tempfile.TemporaryDirectory(prefix="mcpauth-benchmark-") as folder,
        authorization_server(Path(folder), audit_journal="audit.jsonl") as running,
    ):
        machine = ["--grant-type", "client_credentials", "--scope", SCOPE]
        yield Server(
            "ours",
            running.pid,
            running.issuer,
            running.register(REDIRECT_URI, confidential=True),
            running.add_client(*machine),
            running.add_client("--resource-server", RESOURCE),
            (RESOURCE,),
            running.browser(),
            _metadata(running.issuer),
        )


@contextmanager
def oidc_provider() -> Generator[Server]:
    """The peer, with everything in memory."""
    port = free_ports(1)[0]
    issuer = f"http://127.0.0.1:{port}"
    client = Registered("benchmark", "a-secret-of-the-benchmark-and-of-nothing-else")
    with tempfile.TemporaryDirectory(prefix="mcpauth-benchmark-") as name:
        folder = installed(PEER, Path(name))
        resources = (RESOURCE, OPAQUE_RESOURCE)
        arguments = [str(port), client.client_id, str(client.client_secret), REDIRECT_URI, *resources, SCOPE]
        log = folder / "peer.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [program("node"), "server.mjs", *arguments],
                cwd=folder,
                env={**os.environ, "NODE_ENV": "production"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
            try:
                wait_for(process, issuer + _METADATA, log)
                person = Browser("ada", "any", username_field="login")
                yield Server(
                    "oidc-provider",
                    process.pid,
                    issuer,
                    client,
                    client,
                    client,
                    resources,
                    person,
                    _metadata(issuer),
                )
            finally:
                stop(process)


def _metadata(issuer: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx2.get(issuer + _METADATA).raise_for_status().json()
    return found
