"""Where MCP is spoken: any other route of the application runs for nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastmcp import FastMCP
from mcp.server.mcpserver import MCPServer
from starlette.responses import JSONResponse

from tests.middleware.edge_helpers import (
    Journal,
    RecordingApp,
    bearer,
    client_of,
    lifespan,
    post,
    protect,
    rpc,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:fastmcp.*"),
]

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping", "user": "ada"}


@pytest.mark.parametrize("make", [MCPServer, FastMCP], ids=["mcp 2.x", "FastMCP 4"])
async def test_a_route_beside_the_endpoint_runs_for_nobody(make: Callable[[str], Any]) -> None:
    """RFC 8707 §2: the token is for the resource. No rule speaks of a route, so none allows it; nor does a
    message of MCP that anybody may send open a route that reads it as something else.
    """
    server, journal, ran = make("s"), Journal(), list[str]()

    async def users(request: Request) -> JSONResponse:
        ran.append(request.method)
        return JSONResponse(["ada"])

    server.custom_route("/users", methods=["GET", "POST", "DELETE"])(users)
    plain = server.http_app() if make is FastMCP else server.streamable_http_app(host="rs.example")
    async with lifespan(plain), client_of(protect(plain, audit=journal)) as client:
        asked = [("GET", None), ("HEAD", None), ("DELETE", PING), ("POST", PING)]
        for method, body in asked:
            answer = await client.request(method, "/users", json=body, headers=bearer())
            assert answer.status_code == 404
        without_token = await client.get("/users")
        listed = await post(client, "tools/list")

    assert without_token.status_code == 401
    assert "result" in rpc(listed)
    assert ran == []
    assert [event["reason"] for event in journal.events[:4]] == ["path"] * 4


@pytest.mark.parametrize(
    ("resource", "path", "reached"),
    [
        ("https://rs.example/mcp", "/mcp", True),
        ("https://rs.example/mcp", "/mcp/", True),
        ("https://rs.example/mcp", "/mcp/files", True),
        ("https://rs.example/mcp", "/mcp/.files", True),
        ("https://rs.example/mcp", "/mcp/%2E%2E/users", False),
        ("https://rs.example/mcp", "/mcp/files/%2E%2E", False),
        ("https://rs.example/mcp", "/mcps", False),
        ("https://rs.example/mcp", "/MCP", False),
        ("https://rs.example/mcp", "/other/mcp", False),
        ("https://rs.example/a%20b/mcp", "/a%20b/mcp", True),
        ("https://rs.example/api/mcp", "/mcp", True),
        ("https://rs.example/api/mcp", "/", True),
        ("https://rs.example/api/mcp", "/api", False),
        ("https://rs.example", "/anything", True),
        ("https://rs.example", "/%2E%2E/anything", False),
        ("https://rs.example/mcp", "/sse", True),
        ("https://rs.example/mcp", "/sse/", False),
    ],
)
async def test_the_endpoint_is_the_path_of_the_resource_and_below(
    resource: str, path: str, *, reached: bool
) -> None:
    """Or its end, where a proxy takes a prefix off; others are named. A dot segment leads out of it (RFC 3986
    §5.2.4), for an application that passes requests on.
    """
    app = RecordingApp()
    async with client_of(protect(app, resource=resource, endpoints=["/sse"])) as client:
        answer = await client.get(path, headers=bearer(aud=resource))

    assert answer.status_code == (200 if reached else 404)
    assert len(app.scopes) == reached


def test_an_endpoint_that_is_no_path_stops_the_start() -> None:
    """As every wrong option."""
    for path in ("sse", "/sse*", "/{tenant}/sse"):
        with pytest.raises(ValueError, match=r'^endpoints: each is one exact path such as "/sse"'):
            protect(RecordingApp(), endpoints=[path])
    with pytest.raises(ValueError, match=r"^endpoints: give a list, \['/sse'\]"):
        protect(RecordingApp(), endpoints="/sse")
