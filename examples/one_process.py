"""The authorization server and the MCP server that it protects, in one process and on one port.

mcpauth users add alice --config examples/one_process.toml
python -m examples.one_process
"""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from mcp.server import MCPServer
from starlette.applications import Starlette
from starlette.routing import Mount

from mcpauth import WithoutQuery, authorization_server, load_settings
from mcpauth_middleware import McpAuthMiddleware, Policy, RateLimit, current_principal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

settings = load_settings(
    Path(os.environ.get("MCPAUTH_CONFIG", Path(__file__).parent / "one_process.toml")), os.environ
)
auth = authorization_server(settings)

mcp = MCPServer("Notes")
policy = Policy(scopes={"notes:write": ["notes:read"]})
notes: dict[str, list[str]] = {}


@mcp.tool()
@policy.requires("notes:read")
def search_notes(word: str) -> list[str]:
    """Your notes that contain a word."""
    return [note for note in notes.get(current_principal().subject, []) if word.casefold() in note.casefold()]


@mcp.tool()
@policy.requires("notes:write")
def add_note(text: str) -> str:
    """Keep a note."""
    notes.setdefault(current_principal().subject, []).append(text)
    return "Kept"


@mcp.tool()
def erase_everything() -> str:
    """Nobody declared who may call this, so nobody can."""
    notes.clear()
    return "Gone"


mcp_app = mcp.streamable_http_app()
protected = McpAuthMiddleware(
    mcp_app,
    resource=settings.resources[0].identifier,
    authorization_servers=[settings.issuer],
    policy=policy,
    scopes_supported=["notes:read"],
    limits=[RateLimit("5/minute", by=("user", "tool"), tools=("search_notes",))],
    # The keys and the revocations come from `auth` itself, without a way through the network.
    http_client=auth.http_client(),
)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
    """What is mounted does not run its own."""
    async with auth.running(), mcp_app.router.lifespan_context(mcp_app):
        yield


app = Starlette(
    routes=[*auth.well_known_routes, Mount(settings.path, auth), Mount("/", protected)], lifespan=lifespan
)
# Requests to the authorization server carry what should not be in a log.
logging.getLogger("uvicorn.access").addFilter(WithoutQuery())

if __name__ == "__main__":
    # Whose X-Forwarded-For is believed is for `trusted_proxies` of the settings; uvicorn believes loopback.
    uvicorn.run(app, host=settings.host, port=settings.port, proxy_headers=False, timeout_graceful_shutdown=5)
