"""Streams that are resumed by `Last-Event-ID` (MCP 2025-11-25, "Resumability and Redelivery")."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
import httpx2
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http import EventMessage, EventStore

from mcpauth_middleware import McpAuthMiddleware, Policy, current_principal
from tests.middleware.edge_helpers import bearer, edge_options, open_session, post, served

if TYPE_CHECKING:
    from mcp.server.streamable_http import EventCallback
    from mcp_types import JSONRPCMessage

pytestmark = pytest.mark.anyio

NOVEMBER = "2025-11-25"
POLICY = 'version = 1\n[[rules]]\nid = "all"\nallow = { tools = ["whose"] }\n'


class Events(EventStore):
    """A store as the SDK describes it: one for all sessions, by the ids that the SDK gives to streams."""

    def __init__(self) -> None:
        self._events: list[tuple[str, str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._events.append((str(uuid4()), stream_id, message))
        return self._events[-1][0]

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        known = [event_id for event_id, _, _ in self._events]
        if last_event_id not in known:
            return None
        at = known.index(last_event_id)
        stream = self._events[at][1]
        for event_id, stream_id, message in self._events[at + 1 :]:
            if stream_id == stream and message is not None:
                await send_callback(EventMessage(message, event_id))
        return stream


def app_of(url: str) -> McpAuthMiddleware:
    server = MCPServer("resumed")

    @server.tool()
    def whose() -> str:
        return f"secret of {current_principal().subject}"

    assert callable(whose)
    app = server.streamable_http_app(event_store=Events())
    return McpAuthMiddleware(app, **edge_options(resource=f"{url}/mcp", policy=Policy.from_toml(POLICY)))


async def test_the_answer_to_one_user_is_not_replayed_to_another() -> None:
    """The SDK names a stream by the id of its request, which is the same in the sessions of all users."""
    read: list[str] = []
    async with served(app_of) as url, httpx2.AsyncClient(base_url=url) as client:
        me, other = (bearer(sub=sub, aud=f"{url}/mcp") for sub in ("bob", "ada"))
        mine = {**me, **await open_session(client, NOVEMBER, me)}
        theirs = {**other, **await open_session(client, NOVEMBER, other)}
        asked = {"name": "whose"}
        own = await post(client, "tools/call", asked, revision=NOVEMBER, id=2, headers=mine)
        assert "secret of bob" in own.text
        last = [line.removeprefix("id: ") for line in own.text.splitlines() if line.startswith("id: ")][-1]
        await post(client, "tools/call", asked, revision=NOVEMBER, id=2, headers=theirs)

        resumed = {**mine, "Accept": "text/event-stream", "Last-Event-ID": last}
        with anyio.move_on_after(1):
            async with client.stream(
                "GET", "/mcp", headers={**resumed, "MCP-Protocol-Version": NOVEMBER}
            ) as response:
                async for line in response.aiter_lines():
                    read += [line]
    assert "secret of ada" not in "".join(read)
