"""In front of an application of any framework: nothing of the MCP SDK or Starlette is needed, or loaded."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import asyncio, importlib, pkgutil, sys
import mcpauth_middleware

for module in pkgutil.walk_packages(mcpauth_middleware.__path__, "mcpauth_middleware."):
    if not module.name.startswith("mcpauth_middleware.integrations.fastmcp."):  # for FastMCP alone
        importlib.import_module(module.name)

from mcpauth_middleware import McpAuthMiddleware, Policy, Principal

class Verifier:
    async def verify(self, token):
        return Principal("https://as.example", "ada", "c", frozenset(), "https://rs.example", 2_000_000_000)

async def app(scope, receive, send):
    assert "user" not in scope
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["mcpauth.principal"].subject.encode()})

async def main():
    guarded = McpAuthMiddleware(
        app, resource="https://rs.example", authorization_servers=["https://as.example"], policy=Policy(),
        verifier=Verifier(),
    )
    headers = [(b"host", b"rs.example"), (b"authorization", b"Bearer x")]
    headers += [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    async def receive():
        return {"type": "http.request", "body": b'{"jsonrpc":"2.0","id":1,"method":"ping"}'}
    async def send(event):
        print(event.get("status") or event["body"].decode())
    await guarded(scope, receive, send)

asyncio.run(main())
print(sorted({"mcp", "fastmcp", "starlette", "pydantic", "authlib", "redis", "mcpauth"} & set(sys.modules)))
"""


def test_it_needs_no_framework() -> None:
    """The middleware's own dependencies are an HTTP client and PyJWT."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, check=False
    )

    assert ran.stdout.split("\n") == ["200", "ada", "[]", ""], ran.stderr
