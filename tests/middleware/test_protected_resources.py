"""Several protected servers under one application: each its own resource, metadata, tokens (RFC 9728)."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
from fastmcp import FastMCP
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from mcpauth_middleware import JwtVerifier, McpAuthMiddleware, Policy, ProtectedResources
from tests.middleware.edge_helpers import (
    ISSUER,
    LOOPBACK,
    Clock,
    IssuerServer,
    Journal,
    RecordingApp,
    bearer,
    client_of,
    edge_options,
    lifespan,
    post,
    protect,
    rpc,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

    from mcpauth_middleware.asgi import ASGIApp

pytestmark = pytest.mark.anyio

FILES, MAIL = f"{LOOPBACK}/files/mcp", f"{LOOPBACK}/mail/mcp"
WELL_KNOWN = "/.well-known/oauth-protected-resource"


class Two:
    """A server of the SDK's and one of FastMCP's, with a page beside them, as one application."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.journal = Journal()
        sdk, fastmcp = MCPServer("files"), FastMCP("mail")

        @sdk.tool()
        def read() -> str:
            self.ran.append("files")
            return "a file"

        @fastmcp.tool()
        def send() -> str:
            self.ran.append("mail")
            return "sent"

        files, mail = sdk.streamable_http_app(), fastmcp.http_app()
        self.files = self.protect(files, FILES, "read", "files:read")
        self.mail = self.protect(mail, MAIL, "send", "mail:send")

        @asynccontextmanager
        async def both(_app: Starlette) -> AsyncGenerator[None]:
            async with AsyncExitStack() as running:
                for each in (files, mail):
                    await running.enter_async_context(each.router.lifespan_context(each))
                yield

        async def page(_request: object) -> PlainTextResponse:
            return PlainTextResponse("hello")

        self.outer = Starlette(
            routes=[Mount("/files", self.files), Mount("/mail", self.mail), Route("/page", page)],
            lifespan=both,
        )
        self.app: ASGIApp = ProtectedResources(self.outer, [self.files, self.mail])

    def protect(self, app: ASGIApp, resource: str, tool: str, scope: str) -> McpAuthMiddleware:
        rule = (
            f'version = 1\n[[rules]]\nid = "{tool}"\nallow = {{ tools = ["{tool}"] }}\nscopes = ["{scope}"]\n'
        )
        clock = Clock()
        verifier = JwtVerifier(
            resource=resource, issuers=[ISSUER], http_client=IssuerServer().client(), now=clock
        )
        settings = edge_options(
            resource=resource,
            policy=Policy.from_toml(rule),
            audit=self.journal,
            verifier=verifier,
            now=clock,
        )
        return McpAuthMiddleware(app, **settings)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[httpx2.AsyncClient]:
        async with lifespan(self.outer), client_of(self.app, base_url=LOOPBACK) as client:
            yield client


@pytest.mark.parametrize(
    ("name", "resource", "scope"), [("files", FILES, "files:read"), ("mail", MAIL, "mail:send")]
)
async def test_each_server_has_its_own_challenge_and_metadata(name: str, resource: str, scope: str) -> None:
    """RFC 9728 §3.1: the path of the resource follows the well-known part."""
    async with Two().client() as client:
        challenged = await client.post(f"/{name}/mcp")
        metadata = await client.get(f"{WELL_KNOWN}/{name}/mcp")
        head = await client.head(f"{WELL_KNOWN}/{name}/mcp")
        asked = await client.options(f"{WELL_KNOWN}/{name}/mcp")

    assert challenged.status_code == 401
    assert f'resource_metadata="{LOOPBACK}{WELL_KNOWN}/{name}/mcp"' in challenged.headers["WWW-Authenticate"]
    assert f'scope="{scope}"' in challenged.headers["WWW-Authenticate"]
    assert metadata.json()["resource"] == resource
    assert metadata.json()["scopes_supported"] == [scope]
    assert (head.status_code, head.content) == (200, b"")
    assert asked.status_code == 204


async def test_of_several_servers_none_has_the_document_of_the_host() -> None:
    """It would name one resource for all of them; a client that asks for it goes on to the path form."""
    async with Two().client() as client:
        assert (await client.get(WELL_KNOWN)).status_code == 404
        assert (await client.get(f"{WELL_KNOWN}/other/mcp")).status_code == 404


async def test_a_token_is_good_for_its_own_server_only() -> None:
    """RFC 8707 §2: the audience is one resource."""
    two = Two()
    async with two.client() as client:
        for path, tool, own, other in (("files", "read", FILES, MAIL), ("mail", "send", MAIL, FILES)):
            call = partial(post, client, "tools/call", {"name": tool}, path=f"/{path}/mcp")
            refused = await call(headers=bearer(aud=other, scope="files:read mail:send"))
            assert refused.status_code == 401
            assert path not in two.ran
            called = await call(headers=bearer(aud=own, scope="files:read mail:send"))
            assert "error" not in rpc(called)
    assert two.ran == ["files", "mail"]


async def test_the_rest_of_the_application_is_left_alone() -> None:
    """Only the metadata is answered for; each mount protects itself."""
    async with Two().client() as client:
        assert (await client.get("/page")).text == "hello"


async def test_a_single_server_has_the_document_of_the_host_too() -> None:
    """There are clients that ask for nothing else."""
    server = protect(RecordingApp(), resource=FILES)
    async with client_of(ProtectedResources(RecordingApp(), [server]), base_url=LOOPBACK) as client:
        assert (await client.get(WELL_KNOWN)).json()["resource"] == FILES


def test_mistakes_are_told_when_it_is_built() -> None:
    """Two servers of one resource, or none."""
    with pytest.raises(ValueError, match="servers: name the protected servers"):
        ProtectedResources(RecordingApp(), [])
    twice = [protect(RecordingApp(), resource=FILES) for _ in range(2)]
    with pytest.raises(ValueError, match="servers: two of them have the resource"):
        ProtectedResources(RecordingApp(), twice)
