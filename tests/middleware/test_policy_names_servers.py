"""Names and URIs, held against what the real servers make of them: what is denied has no other name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from fastmcp import FastMCP, FastMCPApp
from mcp.server.mcpserver import MCPServer

from mcpauth_middleware import Policy
from tests.middleware.edge_helpers import (
    LOOPBACK,
    LOOPBACK_RESOURCE,
    bearer,
    client_of,
    lifespan,
    post,
    protect,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.applications import Starlette

pytestmark = pytest.mark.anyio

POLICY = """
version = 1
[[rules]]
id = "some"
allow = { tools = ["*"], resources = ["notes://*", "file:///**/public.txt"] }
[[rules]]
id = "none of these"
deny = { tools = ["delete_*"], resources = ["notes://secret", "**/*.key"] }
"""


class Server:
    """A server that notes what ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def note(self, what: str) -> str:
        self.ran.append(what)
        return what

    def mcp(self) -> Starlette:
        server = MCPServer("names")

        @server.resource("notes://{name}{?style}")
        def read_note(name: str, style: str = "") -> str:
            return self.note(f"{name}{style}")

        @server.resource("file:///{+path}{?style}")
        def read_file(path: str, style: str = "") -> str:
            return self.note(f"{path}{style}")

        assert all(map(callable, (read_note, read_file)))
        return server.streamable_http_app()

    def fastmcp(self) -> Starlette:
        app = FastMCPApp("notes")

        @app.tool()
        def delete_all() -> str:
            return self.note("delete_all")

        server: FastMCP[Any] = FastMCP("names", providers=[app])

        @server.resource("notes://{name}")
        def read_note(name: str) -> str:
            return self.note(name)

        @server.resource("file:///{path*}")
        def read_file(path: str) -> str:
            return self.note(path)

        assert all(map(callable, (delete_all, read_note, read_file)))
        return server.http_app()


async def ask(app: Starlette, method: str, asked: Sequence[dict[str, Any]], *, policy: str = POLICY) -> None:
    guarded = protect(app, policy=Policy.from_toml(policy), resource=LOOPBACK_RESOURCE)
    async with lifespan(app), client_of(guarded, base_url=LOOPBACK) as client:
        for params in asked:
            response = await post(client, method, params, headers=bearer(aud=LOOPBACK_RESOURCE))
            assert response.status_code in (200, 400)


@pytest.mark.parametrize("kind", ["mcp", "fastmcp"])
async def test_a_query_or_a_fragment_leads_to_no_resource_that_is_denied(kind: str) -> None:
    """Templates of both do not look at a query of which they know nothing, nor at a fragment."""
    server = Server()
    app = server.mcp() if kind == "mcp" else server.fastmcp()
    denied = ["notes://secret", "file:///srv/secret.txt", "file:///public.txt.key"]
    ways = ["", "?", "?x", "#x", "?/public.txt", "#/public.txt", "?x=/a/public.txt"]
    allowed = ["notes://open", "notes://open?x", "notes://open#x", "file:///srv/public.txt"]
    await ask(app, "resources/read", [{"uri": f"{uri}{way}"} for uri in denied for way in ways])
    assert server.ran == []

    app = server.mcp() if kind == "mcp" else server.fastmcp()
    await ask(app, "resources/read", [{"uri": uri} for uri in allowed])
    assert server.ran == ["open", "open", "open", "srv/public.txt"]


async def test_a_tool_that_is_denied_does_not_run_under_the_name_that_an_app_calls_it_by() -> None:
    """FastMCP runs the tools of an app under `__<hash>_<name>`, listed or not."""
    digest = hashlib.sha256(b"notes\0delete_all").hexdigest()[:12]
    name, server = f"__{digest}_delete_all", Server()
    await ask(server.fastmcp(), "tools/call", [{"name": "delete_all"}, {"name": name}])
    assert server.ran == []

    explicit = 'version = 1\n[[rules]]\nid = "page"\nallow = { tools = ["__*_delete_all"] }\n'
    await ask(server.fastmcp(), "tools/call", [{"name": name}], policy=explicit)
    assert server.ran == ["delete_all"]
