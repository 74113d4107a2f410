"""Under uvicorn, hypercorn and granian, alone and as a part of a Starlette or FastAPI application."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.middleware.edge_helpers import rpc
from tests.stacks.running import Running, running
from tests.stacks.stacks import STACKS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stacks.issuer import LocalIssuer

pytestmark = pytest.mark.anyio

LISTED = {"read_file", "limited", "listed_harmless", "listed_reading", "typed", "read_paths", "whoami"}
"""What the policy of the stacks allows, of all that the server has."""


async def works(up: Running) -> None:
    """Challenge, metadata, list, call, step-up, denial, stream; a session needs the lifespan to have run."""
    for era in up.stack.eras:
        async with up.client() as client:
            challenged = await client.post(up.path)
            assert challenged.status_code == 401
            assert (
                f'resource_metadata="{up.origin}/.well-known/oauth-protected-resource{up.path}"'
                in (challenged.headers["WWW-Authenticate"])
            )
            metadata = await client.get(f"/.well-known/oauth-protected-resource{up.path}")
            assert metadata.json()["resource"] == up.url
            assert (await client.get("/.well-known/oauth-protected-resource")).json()["resource"] == up.url

            headers = {**up.bearer(), **await up.session(client, era, up.bearer())}
            listed = await up.post(client, era, "tools/list", headers=headers)
            assert {tool["name"] for tool in rpc(listed)["result"]["tools"]} == LISTED
            called = await up.post(client, era, "tools/call", {"name": "read_file"}, headers=headers)
            assert rpc(called)["result"]["content"][0]["text"] == "content of nothing"
            stepped = await up.post(client, era, "tools/call", {"name": "write_file"}, headers=headers)
            assert stepped.status_code == 403
            denied = await up.post(client, era, "tools/call", {"name": "drop_everything"}, headers=headers)
            assert rpc(denied)["result"]["isError"]
            if up.stack.has_sessions and era == "handshake":
                stream = {**headers, "Accept": "text/event-stream"}
                async with client.stream("GET", up.path, headers=stream) as listening:
                    assert listening.status_code == 200
    assert {ran["name"] for ran in up.ran()} == {"read_file"}


@pytest.mark.parametrize("name", ["mcp-1.30", "fastmcp-3"])
@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "granian"])
async def test_it_works_under_each_asgi_server(
    issuer: LocalIssuer, tmp_path: Path, server: str, name: str
) -> None:
    """The same application, and the same answers."""
    with running(STACKS[name], issuer, tmp_path, server=server) as up:
        await works(up)


@pytest.mark.parametrize(
    ("name", "mount"),
    [
        ("mcp-1.30", "starlette"),
        ("mcp-1.30", "fastapi"),
        ("fastmcp-3", "fastapi"),
        ("mcp-2", "starlette"),
        ("fastmcp-4", "starlette"),
    ],
)
async def test_it_works_below_a_path_of_a_larger_application(
    issuer: LocalIssuer, tmp_path: Path, name: str, mount: str
) -> None:
    """The metadata at the root of the host, the server below its prefix, its lifespan run by the parent."""
    with running(STACKS[name], issuer, tmp_path, mount=mount, path="/api/mcp") as up:
        await works(up)
