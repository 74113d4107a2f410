"""A real server's streams: what ends with a token can be opened again with the next one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from mcp.server.mcpserver import MCPServer

from mcpauth_middleware import JwtVerifier, McpAuthMiddleware, Policy
from tests.middleware.edge_helpers import (
    ISSUER,
    NOW,
    POLICY,
    Clock,
    IssuerServer,
    Journal,
    bearer,
    message,
    open_session,
    served,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mcpauth_middleware.asgi import ASGIApp

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def server(clock: Clock) -> AsyncGenerator[tuple[httpx2.AsyncClient, str]]:
    """A server of the SDK behind the middleware, over real HTTP."""

    def app(url: str) -> ASGIApp:
        resource = f"{url}/mcp"
        return McpAuthMiddleware(
            MCPServer("demo").streamable_http_app(),
            resource=resource,
            authorization_servers=[ISSUER],
            policy=Policy.from_toml(POLICY),
            audit=Journal(),
            verifier=JwtVerifier(
                resource=resource, issuers=[ISSUER], http_client=IssuerServer().client(), now=clock
            ),
            now=clock,
        )

    async with served(app) as url, httpx2.AsyncClient(base_url=url, timeout=10) as client:
        yield client, f"{url}/mcp"


async def read_to_the_end(response: httpx2.Response) -> None:
    async for _ in response.aiter_bytes():
        pass


async def test_a_sessions_stream_ends_with_its_token_and_opens_again_with_the_next() -> None:
    """Revisions before 2026-07-28: one GET stream a session; a broken one would block its place."""
    clock = Clock()
    async with server(clock) as (client, resource):
        first = bearer(aud=resource)
        session = await open_session(client, "2025-11-25", first)
        headers = {"Accept": "text/event-stream", "MCP-Protocol-Version": "2025-11-25", **session}

        with anyio.fail_after(10):
            async with client.stream("GET", "/mcp", headers={**headers, **first}) as response:
                assert response.status_code == 200
                clock.time = NOW + 600
                await read_to_the_end(response)
            assert (await client.get("/mcp", headers={**headers, **first})).status_code == 401

            later = bearer(aud=resource, exp=NOW + 1200)
            async with client.stream("GET", "/mcp", headers={**headers, **later}) as response:
                assert response.status_code == 200
                clock.time = NOW + 1200
                await read_to_the_end(response)


async def test_a_subscription_of_the_newest_revision_ends_with_its_token() -> None:
    """MCP 2026-07-28, `subscriptions/listen`."""
    clock = Clock()
    async with server(clock) as (client, resource):
        params: dict[str, Any] = {"notifications": {"toolsListChanged": True}}
        headers, body = message("subscriptions/listen", params)

        with anyio.fail_after(10):
            async with client.stream(
                "POST", "/mcp", headers={**headers, **bearer(aud=resource)}, content=body
            ) as response:
                assert response.status_code == 200, await response.aread()
                assert response.headers["Content-Type"].startswith("text/event-stream")
                clock.time = NOW + 600
                await read_to_the_end(response)
