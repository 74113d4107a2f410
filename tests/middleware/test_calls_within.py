"""Tools of a FastMCP server that use others of it may use what their caller may use, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from fastmcp import Client, Context
from fastmcp.exceptions import NotFoundError, ToolError
from fastmcp.server.middleware.caching import ResponseCachingMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from mcpauth_middleware import McpAuthMiddleware, Policy, RateLimit
from mcpauth_middleware.integrations.fastmcp import judge_calls_within
from mcpauth_middleware.replay import replay
from tests.middleware.edge_helpers import (
    LOOPBACK,
    LOOPBACK_RESOURCE,
    REVISIONS,
    Clock,
    Journal,
    client_of,
    edge_options,
    lifespan,
    served,
)
from tests.middleware.replay_helpers import read
from tests.middleware.test_revocation import Listing
from tests.middleware.within_servers import POLICY, SERVERS, Caller, Server
from tests.stacks.environments import python_of, search_path

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from mcpauth_middleware.asgi import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.anyio

EXPECTED: dict[str, dict[str, Any]] = {
    "own": {
        "allowed": 'used: ["content of b"]',
        "forbidden arguments": "error: Error calling tool 'use': Unknown tool: 'read_file'",
        "forbidden": "error: Error calling tool 'use': Unknown tool: 'drop_everything'",
        "unknown": "error: Error calling tool 'use': Unknown tool: 'nothing'",
        "more scopes": "error: This call needs more scopes than the access token has: files:write",
        "by its annotations": 'used: ["one"]',
        "through itself": "error: Error calling tool 'use': Unknown tool: 'read_file'",
        "ran": ["read_file b", "count"],
    },
    "search": {
        "found": ["count", "read_file", "use"],
        "allowed": "content of b",
        "forbidden arguments": "error: Error calling tool 'call_tool': Unknown tool: 'read_file'",
        "forbidden": "error: Error calling tool 'call_tool': Unknown tool: 'drop_everything'",
        "unknown": "error: Error calling tool 'call_tool': Unknown tool: 'nothing'",
        "by its annotations": "one",
        "ran": ["read_file b", "count"],
    },
    "as_tools": {
        "resources": ["demo://public/{name}"],
        "prompts": ["greet"],
        "public": "public one",
        "private": "error: Error calling tool 'read_resource': Unknown resource: 'demo://private/one'",
        "no resource": "error: Error calling tool 'read_resource': Unknown resource: 'demo://nothing/one'",
        "greet": {"messages": [{"role": "user", "content": "hello b"}]},
        "greet the boss": "error: Error calling tool 'get_prompt': Unknown prompt: 'greet'",
        "insult": "error: Error calling tool 'get_prompt': Unknown prompt: 'insult'",
        "no prompt": "error: Error calling tool 'get_prompt': Unknown prompt: 'nobody'",
        "ran": ["public one", "greet b"],
    },
    "code": {
        "found": "1 of 3 tools:\n\n- read_file",
        "allowed": {"result": "content of b"},
        "forbidden arguments": "error: Error calling tool 'execute': Unknown tool: 'read_file'",
        "forbidden": "error: Error calling tool 'execute': Unknown tool: drop_everything",
        "unknown": "error: Error calling tool 'execute': Unknown tool: nothing",
        "ran": ["read_file b"],
    },
    "in_memory": {
        "allowed": 'used: ["content of a"]',
        "forbidden": "used: [\"Unknown tool: 'drop_everything'\"]",
        "allowed another": 'used: ["wrote a"]',
        "with fewer scopes": 'used: ["This call needs more scopes than the access token has: files:write"]',
        "left open, once": 'used: ["wrote a"]',
        "left open, another": False,
        "ran": ["read_file a", "write_file a", "write_file a"],
    },
    "mounted": {
        "passed on": "content of a",
        "tool": "error: Error calling tool 'use_child': Unknown tool: 'drop_everything'",
        "prompt": "error: Error calling tool 'use_child': Unknown prompt: 'insult'",
        "resource": "error: Error calling tool 'use_child': Unknown resource: 'demo://private/one'",
        "ran": ["read_file a"],
    },
    "escaped": {"text": 'public "a"', "events": ["intent", "outcome"]},
}


def as_values(came: Mapping[str, Any]) -> dict[str, Any]:
    """With what is JSON read."""
    return {
        name: json.loads(text) if isinstance(text, str) and text.startswith("{") else text
        for name, text in came.items()
    }


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_tool_uses_only_what_its_caller_may_use(server: str, revision: str) -> None:
    """What may not be used is answered as what is not there; lists that a tool reads show neither."""
    assert as_values(await SERVERS[server](revision)) == EXPECTED[server]


def test_so_it_is_with_fastmcp_3() -> None:
    """In an environment of its own, since only one FastMCP can be installed at a time."""
    ran = subprocess.run(
        [python_of(".venv-mcp1"), "-m", "tests.middleware.within_servers", "2025-11-25"],
        env={**os.environ, "PYTHONPATH": search_path()},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    came: dict[str, Any] = {}
    for line in ran.stdout.splitlines():
        came |= json.loads(line)
    refused = "A background task cannot use the tool 'read_file': its caller is not there to be judged"
    assert {name: as_values(each) for name, each in came.items()} == {
        **EXPECTED,
        "background": {"status": "working", "ran": [f"slow: {refused}", "slow sees 0 tools"]},
    }


async def test_the_journal_tells_within_which_call_something_was_done() -> None:
    server = Server()
    async with server.caller() as caller:
        await caller.call("use", tool="read_file", arguments={"path": "b"})
        await caller.call("use", tool="drop_everything", arguments={})

    told = [
        (event["phase"], event["mcp"]["name"], event.get("outcome"), event.get("within"))
        for event in server.journal.events
    ]
    first, second = [event["call"] for event in server.journal.events if event["mcp"]["name"] == "use"][::2]
    assert told == [
        ("intent", "use", None, None),
        ("intent", "read_file", None, first),
        ("outcome", "read_file", "ok", first),
        ("outcome", "use", "ok", None),
        ("intent", "use", None, None),
        ("outcome", "drop_everything", "refused", second),
        ("outcome", "use", "ok", None),
    ]
    [refused] = [event for event in server.journal.events if event.get("outcome") == "refused"]
    assert refused["actor"]["sub"] == "user-1"
    assert refused["decision"]["reason"] == refused["reason"] == "no_rule"
    assert "http" not in refused


async def test_a_journal_of_such_calls_can_be_replayed() -> None:
    server = Server()
    async with server.caller() as caller:
        await caller.call("use", tool="read_file", arguments={})
        await caller.call("use", tool="drop_everything", arguments={})
    without = Policy.from_toml(POLICY.replace('tools = ["read_file", "child_read_file"], ', ""))

    found = replay(without, read(server.journal.events))
    assert [(one.recorded.asked.name, one.change) for one in found] == [
        ("use", "same"),
        ("read_file", "narrower"),
        ("use", "same"),
        ("drop_everything", "same"),
    ]


async def test_what_cannot_be_recorded_is_not_done() -> None:
    class Full(Journal):
        async def record(self, event: Mapping[str, Any]) -> None:
            self.broken = event["mcp"]["name"] == "read_file"
            await super().record(event)

    server = Server(journal=Full())
    async with server.caller() as caller:
        answer = await caller.call("use", tool="read_file", arguments={})

    assert answer == "error: The server cannot do this at the moment"
    assert server.ran == []


async def test_it_is_counted_like_a_call() -> None:
    server = Server()
    async with server.caller(limits=[RateLimit("2/minute", by=("user",), tools=("read_file",))]) as caller:
        answers = [await caller.call("use", tool="read_file", arguments={}) for _ in range(3)]
        direct = await caller.call("read_file")

    assert answers[:2] == ['used: ["content of a"]'] * 2
    assert answers[2].startswith("error: Rate limit reached. Wait ")
    assert "429" in direct or "Rate limit" in direct
    assert server.ran == ["read_file a"] * 2


async def test_the_call_itself_is_judged_counted_and_recorded_once() -> None:
    server = Server()
    async with server.caller(limits=[RateLimit("1/minute", by=("user",))]) as caller:
        assert await caller.call("read_file") == "content of a"

    assert [event["phase"] for event in server.journal.events] == ["intent", "outcome"]


async def test_its_arguments_are_checked_as_strictly() -> None:
    server = Server()
    async with server.caller(strict_arguments=True) as caller:
        assert await caller.call("use", tool="read_file", arguments={"path": "b"}) == 'used: ["content of b"]'
        wrong = await caller.call("use", tool="read_file", arguments={"pfad": "b"})

    assert wrong.startswith("error: Invalid arguments: ")
    assert server.ran == ["read_file b"]


async def test_arguments_that_no_client_could_send_are_judged_and_used_as_it_could() -> None:
    """Objects of Python become what they would be in a message; what has no single reading is refused."""
    server = Server()

    @server.mcp.tool
    async def again(ctx: Context) -> str:
        texts: list[str] = []
        for value in (datetime(2026, 7, 28, tzinfo=UTC), ("boss",), float("nan")):
            try:
                result = await ctx.fastmcp.call_tool("seen", {"path": value})
                texts.append(getattr(result.content[0], "text", ""))
            except ToolError as error:
                texts.append(f"error: {error}")
        return json.dumps(texts)

    @server.mcp.tool
    def seen(path: list[str] | str) -> str:
        return json.dumps(path)

    rules = POLICY + '[[rules]]\nid = "seen"\nallow = { tools = ["seen"] }\n'
    async with server.caller(policy=Policy.from_toml(rules)) as caller:
        texts = json.loads(await caller.call("again"))

    assert texts[:2] == ['"2026-07-28T00:00:00Z"', '["boss"]']
    assert texts[2].startswith("error: the body is refused: ")


async def test_no_cached_answer_is_given_to_somebody_who_may_not_have_it() -> None:
    """`ResponseCachingMiddleware` stands behind what asks, also where it was added before."""
    server = Server()
    server.mcp.add_middleware(ResponseCachingMiddleware())
    rules = POLICY.replace('prompts = ["greet"] }\n\n', 'prompts = ["greet"] }\nscopes = ["files:read"]\n\n')
    async with server.caller(policy=Policy.from_toml(rules)) as reader:
        other = await Caller.of(reader.client, reader.revision, scope="files:other")
        assert await reader.call("use", tool="read_file", arguments={}) == 'used: ["content of a"]'
        answer = await other.call("use", tool="read_file", arguments={})

    assert answer == "error: This call needs more scopes than the access token has: files:read"


async def test_a_trusted_tool_uses_what_its_caller_may_not() -> None:
    """What it uses is trusted no more than others."""
    server = Server()

    @server.mcp.tool
    async def report(ctx: Context) -> str:
        await ctx.fastmcp.call_tool("drop_everything", {})
        resource = await ctx.read_resource("demo://private/one")
        await ctx.fastmcp.call_tool("use", {"tool": "write_file", "arguments": {}})
        return str(resource)

    rules = Policy.from_toml(POLICY + '[[rules]]\nid = "report"\nallow = { tools = ["report"] }\n')
    async with server.caller(policy=rules) as caller:
        untrusted = await caller.call("report")
        assert server.ran == []
    async with server.caller(policy=rules, trusted_tools=["report"]) as caller:
        trusted = await caller.call("report")

    assert "Unknown tool: 'drop_everything'" in untrusted
    assert server.ran == ["drop_everything", "private"]
    assert "This call needs more scopes than the access token has: files:write" in trusted


FORMS = (
    "http_app(middleware=)",
    "add_middleware",
    "around a mount",
    "mounted later",
    "by hand",
)


@pytest.mark.parametrize("form", FORMS)
async def test_the_server_is_found_wherever_it_is(form: str) -> None:
    server = Server()
    options = edge_options(resource=LOOPBACK_RESOURCE, policy=Policy.from_toml(POLICY))
    plain: Any
    app: ASGIApp
    match form:
        case "http_app(middleware=)":
            plain = app = server.mcp.http_app(middleware=[Middleware(McpAuthMiddleware, **options)])
        case "add_middleware":
            plain = app = server.mcp.http_app()
            app.add_middleware(McpAuthMiddleware, **options)
        case "around a mount":
            plain = server.mcp.http_app()
            app = McpAuthMiddleware(Starlette(routes=[Mount("/", plain)]), **options)
        case "mounted later":
            plain = server.mcp.http_app()
            outer = Starlette()
            app = McpAuthMiddleware(outer, **options)
            outer.mount("/", plain)
        case _:
            plain = server.mcp.http_app()

            async def hidden(scope: Scope, receive: Receive, send: Send) -> None:
                await plain(scope, receive, send)

            judge_calls_within(server.mcp)
            app = McpAuthMiddleware(hidden, **options)

    async with lifespan(plain), client_of(app, base_url=LOOPBACK) as client:
        caller = await Caller.of(client, "2025-11-25")
        assert await caller.call("use", tool="read_file", arguments={}) == 'used: ["content of a"]'
        assert "Unknown tool" in await caller.call("use", tool="drop_everything", arguments={})
    assert server.ran == ["read_file a"]


async def test_a_fastmcp_of_another_version_is_served_and_the_log_says_what_is_not_judged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of versions before 3 and after 4, modules that are needed are not there."""
    monkeypatch.setitem(sys.modules, "mcpauth_middleware.integrations.fastmcp.calls", None)
    server = Server()
    async with server.caller() as caller:
        assert await caller.call("read_file") == "content of a"
        assert await caller.call("drop_everything") == "error: Unknown tool: drop_everything"

    assert server.ran == ["read_file a"]
    assert "'files' use by themselves is not judged, since this FastMCP is neither 3 nor 4" in caplog.text


async def test_a_server_that_is_mounted_while_the_lifespan_begins_is_found() -> None:
    server = Server()
    inner = server.mcp.http_app()

    @asynccontextmanager
    async def mounting(starting: Starlette) -> AsyncGenerator[None]:
        starting.mount("/", inner)
        async with lifespan(inner):
            yield

    app = server.protected(Starlette(lifespan=mounting), allowed_hosts=["127.0.0.1:*"])
    async with served(lambda _: app) as url, httpx2.AsyncClient(base_url=url) as client:
        caller = await Caller.of(client, "2025-11-25")
        assert "Unknown tool" in await caller.call("use", tool="drop_everything", arguments={})
    assert server.ran == []


async def test_a_server_that_is_used_in_another_way_is_as_it_was() -> None:
    """In memory, and by an application that is not protected."""
    server = Server()
    open_app = server.mcp.http_app()
    server.protected(open_app)
    async with lifespan(open_app), client_of(open_app, base_url=LOOPBACK) as client:
        caller = await Caller.of(client, "2025-11-25")
        assert await caller.call("use", tool="drop_everything", arguments={}) == 'used: ["gone"]'
    async with Client(server.mcp) as client:
        result = await client.call_tool("use", {"tool": "drop_everything", "arguments": {}})
        assert result.data == 'used: ["gone"]'


@pytest.mark.parametrize("ends", ["expires", "is revoked"])
async def test_nothing_more_is_used_when_the_token_has_ended(ends: str) -> None:
    """A tool may run for long, and leave something running when it has answered."""
    server, clock, listing = Server(), Clock(), Listing()

    @server.mcp.tool
    async def slow(ctx: Context) -> str:
        before = len(await ctx.fastmcp.list_tools())
        if ends == "expires":
            clock.time += 600
        else:
            listing.revoke(jti="token-1")
            await anyio.sleep(0.3)
        try:
            await ctx.fastmcp.call_tool("read_file", {})
        except ToolError as error:
            return f"saw {before}, then {len(await ctx.fastmcp.list_tools())}: {error}"
        return "used it"

    rules = Policy.from_toml(POLICY + '[[rules]]\nid = "slow"\nallow = { tools = ["slow"] }\n')
    options: dict[str, Any] = {"verifier": None, "http_client": client_of(listing), "now": clock}
    async with server.caller(policy=rules, **options) as caller:
        answer = await caller.call("slow")

    assert answer == "saw 4, then 0: The access token is invalid or has expired"
    assert server.ran == []
    [refused] = [event for event in server.journal.events if event.get("outcome") == "refused"]
    assert refused["mcp"]["name"] == "read_file"
    assert refused["reason"] == ("token_expired" if ends == "expires" else "revoked")


async def test_what_a_tool_leaves_running_is_judged_as_its_caller_s() -> None:
    server = Server()
    came: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @server.mcp.tool
    async def again(ctx: Context) -> str:
        async def later() -> None:
            try:
                await ctx.fastmcp.call_tool("drop_everything", {})
            except NotFoundError as error:
                came.set_result(str(error))

        background.append(asyncio.get_running_loop().create_task(later()))
        return "soon"

    background: list[asyncio.Task[None]] = []
    async with server.caller() as caller:
        assert await caller.call("again") == "soon"
        assert await came == "Unknown tool: 'drop_everything'"
    assert server.ran == []


async def test_calls_at_the_same_moment_are_kept_apart() -> None:
    """Each is judged as its own caller's."""
    server = Server()
    async with server.caller() as reader:
        writer = await Caller.of(reader.client, reader.revision, sub="user-2", scope="files:write")
        answers = await asyncio.gather(
            *(
                caller.call("use", tool="write_file", arguments={"path": f"{n}"})
                for n in range(20)
                for caller in (reader, writer)
            )
        )

    assert all(answer.startswith("error: This call needs more scopes") for answer in answers[::2])
    assert answers[1::2] == [f'used: ["wrote {n}"]' for n in range(20)]
    assert sorted(server.ran) == sorted(f"write_file {n}" for n in range(20))
