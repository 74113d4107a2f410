"""Asking the server for its tools: only when a decision needs it, seldom, and never to anybody's harm."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from mcpauth_middleware import Policy, current_principal
from mcpauth_middleware.catalogue import fetching
from tests.middleware.batch_helpers import call as member
from tests.middleware.batch_helpers import post_batch
from tests.middleware.edge_helpers import (
    MODERN,
    Clock,
    Journal,
    bearer,
    client_of,
    post,
    protect,
    rpc,
)

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import Event, Receive, Scope, Send

pytestmark = pytest.mark.anyio

TAGGED = """
version = 1
[[rules]]
id = "tagged"
allow = { tools = ["*"] }
tags = ["good"]
"""
PLAIN = 'version = 1\n[[rules]]\nid = "all"\nallow = { tools = ["*"] }'


@dataclass
class Server:
    """A server that counts how often it is asked for its tools."""

    tools: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"name": f"tool-{number}", "_meta": {"tags": ["good"]}} for number in range(4)
        ]
    )
    page_size: int = 100
    status: int = 200
    broken: bytes | None = None
    crash: bool = False
    delay: float = 0
    lists: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    askers: list[str] = field(default_factory=list[str])
    calls: list[str] = field(default_factory=list[str])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        event = await receive()
        message = cast("dict[str, Any]", json.loads(event["body"]))
        status, body = 200, b""
        if message["method"] == "tools/list":
            self.lists.append(message)
            self.askers.append(current_principal().subject)
            self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
            await anyio.sleep(self.delay)
            if self.crash:
                raise RuntimeError("no list today")
            status, body = self.status, self.broken or self.page(message)
        else:
            self.calls.append(message["params"]["name"])
            body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"content": []}}).encode()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def page(self, message: dict[str, Any]) -> bytes:
        start = int(message["params"].get("cursor", 0))
        result: dict[str, Any] = {"tools": self.tools[start : start + self.page_size]}
        if start + self.page_size < len(self.tools):
            result["nextCursor"] = str(start + self.page_size)
        return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()


async def call(server: Server, *tools: str, policy: str = TAGGED, **options: Any) -> list[str]:
    """Which of the tools ran."""
    client = client_of(protect(server, policy=Policy.from_toml(policy), **options))
    for tool in tools:
        assert (await post(client, "tools/call", {"name": tool})).status_code == 200
    return server.calls


async def test_a_policy_that_needs_no_facts_asks_for_none() -> None:
    """Most policies go by names and scopes."""
    server = Server()
    assert await call(server, "tool-1", policy=PLAIN) == ["tool-1"]
    assert not server.lists


async def test_the_server_is_asked_once_for_all_its_tools() -> None:
    """And sees the caller, not the token."""
    server = Server()
    assert await call(server, "tool-1", "tool-2", "tool-1") == ["tool-1", "tool-2", "tool-1"]
    assert len(server.lists) == 1
    assert server.askers == ["user-1"]
    assert "authorization" not in server.headers[0]
    assert server.headers[0]["mcp-method"] == "tools/list"
    assert "mcp-name" not in server.headers[0]
    assert server.headers[0]["mcp-protocol-version"] == MODERN
    assert set(server.lists[0]["params"]["_meta"]) == {
        "io.modelcontextprotocol/protocolVersion",
        "io.modelcontextprotocol/clientCapabilities",
        "io.modelcontextprotocol/clientInfo",
    }


async def test_asking_is_on_record() -> None:
    """It reaches the server, so the journal says so: before the call that waited for it."""
    journal = Journal()
    await call(Server(), "tool-1", audit=journal)
    asked, intent, _ = journal.events
    assert (asked["type"], asked["outcome"], asked["actor"]["sub"]) == ("catalogue", "ok", "user-1")
    assert asked["mcp"] == {"method": "tools/list", "protocol": MODERN}
    assert intent["type"] == "call"
    assert intent["tool"] == {"tags": ["good"], "annotations": {}}


async def test_all_pages_are_read() -> None:
    """`nextCursor`."""
    server = Server(page_size=1)
    assert await call(server, "tool-3") == ["tool-3"]
    assert len(server.lists) == 4


async def test_a_cursor_that_goes_in_a_circle_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of pages is bounded."""

    class Circle(Server):
        def page(self, message: dict[str, Any]) -> bytes:
            following = "b" if message["params"].get("cursor") == "a" else "a"
            result: dict[str, Any] = {"tools": [], "nextCursor": following}
            return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()

    server = Circle()
    assert await call(server, "tool-1") == []
    assert len(server.lists) == fetching.MAX_PAGES


async def test_names_that_do_not_exist_do_not_make_the_server_list_again_and_again() -> None:
    """A few times at once, then one time in two seconds."""
    server, clock = Server(), Clock()
    names = [f"no-tool-{number}" for number in range(20)]
    assert await call(server, *names, now=clock) == []
    assert len(server.lists) == 5


async def test_paths_that_do_not_exist_do_not_make_the_server_list_again_and_again() -> None:
    """What is known is known of a path; how often the server is asked goes by who asks."""
    server = Server()
    client = client_of(protect(server, policy=Policy.from_toml(TAGGED)))
    for number in range(20):
        await post(client, "tools/call", {"name": "no-tool"}, path=f"/mcp/{number}")
    assert len(server.lists) == 5
    assert not server.calls


async def test_calls_that_come_together_wait_for_one_answer() -> None:
    """Not each for its own."""
    server = Server(delay=0.01)
    client = client_of(protect(server, policy=Policy.from_toml(TAGGED)))
    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(post, client, "tools/call", {"name": f"tool-{number % 4}"})
    assert len(server.calls) == 10
    assert len(server.lists) == 1


@pytest.mark.parametrize(
    "server",
    [
        Server(crash=True),
        Server(status=500, broken=b"oops"),
        Server(broken=b"[]"),
        Server(
            broken=b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"tool-1","_meta":{"tags":["good"]}}]}}'
        ),
        Server(tools=[{"name": 7}, cast("dict[str, Any]", "x"), {"_meta": {"tags": ["good"]}}]),
    ],
    ids=["a crash", "an error", "no answer", "somebody else's answer", "odd entries"],
)
async def test_what_the_server_does_not_tell_stays_unknown(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """And what is unknown is not allowed."""
    with caplog.at_level(logging.CRITICAL):
        assert await call(server, "tool-1") == []
    assert len(server.lists) == 1


DECLARING: dict[str, Any] = {
    "name": "tool-1",
    "inputSchema": {"type": "object", "properties": {"zone": {"type": "string", "x-mcp-header": "Zone"}}},
}


@pytest.mark.parametrize(("header", "runs"), [("a", True), ("b", False)])
@pytest.mark.parametrize("listed_before", [True, False])
async def test_a_header_is_held_against_its_argument_though_nobody_has_listed_the_tool_for_a_while(
    header: str, runs: bool, listed_before: bool
) -> None:
    """Whoever lies would only have to wait a minute, or not to list the tools himself."""
    server, clock = Server(tools=[DECLARING]), Clock()
    client = client_of(protect(server, policy=Policy.from_toml(PLAIN), now=clock))
    if listed_before:
        await post(client, "tools/list")
        clock.time += 61
    asked = {"name": "tool-1", "arguments": {"zone": "a"}}
    response = await post(client, "tools/call", asked, headers={**bearer(), "Mcp-Param-Zone": header})
    assert server.calls == (["tool-1"] if runs else [])
    assert runs or (response.status_code, rpc(response)["error"]["code"]) == (400, -32020)
    assert len(server.lists) == 1 + listed_before


async def test_headers_of_a_tool_that_the_server_does_not_list_are_refused() -> None:
    """And a call without any asks nobody."""
    server = Server()
    client = client_of(protect(server, policy=Policy.from_toml(PLAIN)))
    for headers in ({}, {"Mcp-Param-Zone": "a"}):
        await post(client, "tools/call", {"name": "hidden"}, headers={**bearer(), **headers})
    assert server.calls == ["hidden"]
    assert len(server.lists) == 1


async def test_a_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call is denied after a while."""
    monkeypatch.setattr(fetching, "FETCH_SECONDS", 0.01)
    server = Server(delay=5)
    with anyio.fail_after(2):
        assert await call(server, "tool-1") == []


async def test_what_one_principal_may_not_be_told_another_one_asks_for_himself() -> None:
    """A list can differ from caller to caller."""

    class Personal(Server):
        def page(self, message: dict[str, Any]) -> bytes:
            tag = "good" if current_principal().subject == "ada" else "bad"
            self.tools = [{"name": "tool", "_meta": {"tags": [tag]}}]
            return super().page(message)

    server = Personal()
    client = client_of(protect(server, policy=Policy.from_toml(TAGGED)))
    for subject in ("ada", "eve", "ada", "eve"):
        await post(client, "tools/list", headers=bearer(sub=subject))
    for subject in ("eve", "ada", "eve"):
        response = await post(client, "tools/call", {"name": "tool"}, headers=bearer(sub=subject))
        assert "content" in rpc(response)["result"]
    assert server.calls == ["tool"]


class Changing(Server):
    """From the first call on, each answer is a stream that tells of a change first."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def streaming(event: Event) -> None:
            if event["type"] == "http.response.start" and self.calls:
                event = {**event, "headers": [(b"content-type", b"text/event-stream")]}
            elif event["type"] == "http.response.body" and self.calls:
                changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
                data = b"data: " + json.dumps(changed).encode() + b"\n\n"
                event = {**event, "body": data + b"data: " + event["body"] + b"\n\n"}
            await send(event)

        await super().__call__(scope, receive, streaming)


async def test_a_change_that_is_announced_in_a_stream_makes_the_next_call_ask_again() -> None:
    """The notification may come in the stream of any answer."""
    server = Changing()
    assert await call(server, "tool-1", "tool-1") == ["tool-1", "tool-1"]
    assert len(server.lists) == 2


async def test_a_member_of_a_batch_is_decided_by_what_the_members_before_it_left() -> None:
    """Else a batch were a way to run a tool as it was, not as it is."""

    class Hardening(Changing):
        def page(self, message: dict[str, Any]) -> bytes:
            if self.calls:
                self.tools = [{**tool, "_meta": {"tags": ["bad"]}} for tool in self.tools]
            return super().page(message)

    server, journal = Hardening(), Journal()
    client = client_of(protect(server, policy=Policy.from_toml(TAGGED), audit=journal))
    response = await post_batch(client, member("tool-1", id=1), member("tool-2", id=2))
    assert server.calls == ["tool-1"]
    first, second = response.json()
    assert first["result"] == {"content": []}
    assert second["result"]["content"][0]["text"] == "Unknown tool: tool-2"
    told = [(event["phase"], event.get("outcome")) for event in journal.events if event["type"] == "call"]
    assert sorted(told, key=str) == [
        ("intent", None),
        ("intent", None),
        ("outcome", "aborted"),
        ("outcome", "ok"),
        ("outcome", "refused"),
    ]
