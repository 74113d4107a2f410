"""Answers that a server sends to another request than the one they are of (MCP 2025-03-26 to 2025-11-25).

In a session the SDK's servers find the response stream of an answer by the id alone. Whoever uses an id twice
gets the answer to the first request in the response to the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from fastmcp import FastMCP
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from mcp.server.mcpserver import MCPServer

from mcpauth_middleware import McpAuthMiddleware, Policy
from tests.middleware.edge_helpers import (
    HANDSHAKE_REVISIONS,
    LOOPBACK,
    LOOPBACK_RESOURCE,
    bearer,
    client_of,
    edge_options,
    lifespan,
    open_session,
    post,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_types import Tool
    from starlette.applications import Starlette

pytestmark = [
    pytest.mark.anyio,
    # The server's own stream for the first request is never closed.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

HIDDEN = "drop_everything"
POLICY = Policy.from_toml("""
version = 1
[[rules]]
id = "all"
allow = { tools = ["echo"] }
""")


class SlowList:
    """A server whose list of tools waits until the test lets it go, and which has one more that is hidden."""

    def __init__(self) -> None:
        self.asked, self.goes_on = anyio.Event(), anyio.Event()

    async def wait(self) -> None:
        self.asked.set()
        await self.goes_on.wait()

    def mcp(self, *, json_response: bool) -> Starlette:
        slow = self

        class Server(MCPServer):
            async def list_tools(self) -> list[Tool]:
                await slow.wait()
                return await super().list_tools()

        server = Server("slow")
        _add_tools(server)
        return server.streamable_http_app(json_response=json_response)

    def fastmcp(self) -> Starlette:
        slow = self

        class Waits(Middleware):
            async def on_list_tools(
                self, context: MiddlewareContext[Any], call_next: CallNext[Any, Sequence[Any]]
            ) -> Sequence[Any]:
                await slow.wait()
                return await call_next(context)

        server: FastMCP[Any] = FastMCP("slow", middleware=[Waits()])
        _add_tools(server)
        return server.http_app()


def _add_tools(server: FastMCP[Any] | MCPServer) -> None:
    @server.tool()
    async def echo() -> str:
        await anyio.sleep(0.3)
        return "echo"

    @server.tool(name=HIDDEN)
    def hidden() -> str:
        return HIDDEN

    assert all(map(callable, (echo, hidden)))


@pytest.mark.parametrize("first_leaves", [False, True], ids=["both wait", "the first has left"])
@pytest.mark.parametrize("revision", [HANDSHAKE_REVISIONS[0], HANDSHAKE_REVISIONS[-1]])
@pytest.mark.parametrize("kind", ["mcp", "mcp, JSON", "fastmcp"])
async def test_a_list_that_comes_as_the_answer_to_another_request_is_filtered(
    kind: str, revision: str, *, first_leaves: bool
) -> None:
    """What the principal may not use, it does not see, whichever response brings it."""
    slow = SlowList()
    app = slow.fastmcp() if kind == "fastmcp" else slow.mcp(json_response="JSON" in kind)
    guarded = McpAuthMiddleware(app, **edge_options(resource=LOOPBACK_RESOURCE, policy=POLICY))
    headers = bearer(aud=LOOPBACK_RESOURCE)
    texts: list[str] = []
    async with lifespan(app), client_of(guarded, base_url=LOOPBACK) as client:
        session = await open_session(client, revision, headers)

        async def send(method: str, params: dict[str, Any], scope: anyio.CancelScope) -> None:
            with scope:
                both = {**headers, **session}
                answer = await post(client, method, params, revision=revision, id=7, headers=both)
                texts.append(answer.text)

        with anyio.move_on_after(5):
            async with anyio.create_task_group() as group:
                first, nothing = anyio.CancelScope(), dict[str, Any]()
                group.start_soon(send, "tools/list", nothing, first)
                await slow.asked.wait()
                if first_leaves:
                    first.cancel()
                    await anyio.sleep(0.05)
                group.start_soon(send, "tools/call", {"name": "echo"}, anyio.CancelScope())
                await anyio.sleep(0.05)
                slow.goes_on.set()
                # Which of the two is answered, and with what, is the server's matter.
                await anyio.sleep(0.5)
                group.cancel_scope.cancel()
    assert HIDDEN not in "".join(texts)
