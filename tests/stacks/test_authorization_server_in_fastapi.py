"""The authorization server mounted in a FastAPI application, as docs/authorization-server.md says."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig

from tests.stacks.environments import python_of, search_path

# FastAPI is in an environment of its own; what the extra `server` installs comes from this one.
PROGRAM = """
import sys
sys.path.append(sys.argv[1])
import asyncio
import json
from contextlib import asynccontextmanager

import fastapi
import httpx2
from mcpauth import Resource, Scope, Settings, authorization_server

resource = Resource("https://example.com/mcp", "Notes", (Scope("notes:read", "Read your notes"),))
auth = authorization_server(Settings("https://example.com/auth", (resource,), database="memory:"))

@asynccontextmanager
async def lifespan(app):
    async with auth.running():
        yield

app = fastapi.FastAPI(lifespan=lifespan)

@app.get("/hello")
def hello():
    return "hello"

app.router.routes.extend(auth.well_known_routes)
app.mount("/auth", auth)

async def main():
    answers = {}
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://example.com") as http:
        answers["before"] = [(await http.get("/auth/jwks")).status_code]
        async with app.router.lifespan_context(app):
            for path in sys.argv[2:]:
                answer = await http.get(path)
                issuer = answer.json().get("issuer") if "well-known" in path else None
                answers[path] = [answer.status_code, issuer]
    print(json.dumps(answers))

asyncio.run(main())
"""
METADATA = (
    "/.well-known/oauth-authorization-server/auth",
    "/.well-known/openid-configuration/auth",
    "/auth/.well-known/openid-configuration",
)


def test_it_answers_where_it_is_mounted_and_at_the_root_of_the_host() -> None:
    """RFC 8414 §3.1."""
    paths = [*METADATA, "/hello", "/auth/jwks", "/auth/token", "/auth/nothing", "/token"]
    command = [python_of(".venv-mcp1"), "-c", PROGRAM, sysconfig.get_path("purelib"), *paths]
    ran = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": search_path()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "before": [503],
        **{path: [200, "https://example.com/auth"] for path in METADATA},
        "/hello": [200, None],
        "/auth/jwks": [200, None],
        "/auth/token": [405, None],
        "/auth/nothing": [404, None],
        "/token": [404, None],
    }
