"""Decisions by what the real servers say of their tools: MCP SDK 2.x and FastMCP, sessions and stateless."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
import httpx2
import pytest
from fastmcp import Context as FastContext
from fastmcp import FastMCP
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from pydantic import Field
from starlette.applications import Starlette
from starlette.routing import Mount

from mcpauth_middleware import McpAuthMiddleware, Policy
from tests.middleware.edge_helpers import (
    LOOPBACK,
    LOOPBACK_RESOURCE,
    MODERN,
    REVISIONS,
    Clock,
    bearer,
    client_of,
    edge_options,
    lifespan,
    open_session,
    post,
    rpc,
    served,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from mcpauth_middleware.asgi import ASGIApp

pytestmark = pytest.mark.anyio

Kind = Literal["mcp", "mcp, JSON", "fastmcp", "fastmcp, stateless"]
KINDS: tuple[Kind, ...] = ("mcp", "mcp, JSON", "fastmcp", "fastmcp, stateless")
AUD = {"aud": LOOPBACK_RESOURCE}

POLICY = """
version = 1
[[rules]]
id = "harmless"
allow = { tools = ["*"] }
tags = ["harmless"]
[[rules]]
id = "reading"
allow = { tools = ["*"] }
annotations = { readOnlyHint = true }
[[rules]]
id = "not-these"
deny = { tools = ["*"] }
tags = ["secret"]
"""


class Server:
    """A server with tagged and annotated tools, a record of what ran, and of how often it listed them."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.ran: list[str] = []
        self.tags_of_tagged = ["harmless"]

    def app(self) -> Starlette:
        if self.kind.startswith("mcp"):
            return self._mcp().streamable_http_app(json_response="JSON" in self.kind)
        return self._fastmcp().http_app(stateless_http="stateless" in self.kind)

    def _mcp(self) -> MCPServer:
        server = MCPServer("tagged")

        def note(name: str) -> Callable[[], str]:
            def run() -> str:
                self.ran.append(name)
                return name

            return run

        def add(name: str, tags: list[str] | None, *, reads: bool | None = None) -> None:
            server.add_tool(
                note(name),
                name=name,
                annotations=None if reads is None else ToolAnnotations(read_only_hint=reads),
                meta=None if tags is None else {"tags": tags},
            )

        add("tagged", self.tags_of_tagged)
        add("annotated", [], reads=True)
        add("writing", [], reads=False)
        add("secret", ["harmless", "secret"], reads=True)
        if self.kind == "mcp":
            add("silent", None, reads=True)

        @server.tool(meta={"tags": ["harmless"]})
        async def change(context: Context) -> str:
            server.remove_tool("tagged")
            add("tagged", ["secret"])
            await context.session.send_tool_list_changed()
            return "changed"

        assert callable(change)
        return server

    def _fastmcp(self) -> FastMCP[Any]:
        server: FastMCP[Any] = FastMCP("tagged")

        def add(name: str, tags: set[str], *, reads: bool | None = None) -> None:
            def run() -> str:
                self.ran.append(name)
                return name

            annotations = None if reads is None else ToolAnnotations(read_only_hint=reads)
            server.tool(run, name=name, tags=tags, annotations=annotations)

        add("tagged", set(self.tags_of_tagged))
        add("annotated", set(), reads=True)
        add("writing", set(), reads=False)
        add("secret", {"harmless", "secret"}, reads=True)

        @server.tool(tags={"harmless"})
        async def change(context: FastContext) -> str:
            server.local_provider.remove_tool("tagged")
            add("tagged", {"secret"})
            await context.session.send_tool_list_changed()
            return "changed"

        assert callable(change)
        return server

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncGenerator[httpx2.AsyncClient]:
        app = self.app()
        settings = {"resource": LOOPBACK_RESOURCE, "policy": Policy.from_toml(POLICY), **options}
        guarded = McpAuthMiddleware(app, **edge_options(**settings))
        async with lifespan(app), client_of(guarded, base_url=LOOPBACK) as client:
            yield client

    async def session(self, client: httpx2.AsyncClient, revision: str) -> dict[str, str]:
        if "stateless" in self.kind:
            return bearer(**AUD)
        return {**bearer(**AUD), **await open_session(client, revision, bearer(**AUD))}


async def call(client: httpx2.AsyncClient, tool: str, revision: str, headers: dict[str, str]) -> str:
    response = await post(client, "tools/call", {"name": tool}, revision=revision, headers=headers)
    assert response.status_code == 200, response.text
    return str(rpc(response)["result"]["content"][0]["text"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_rule_about_tags_and_annotations_decides_the_first_call(kind: Kind, revision: str) -> None:
    """Nobody has listed anything yet: the server is asked, in the revision and session of the call."""
    server = Server(kind)
    async with server.client() as client:
        headers = await server.session(client, revision)
        assert await call(client, "tagged", revision, headers) == "tagged"
        assert await call(client, "annotated", revision, headers) == "annotated"
        for denied in ("writing", "secret", "no_such_tool"):
            assert await call(client, denied, revision, headers) == f"Unknown tool: {denied}"
    assert server.ran == ["tagged", "annotated"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_list_shows_what_the_same_rules_let_run(kind: Kind, revision: str) -> None:
    """Each entry is judged by what it says itself."""
    server = Server(kind)
    async with server.client() as client:
        headers = await server.session(client, revision)
        response = await post(client, "tools/list", revision=revision, headers=headers)
    assert [tool["name"] for tool in rpc(response)["result"]["tools"]] == ["tagged", "annotated", "change"]


async def test_tags_that_nobody_lists_cannot_be_judged_and_the_tool_is_denied() -> None:
    """It is annotated as read-only, but whether it is "secret" is not known."""
    server = Server("mcp")
    async with server.client() as client:
        headers = await server.session(client, MODERN)
        assert await call(client, "silent", MODERN, headers) == "Unknown tool: silent"
    assert not server.ran


@pytest.mark.parametrize("kind", ["mcp", "fastmcp"])
async def test_a_tool_that_changes_with_notice_is_judged_anew_at_once(kind: Kind) -> None:
    """`notifications/tools/list_changed`, on whichever stream the server sends it."""
    server = Server(kind)

    def protected(url: str) -> ASGIApp:
        settings = edge_options(resource=f"{url}/mcp", policy=Policy.from_toml(POLICY))
        return McpAuthMiddleware(server.app(), **settings)

    async with served(protected) as url, httpx2.AsyncClient(base_url=url) as client:
        token = bearer(aud=f"{url}/mcp")
        headers = {**token, **await open_session(client, "2025-11-25", token)}
        listening = {**headers, "Accept": "text/event-stream"}
        async with client.stream("GET", "/mcp", headers=listening) as stream:
            assert await call(client, "tagged", "2025-11-25", headers) == "tagged"
            assert await call(client, "change", "2025-11-25", headers) == "changed"
            with anyio.fail_after(5):
                async for line in stream.aiter_lines():
                    if "list_changed" in line:
                        break
            assert await call(client, "tagged", "2025-11-25", headers) == "Unknown tool: tagged"
    assert server.ran == ["tagged"]


@pytest.mark.parametrize("kind", ["mcp", "fastmcp"])
async def test_a_tool_is_judged_by_what_its_own_server_says_of_it(kind: Kind) -> None:
    """Of two servers behind one middleware, the one's harmless tool vouches for no other of its name."""
    harmless, secretive = Server(kind), Server(kind)
    secretive.tags_of_tagged = ["secret"]
    apps = {"/a": harmless.app(), "/b": secretive.app()}
    both = Starlette(routes=[Mount(path, app) for path, app in apps.items()])
    options = edge_options(resource=LOOPBACK_RESOURCE, policy=Policy.from_toml(POLICY))
    guarded = McpAuthMiddleware(both, **options, endpoints=["/a/mcp", "/b/mcp"])
    async with lifespan(apps["/a"]), lifespan(apps["/b"]):
        for path, answer in [("/a", "tagged"), ("/b", "Unknown tool: tagged"), ("/a", "tagged")]:
            async with client_of(guarded, base_url=LOOPBACK + path) as client:
                assert await call(client, "tagged", MODERN, bearer(**AUD)) == answer
    assert (harmless.ran, secretive.ran) == (["tagged", "tagged"], [])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_tool_that_changes_without_notice_is_judged_anew_after_a_minute(kind: Kind) -> None:
    """What was learnt is not believed for ever."""
    server, clock = Server(kind), Clock()
    async with server.client(now=clock) as client:
        headers = await server.session(client, "2025-11-25")
        assert await call(client, "tagged", "2025-11-25", headers) == "tagged"
        assert await call(client, "change", "2025-11-25", headers) == "changed"
        clock.time += 61
        assert await call(client, "tagged", "2025-11-25", headers) == "Unknown tool: tagged"
    assert server.ran == ["tagged"]


async def test_another_version_of_a_tool_is_not_judged_by_the_one_that_is_listed() -> None:
    """FastMCP lists the newest version; `_meta.fastmcp.version` of a call runs another."""
    ran: list[str] = []
    server: FastMCP[Any] = FastMCP("versions")

    @server.tool(name="job", version="1", tags={"secret"})
    def old() -> str:
        ran.append("1")
        return "1"

    @server.tool(name="job", version="2", tags={"harmless"})
    def new() -> str:
        ran.append("2")
        return "2"

    assert all(map(callable, (old, new)))
    app = server.http_app()
    options = edge_options(resource=LOOPBACK_RESOURCE, policy=Policy.from_toml(POLICY))
    async with lifespan(app), client_of(McpAuthMiddleware(app, **options), base_url=LOOPBACK) as client:
        headers = {**bearer(**AUD), **await open_session(client, "2025-11-25", bearer(**AUD))}
        for version, answer in ((None, "2"), ("2", "2"), ("1", "Unknown tool: job")):
            params: dict[str, Any] = {"name": "job"}
            if version is not None:
                params["_meta"] = {"fastmcp": {"version": version}}
            response = await post(client, "tools/call", params, revision="2025-11-25", headers=headers)
            assert rpc(response)["result"]["content"][0]["text"] == answer
    assert ran == ["2", "2"]


Region = Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]


@asynccontextmanager
async def marked(ran: list[str], **options: Any) -> AsyncGenerator[httpx2.AsyncClient]:
    """A server with a tool whose argument travels in a header too."""
    server = MCPServer("marked")

    @server.tool()
    def query(region: Region, limit: int = 1) -> str:
        ran.append(region)
        return f"{region} {limit}"

    assert callable(query)
    app = server.streamable_http_app()
    policy = Policy.from_toml('version = 1\n[[rules]]\nid = "all"\nallow = { tools = ["query"] }')
    settings = edge_options(resource=LOOPBACK_RESOURCE, policy=policy, **options)
    async with lifespan(app), client_of(McpAuthMiddleware(app, **settings), base_url=LOOPBACK) as client:
        yield client


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Mcp-Param-Region": "us"}, 200),
        ({"Mcp-Param-Region": "=?base64?dXM=?="}, 200),
        ({"Mcp-Param-Region": "us", "Mcp-Param-Other": "x"}, 200),
        ({"Mcp-Param-Region": "eu"}, 400),
        ({}, 400),
    ],
)
async def test_a_mirrored_argument_must_be_the_one_in_the_body(headers: dict[str, str], status: int) -> None:
    """Once the list has passed through here, whatever the server behind checks itself."""
    ran: list[str] = []
    async with marked(ran) as client:
        await post(client, "tools/list", headers=bearer(**AUD))
        params = {"name": "query", "arguments": {"region": "us"}}
        response = await post(client, "tools/call", params, headers={**bearer(**AUD), **headers})
    assert response.status_code == status
    if status == 200:
        assert ran == ["us"]
    else:
        assert (rpc(response)["id"], rpc(response)["error"]["code"]) == (1, -32020)
        assert not ran


async def test_in_older_revisions_only_a_lie_is_refused() -> None:
    """Their clients send no such header."""
    ran: list[str] = []
    async with marked(ran) as client:
        session = {**bearer(**AUD), **await open_session(client, "2025-11-25", bearer(**AUD))}
        await post(client, "tools/list", revision="2025-11-25", headers=session)
        params = {"name": "query", "arguments": {"region": "us"}}
        plain = await post(client, "tools/call", params, revision="2025-11-25", headers=session)
        lying = await post(
            client, "tools/call", params, revision="2025-11-25", headers={**session, "Mcp-Param-Region": "eu"}
        )
    assert plain.status_code == 200
    assert lying.status_code == 400
    assert ran == ["us"]
