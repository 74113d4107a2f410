"""FastMCP servers with tools that use others of their server, and what came of calls of such tools.

Run as a program, it prints what came of them with FastMCP 3: one JSON object for each server, by its name.
"""

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
from fastmcp import Client, Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.experimental.transforms.code_mode import CodeMode
from fastmcp.server.transforms import PromptsAsTools, ResourcesAsTools
from fastmcp.server.transforms.search import RegexSearchTransform

from mcpauth_middleware import McpAuthMiddleware, Policy
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
    from collections.abc import AsyncGenerator, Callable

    import httpx2

    from mcpauth_middleware.asgi import ASGIApp

POLICY = """
version = 1

[[rules]]
id = "those that use others"
allow = { tools = [
    "use", "use_client", "use_child", "child_use", "again", "call_tool", "search_tools",
    "execute", "search", "get_schema",
    "list_resources", "read_resource", "list_prompts", "get_prompt",
] }

[[rules]]
id = "readers"
allow = { tools = ["read_file", "child_read_file"], resources = ["demo://public/**"], prompts = ["greet"] }

[[rules]]
id = "not of the boss"
deny = { tools = ["read_file"], prompts = ["greet"] }
when = 'has(args.path) and args.path == "boss"'

[[rules]]
id = "writers"
allow = { tools = ["write_file"] }
scopes = ["files:write"]

[[rules]]
id = "what only reads"
allow = { tools = ["count"] }
annotations = { readOnlyHint = true }
"""


@dataclass
class Server:
    """A server, and a record of what ran on it."""

    ran: list[str] = field(default_factory=list[str])
    journal: Journal = field(default_factory=Journal)

    def __post_init__(self) -> None:
        self.mcp: FastMCP[Any] = FastMCP("files")
        self.fill(self.mcp)

    def fill(self, mcp: FastMCP[Any]) -> None:
        ran = self.ran

        @mcp.tool
        def read_file(path: str = "a") -> str:
            ran.append(f"read_file {path}")
            return f"content of {path}"

        @mcp.tool
        def write_file(path: str = "a") -> str:
            ran.append(f"write_file {path}")
            return f"wrote {path}"

        @mcp.tool
        def drop_everything() -> str:
            ran.append("drop_everything")
            return "gone"

        @mcp.tool(annotations={"readOnlyHint": True})
        def count() -> str:
            ran.append("count")
            return "one"

        @mcp.tool
        async def use(tool: str, arguments: dict[str, Any], ctx: Context) -> str:
            result = await ctx.fastmcp.call_tool(tool, arguments)
            return "used: " + json.dumps([getattr(block, "text", None) for block in result.content])

        @mcp.resource("demo://public/{name}")
        def public(name: str) -> str:
            ran.append(f"public {name}")
            return f"public {name}"

        @mcp.resource("demo://private/one")
        def private() -> str:
            ran.append("private")
            return "private"

        @mcp.prompt
        def greet(path: str = "you") -> str:
            ran.append(f"greet {path}")
            return f"hello {path}"

        @mcp.prompt
        def insult() -> str:
            ran.append("insult")
            return "..."

    def versions(self, version: str) -> Callable[[], str]:
        """What one of several tools of a name does."""

        def run() -> str:
            self.ran.append(version)
            return version

        return run

    def protected(self, plain: ASGIApp, **options: Any) -> McpAuthMiddleware:
        """The application behind the middleware."""
        good = {"resource": LOOPBACK_RESOURCE, "policy": Policy.from_toml(POLICY), "audit": self.journal}
        return McpAuthMiddleware(plain, **edge_options(**{**good, **options}))

    @asynccontextmanager
    async def caller(self, revision: str = "2026-07-28", **options: Any) -> AsyncGenerator[Caller]:
        """Somebody who calls tools."""
        plain = self.mcp.http_app()
        app = self.protected(plain, **options)
        async with lifespan(plain), client_of(app, base_url=LOOPBACK) as client:
            yield await Caller.of(client, revision)


@dataclass
class Caller:
    """A client with a good token, which may read."""

    client: httpx2.AsyncClient
    revision: str
    headers: dict[str, str]

    @classmethod
    async def of(cls, client: httpx2.AsyncClient, revision: str, **claims: Any) -> Caller:
        token = bearer(aud=LOOPBACK_RESOURCE, **claims)
        return cls(client, revision, {**token, **await open_session(client, revision, token)})

    async def call(self, tool: str, /, **arguments: Any) -> str:
        """The text that the tool answers with."""
        params = {"name": tool, "arguments": arguments}
        answer = await post(self.client, "tools/call", params, revision=self.revision, headers=self.headers)
        document = rpc(answer)
        if "error" in document:
            return f"{document['error']['code']} {document['error']['message']}"
        text = "".join(block["text"] for block in document["result"]["content"])
        return f"error: {text}" if document["result"].get("isError") else text


class OneLine:
    """A sandbox for code of the one form that the tests need: `call_tool NAME ARGUMENTS`."""

    async def run(
        self,
        code: str,
        *,
        inputs: dict[str, Any] | None = None,  # noqa: ARG002 (as FastMCP has it)
        external_functions: dict[str, Callable[..., Any]] | None = None,
    ) -> Any:  # noqa: ANN401 (as FastMCP has it)
        function, name, arguments = code.split(" ", 2)
        return await (external_functions or {})[function](name, json.loads(arguments))


async def own(revision: str) -> dict[str, Any]:
    """A tool of one's own that calls any."""
    server = Server()
    async with server.caller(revision) as caller:
        asked: dict[str, tuple[str, dict[str, Any]]] = {
            "allowed": ("read_file", {"path": "b"}),
            "forbidden arguments": ("read_file", {"path": "boss"}),
            "forbidden": ("drop_everything", {}),
            "unknown": ("nothing", {}),
            "more scopes": ("write_file", {}),
            "by its annotations": ("count", {}),
            "through itself": ("use", {"tool": "read_file", "arguments": {"path": "boss"}}),
        }
        texts = {
            what: await caller.call("use", tool=tool, arguments=arguments)
            for what, (tool, arguments) in asked.items()
        }
    return {**texts, "ran": server.ran}


async def search(revision: str) -> dict[str, Any]:
    """FastMCP's tool search."""
    server = Server()
    server.mcp.add_transform(RegexSearchTransform())
    async with server.caller(revision) as caller:
        found = await caller.call("search_tools", pattern=".*")
        texts = {
            "allowed": await caller.call("call_tool", name="read_file", arguments={"path": "b"}),
            "forbidden arguments": await caller.call(
                "call_tool", name="read_file", arguments={"path": "boss"}
            ),
            "forbidden": await caller.call("call_tool", name="drop_everything", arguments={}),
            "unknown": await caller.call("call_tool", name="nothing", arguments={}),
            "by its annotations": await caller.call("call_tool", name="count"),
        }
    names = sorted(tool["name"] for tool in json.loads(found))
    return {"found": names, **texts, "ran": server.ran}


async def as_tools(revision: str) -> dict[str, Any]:
    """Resources and prompts as tools."""
    server = Server()
    server.mcp.add_transform(ResourcesAsTools(server.mcp))
    server.mcp.add_transform(PromptsAsTools(server.mcp))
    async with server.caller(revision) as caller:
        resources = json.loads(await caller.call("list_resources"))
        prompts = json.loads(await caller.call("list_prompts"))
        texts = {
            "public": await caller.call("read_resource", uri="demo://public/one"),
            "private": await caller.call("read_resource", uri="demo://private/one"),
            "no resource": await caller.call("read_resource", uri="demo://nothing/one"),
            "greet": await caller.call("get_prompt", name="greet", arguments={"path": "b"}),
            "greet the boss": await caller.call("get_prompt", name="greet", arguments={"path": "boss"}),
            "insult": await caller.call("get_prompt", name="insult"),
            "no prompt": await caller.call("get_prompt", name="nobody"),
        }
    return {
        "resources": sorted(entry.get("uri") or entry["uri_template"] for entry in resources),
        "prompts": sorted(entry["name"] for entry in prompts),
        **texts,
        "ran": server.ran,
    }


async def code(revision: str) -> dict[str, Any]:
    """FastMCP's code mode."""
    server = Server()
    server.mcp.add_transform(CodeMode(sandbox_provider=OneLine()))
    async with server.caller(revision) as caller:
        texts = {
            "found": await caller.call("search", query="file everything"),
            "allowed": await caller.call("execute", code='call_tool read_file {"path": "b"}'),
            "forbidden arguments": await caller.call("execute", code='call_tool read_file {"path": "boss"}'),
            "forbidden": await caller.call("execute", code="call_tool drop_everything {}"),
            "unknown": await caller.call("execute", code="call_tool nothing {}"),
        }
    return {**texts, "ran": server.ran}


async def in_memory(revision: str) -> dict[str, Any]:
    """Tools that ask their server over a client in memory, as FastMCP's `BulkToolCaller` does."""
    server = Server()
    open_client, left_open = Client[Any](server.mcp), AsyncExitStack()

    async def text(client: Client[Any], tool: str) -> str:
        answer = await client.call_tool(tool, {}, raise_on_error=False)
        return "used: " + json.dumps([getattr(block, "text", None) for block in answer.content])

    @server.mcp.tool
    async def use_client(tool: str) -> str:
        async with Client(server.mcp) as client:
            return await text(client, tool)

    @server.mcp.tool
    async def again(tool: str) -> str:
        if not open_client.is_connected():
            await left_open.enter_async_context(open_client)
        return await text(open_client, tool)

    async with server.caller(revision) as reader:
        writer = await Caller.of(reader.client, revision, scope="files:write")
        # In the session of the writer, with a token that may less.
        less = Caller(reader.client, revision, {**writer.headers, **bearer(aud=LOOPBACK_RESOURCE)})
        texts = {
            "allowed": await reader.call("use_client", tool="read_file"),
            "forbidden": await reader.call("use_client", tool="drop_everything"),
            "allowed another": await writer.call("use_client", tool="write_file"),
            "with fewer scopes": await less.call("use_client", tool="write_file"),
            "left open, once": await writer.call("again", tool="write_file"),
        }
        another = await reader.call("again", tool="write_file")
        await left_open.aclose()
    return {**texts, "left open, another": "wrote" in another, "ran": server.ran}


async def mounted(revision: str) -> dict[str, Any]:
    """A server in which another one is mounted, which its tools ask by itself."""
    server = Server()
    child = FastMCP[Any]("child")
    server.fill(child)
    server.mcp.mount(child, namespace="child")

    @server.mcp.tool
    async def use_child(kind: str, name: str) -> str:
        match kind:
            case "tool":
                return str((await child.call_tool(name, {})).content)
            case "prompt":
                return str((await child.render_prompt(name)).messages)
            case _:
                return str((await child.read_resource(name)).contents)

    async with server.caller(revision) as caller:
        texts = {
            "passed on": await caller.call("child_read_file"),
            "tool": await caller.call("use_child", kind="tool", name="drop_everything"),
            "prompt": await caller.call("use_child", kind="prompt", name="insult"),
            "resource": await caller.call("use_child", kind="resource", name="demo://private/one"),
        }
    return {**texts, "ran": server.ran}


async def escaped(revision: str) -> dict[str, Any]:
    """A resource whose URI `mcp` 1.x escapes."""
    server = Server()
    async with server.caller(revision) as caller:
        asked = {"uri": 'demo://public/"a"'}
        answer = await post(caller.client, "resources/read", asked, revision=revision, headers=caller.headers)
    reads = [event["phase"] for event in server.journal.events if event["mcp"]["method"] == "resources/read"]
    return {"text": rpc(answer)["result"]["contents"][0]["text"], "events": reads}


async def background(revision: str) -> dict[str, Any]:
    """A tool that runs as a task of FastMCP 3, when the request that asked for it is over."""
    server = Server()
    ended = anyio.Event()

    @server.mcp.tool(task=True)  # type: ignore[call-overload,untyped-decorator,unused-ignore]
    async def slow(ctx: Context) -> str:
        try:
            await ctx.fastmcp.call_tool("read_file", {})
        except ToolError as error:
            server.ran.append(f"slow: {error}")
        server.ran.append(f"slow sees {len(await ctx.fastmcp.list_tools())} tools")
        ended.set()
        return "done"

    rules = POLICY + '[[rules]]\nid = "slow"\nallow = { tools = ["slow"] }\n'
    async with server.caller(revision, policy=Policy.from_toml(rules)) as caller:
        params = {"name": "slow", "arguments": {}, "task": {"ttl": 60_000}}
        answer = await post(caller.client, "tools/call", params, revision=revision, headers=caller.headers)
        with anyio.fail_after(20):
            await ended.wait()
    return {"status": rpc(answer)["result"]["task"]["status"], "ran": server.ran}


SERVERS: dict[str, Callable[[str], Any]] = {
    "own": own,
    "search": search,
    "as_tools": as_tools,
    "code": code,
    "in_memory": in_memory,
    "mounted": mounted,
    "escaped": escaped,
}


async def main(revision: str) -> None:
    """Print what came of all of them."""
    for name, run in {**SERVERS, "background": background}.items():
        print(json.dumps({name: await run(revision)}))


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
