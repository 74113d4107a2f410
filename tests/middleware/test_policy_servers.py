"""Conditions on arguments, held against what the real servers make of the same arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from fastmcp import FastMCP
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
    from starlette.applications import Starlette

pytestmark = pytest.mark.anyio

ALL = 'version = 1\n[[rules]]\nid = "all"\nallow = { tools = ["*"] }\n'
SECRET = "/etc/passwd"
ESCAPED = r'["\u002fetc\u002fpasswd"]'
# What must not be read, and each way to write it down.
WAYS: list[object] = [SECRET, [SECRET], f'["{SECRET}"]', ESCAPED, f" {ESCAPED} "]


class Server:
    """A server that notes what it was asked to read."""

    def __init__(self, kind: Literal["mcp", "fastmcp"]) -> None:
        self.kind = kind
        self.read: list[object] = []

    def app(self) -> Starlette:
        server: Any = (MCPServer if self.kind == "mcp" else FastMCP)("files")

        def read(paths: str | list[str] | None = None) -> str:
            self.read.append(paths)
            return "read"

        server.tool()(read)
        app: Starlette = getattr(server, "streamable_http_app" if self.kind == "mcp" else "http_app")()
        return app

    async def ask(self, *paths: object, policy: str = ALL) -> list[object]:
        """What was read of these."""
        app = self.app()
        guarded = protect(app, policy=Policy.from_toml(policy), resource=LOOPBACK_RESOURCE)
        async with lifespan(app), client_of(guarded, base_url=LOOPBACK) as client:
            for each in paths:
                asked = {"name": "read", "arguments": {"paths": each}}
                response = await post(client, "tools/call", asked, headers=bearer(aud=LOOPBACK_RESOURCE))
                assert response.status_code == 200
        return self.read


@pytest.mark.parametrize("kind", ["mcp", "fastmcp"])
@pytest.mark.parametrize(
    "when",
    [
        f'args.paths == "{SECRET}"',
        f'"{SECRET}" in args.paths',
        f'args.paths in ["{SECRET}"]',
        'glob(args.paths, "/etc/*")',
        'startswith(args.paths, "/etc/")',
        "len(args.paths) < 2 or len(args.paths) > 10",
    ],
)
async def test_no_way_to_write_an_argument_leads_past_a_deny_rule(
    kind: Literal["mcp", "fastmcp"], when: str
) -> None:
    """The SDK makes a list of a text that is one."""
    server = Server(kind)
    policy = f'{ALL}[[rules]]\nid = "not these"\ndeny = {{ tools = ["read"] }}\nwhen = \'{when}\'\n'
    assert await server.ask(*WAYS, policy=policy) == []
    assert await server.ask("/srv/b", policy=policy) == ["/srv/b"]


async def test_the_sdk_does_read_a_text_as_a_list() -> None:
    """The control: without the rule the server sees the list, whoever wrote it out."""
    assert await Server("mcp").ask(ESCAPED, "null", "[not JSON]") == [[SECRET], None, "[not JSON]"]
