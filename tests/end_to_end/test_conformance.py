"""The protocol's own conformance suite, its scenarios for authorization servers, against `mcpauth serve`.

The suite sends neither `scope` nor `resource`, so that the server's defaults are under test as well.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from examples.walkthrough.servers import free_ports
from tests.end_to_end.serving import authorization_server, installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.end_to_end.serving import AuthorizationServer, Registered

FOLDER = Path(__file__).with_name("conformance")
RUN_SECONDS = 60
SUITE = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
# The suite does not run on Node 20; the npm package brings the binary that it needs.
NODE = "node_modules/node/bin/node"

METADATA = {"authorization-server-metadata"}
CODE_GRANT = {"authorization-code-grant"}
# What each revision checks; a check that is not run would else look like one that passed.
CHECKS = {
    "2025-03-26": METADATA | CODE_GRANT,
    "2025-06-18": METADATA | CODE_GRANT,
    "2025-11-25": METADATA | CODE_GRANT | {"authorization-server-metadata-cimd"},
    "2026-07-28": METADATA | CODE_GRANT | {"authorization-server-metadata-cimd"},
}

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(FOLDER, tmp_path_factory.mktemp("conformance"))


@pytest.fixture(scope="module")
def server(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    # After the suite: without npm there is nothing to start it for.
    with authorization_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.mark.parametrize("revision", CHECKS)
async def test_the_conformance_suite_finds_no_fault(
    suite: Path, server: AuthorizationServer, tmp_path: Path, revision: str
) -> None:
    """MCP authorization, each revision: metadata discovery, and the authorization code grant with PKCE."""
    port = free_ports(1)[0]
    # A public client: where the metadata lists `none`, the suite uses it, whatever secret it was given.
    client = server.register(f"http://127.0.0.1:{port}/callback")

    printed = await run(suite, server, client, port=port, revision=revision, results=tmp_path)

    checks = results_in(tmp_path)
    assert {check["id"] for check in checks} == CHECKS[revision], printed
    # A warning is advice that the suite would let pass; there is none so far.
    unmet = [told(check) for check in checks if check["status"] not in {"SUCCESS", "INFO"}]
    assert not unmet, f"{unmet}\n{printed}"


def results_in(folder: Path) -> list[dict[str, Any]]:
    return [check for file in folder.rglob("checks.json") for check in json.loads(file.read_text())]


def told(check: dict[str, Any]) -> str:
    return f"{check['status']} {check['id']}: {check.get('errorMessage', check['description'])}"


async def run(
    suite: Path, server: AuthorizationServer, client: Registered, *, port: int, revision: str, results: Path
) -> str:
    """Run the suite, open what it asks its user to open, and give what it printed."""
    options = ["--url", server.issuer, "--client-id", client.client_id, "-p", str(port)]
    process = await asyncio.create_subprocess_exec(
        suite / NODE,
        SUITE,
        "authorization",
        *options,
        "--spec-version",
        revision,
        "-o",
        results,
        cwd=suite,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    printed, url = "", None
    try:
        async with asyncio.timeout(RUN_SECONDS):
            async for line in process.stdout:
                printed += line.decode()
                url = url or re.search(rf"^{server.issuer}/authorize\?\S+", line.decode())
                # The URL is printed before anybody listens for the answer.
                if url and "Callback server started" in line.decode():
                    await sign_in(server, url[0], back_to=f"http://127.0.0.1:{port}/callback")
            assert await process.wait() == 0, printed
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return printed


async def sign_in(server: AuthorizationServer, url: str, *, back_to: str) -> None:
    """What the user does: sign in, allow, and be sent back to the suite."""
    browser = server.browser()
    try:
        back = await browser.visit(url, back_to=back_to)
    finally:
        await browser.aclose()
    async with httpx2.AsyncClient() as http:
        assert (await http.get(back)).status_code == 200
