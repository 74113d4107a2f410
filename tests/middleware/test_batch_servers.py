"""Batches in front of the real servers, which accept none themselves: MCP SDK 2.x and FastMCP."""

from __future__ import annotations

import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import anyio
import pytest
from fastmcp import Context as FastContext
from fastmcp import FastMCP
from mcp import MCPError
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

from mcpauth_middleware import McpAuthMiddleware, Policy, current_principal
from tests.middleware.batch_helpers import call, notification, post_batch, request
from tests.middleware.edge_helpers import (
    LOOPBACK,
    LOOPBACK_RESOURCE,
    Journal,
    bearer,
    client_of,
    edge_options,
    lifespan,
    open_session,
    post,
    rpc,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2
    from starlette.applications import Starlette

pytestmark = pytest.mark.anyio

Kind = Literal["mcp", "mcp, JSON", "fastmcp", "fastmcp, stateless"]
KINDS: tuple[Kind, ...] = ("mcp", "mcp, JSON", "fastmcp", "fastmcp, stateless")
MARCH = "2025-03-26"
AUD = {"aud": LOOPBACK_RESOURCE}

POLICY = """
version = 1
[[rules]]
id = "all"
allow = { tools = ["echo", "ask", "report"] }
scopes = ["files:read"]
[[rules]]
id = "more"
allow = { tools = ["write"] }
scopes = ["files:write"]
"""


class Answer(BaseModel):
    text: str


class Server:
    """One server of each kind, and a record of what ran on it."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.ran: list[str] = []

    def note(self, what: str) -> str:
        self.ran.append(f"{what} by {current_principal().subject}")
        return what

    def app(self) -> Starlette:
        if self.kind.startswith("mcp"):
            return self._mcp().streamable_http_app(json_response="JSON" in self.kind)
        return self._fastmcp().http_app(stateless_http="stateless" in self.kind)

    def _mcp(self) -> MCPServer:
        server = MCPServer("batched")

        @server.tool()
        def echo(text: str) -> str:
            return self.note(f"echo {text}")

        @server.tool()
        def write() -> str:
            return self.note("write")

        @server.tool()
        def drop() -> str:
            return self.note("drop")

        @server.tool()
        async def report(context: Context) -> str:
            await context.report_progress(1, 2)
            return self.note("report")

        @server.tool()
        async def ask(context: Context) -> str:
            try:
                answer = await context.elicit("?", Answer)
            except MCPError as error:
                return self.note(error.error.message)
            return self.note(str(answer))

        assert all(map(callable, (echo, write, drop, report, ask)))
        return server

    def _fastmcp(self) -> FastMCP[Any]:
        server: FastMCP[Any] = FastMCP("batched")

        @server.tool
        def echo(text: str) -> str:
            return self.note(f"echo {text}")

        @server.tool
        def write() -> str:
            return self.note("write")

        @server.tool
        def drop() -> str:
            return self.note("drop")

        @server.tool
        async def report(context: FastContext) -> str:
            await context.report_progress(1, 2)
            return self.note("report")

        @server.tool
        async def ask(context: FastContext) -> str:
            try:
                answer = await context.elicit("?", str)
            except MCPError as error:
                return self.note(error.error.message)
            return self.note(str(answer))

        assert all(map(callable, (echo, write, drop, report, ask)))
        return server

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncGenerator[httpx2.AsyncClient]:
        app = self.app()
        settings = {"resource": LOOPBACK_RESOURCE, "policy": Policy.from_toml(POLICY), **options}
        guarded = McpAuthMiddleware(app, **edge_options(**settings))
        async with lifespan(app), client_of(guarded, base_url=LOOPBACK) as client:
            yield client

    async def session(self, client: httpx2.AsyncClient, headers: dict[str, str]) -> dict[str, str]:
        if "stateless" in self.kind:
            return {}
        return await open_session(client, MARCH, headers)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_tools_that_were_decided_on_are_the_tools_that_run(kind: Kind) -> None:
    """Each with its own arguments, in the order of the batch, for the caller."""
    server, journal = Server(kind), Journal()
    async with server.client(audit=journal) as client:
        session = await server.session(client, bearer(sub="ada", **AUD))
        journal.events.clear()
        response = await post_batch(
            client,
            call("echo", id=1, text="a"),
            call("drop", id=2),
            call("echo", id="three", text="b"),
            request("tools/list", id=4),
            notification("notifications/roots/list_changed"),
            call("echo", id=5),
            headers={**bearer(sub="ada", **AUD), **session},
        )

    assert response.status_code == 200
    one, two, three, four, five = response.json()
    assert (one["id"], one["result"]["content"][0]["text"]) == (1, "echo a")
    assert (two["id"], two["result"]["content"][0]["text"]) == (2, "Unknown tool: drop")
    assert (three["id"], three["result"]["content"][0]["text"]) == ("three", "echo b")
    assert [tool["name"] for tool in four["result"]["tools"]] == ["echo", "report", "ask"]
    assert five["result"]["isError"] is True
    assert server.ran == ["echo a by ada", "echo b by ada"]
    assert [event["mcp"].get("name") for event in journal.events if event["phase"] == "intent"] == [
        "echo",
        "echo",
        None,
        None,
        "echo",
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_that_lacks_scopes_runs_nothing_until_they_are_there(kind: Kind) -> None:
    """One 403 with all of them, and the same batch passes with exactly that scope."""
    server = Server(kind)
    members = (call("echo", id=1, text="a"), call("write", id=2))
    async with server.client() as client:
        session = await server.session(client, bearer(**AUD))
        refused = await post_batch(client, *members, headers={**bearer(**AUD), **session})
        assert refused.status_code == 403
        assert not server.ran

        scope = refused.headers["WWW-Authenticate"].partition('scope="')[2].partition('"')[0]
        accepted = await post_batch(client, *members, headers={**bearer(scope=scope, **AUD), **session})

    assert [answer["id"] for answer in accepted.json()] == [1, 2]
    assert len(server.ran) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_notifications_on_the_way_are_left_out(kind: Kind) -> None:
    """The array holds responses only."""
    server = Server(kind)
    async with server.client() as client:
        session = await server.session(client, bearer(**AUD))
        with_token = call("report")
        with_token["params"]["_meta"] = {"progressToken": "p"}
        response = await post_batch(client, with_token, headers={**bearer(**AUD), **session})
    assert [answer["result"]["content"][0]["text"] for answer in response.json()] == ["report"]


@pytest.mark.parametrize("kind", ["mcp", "fastmcp"])
async def test_a_tool_that_asks_the_client_hears_that_it_cannot_be_asked(kind: Kind) -> None:
    """It neither waits for ever nor holds up the members behind it."""
    server = Server(kind)
    async with server.client() as client:
        headers = bearer(**AUD)
        parameters: dict[str, Any] = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"elicitation": {"form": {}}},
            "clientInfo": {"name": "test", "version": "1"},
        }
        # Of a later revision, since only those let a tool ask; without the header it counts as the oldest.
        opened = await post(client, "initialize", parameters, revision=MARCH, headers=headers)
        session = {**headers, "Mcp-Session-Id": opened.headers["Mcp-Session-Id"]}
        await post(client, "notifications/initialized", revision=MARCH, id=None, headers=session)
        with anyio.fail_after(5):
            response = await post_batch(
                client, call("ask", id=1), call("echo", id=2, text="x"), headers=session
            )
    asked, echoed = response.json()
    assert asked["result"]["content"][0]["text"] == "The client cannot be asked while a batch runs"
    assert echoed["result"]["content"][0]["text"] == "echo x"
    assert len(server.ran) == 2


@pytest.mark.parametrize("kind", ["mcp", "mcp, JSON", "fastmcp"])
async def test_a_session_that_is_gone_is_told_by_its_status(kind: Kind) -> None:
    """404, so that the client opens another; also for somebody else's session."""
    server = Server(kind)
    async with server.client() as client:
        session = await server.session(client, bearer(sub="ada", **AUD))
        for headers in (
            {**bearer(sub="ada", **AUD), "Mcp-Session-Id": "0" * 32},
            {**bearer(sub="eve", **AUD), **session},
        ):
            response = await post_batch(client, call("echo", id=1, text="a"), headers=headers)
            assert response.status_code == 404
            assert response.json()[0]["id"] == 1
    assert not server.ran


@pytest.mark.parametrize("kind", KINDS)
async def test_single_messages_of_the_same_session_go_on_as_before(kind: Kind) -> None:
    """A batch leaves nothing behind."""
    server = Server(kind)
    async with server.client() as client:
        session = await server.session(client, bearer(**AUD))
        headers = {**bearer(**AUD), **session}
        await post_batch(client, call("echo", id=1, text="a"), headers=headers)
        params = {"name": "echo", "arguments": {"text": "b"}}
        response = await post(client, "tools/call", params, revision=MARCH, headers=headers)
    assert rpc(response)["result"]["content"][0]["text"] == "echo b"


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_is_in_a_batch_what_ran_is_what_the_journal_announced(seed: int) -> None:
    """Random members, wrong ones among them: nothing runs undecided, and nothing that was decided is lost."""
    source = random.Random(seed)  # noqa: S311 (not for secrets)
    kinds: list[Kind] = ["mcp", "mcp, JSON", "fastmcp"]
    server, journal = Server(source.choice(kinds)), Journal()
    members: list[object] = []
    for number in range(source.randint(1, 12)):
        tool = source.choice(["echo", "drop", "report", "nothing"])
        member: Any = call(tool, id=number, **({"text": f"{number}"} if tool == "echo" else {}))
        match source.randint(0, 9):
            case 0:
                member["params"]["Name"] = "echo"
            case 1:
                member["method"] = "tools/Call"
            case 2:
                member = [member]
            case 3:
                member.pop("id")
            case 4:
                member["params"]["name"] = ["echo"]
            case _:
                pass
        members.append(member)
    async with server.client(audit=journal) as client:
        session = await server.session(client, bearer(**AUD))
        journal.events.clear()
        response = await post_batch(client, *members, headers={**bearer(**AUD), **session})

    announced = [event for event in journal.events if event["phase"] == "intent"]
    assert sorted(event["mcp"]["name"] for event in announced) == sorted(ran.split()[0] for ran in server.ran)
    assert {event["mcp"]["name"] for event in announced} <= {"echo", "report"}
    outcomes = [event for event in journal.events if event["phase"] == "outcome"]
    assert len(outcomes) == len(members)
    answers: list[dict[str, Any]] = response.json() if response.content else []
    assert len({json.dumps(answer["id"]) for answer in answers if answer["id"] is not None}) == sum(
        answer["id"] is not None for answer in answers
    )
