"""An ordinary FastMCP server, protected by `http_app(middleware=[...])` and a policy file.

`scripts/demo` runs it. By itself, `uvicorn examples.tasks_fastmcp:app --port 9402`, it takes tokens of the
issuer in MCPAUTH_ISSUER for the resource http://127.0.0.1:9402/mcp. Scopes are tasks:read and tasks:write.
"""

from __future__ import annotations

import os
from pathlib import Path

from fastmcp import FastMCP
from starlette.middleware import Middleware

from mcpauth_middleware import AuditJournal, McpAuthMiddleware, Policy, RateLimit

mcp = FastMCP("Tasks")
tasks = {"1": "Water the plants"}


@mcp.tool
def list_tasks() -> dict[str, str]:
    """All open tasks."""
    return tasks


@mcp.tool
def add_task(task: str) -> str:
    """Open a task."""
    tasks[str(len(tasks) + 1)] = task
    return "Added"


@mcp.tool
def drop_all_tasks() -> str:
    """Forget every task; the policy file denies it to everyone."""
    tasks.clear()
    return "Dropped"


app = mcp.http_app(
    middleware=[
        Middleware(
            McpAuthMiddleware,
            resource=os.environ.get("TASKS_RESOURCE", "http://127.0.0.1:9402/mcp"),
            authorization_servers=[os.environ.get("MCPAUTH_ISSUER", "http://127.0.0.1:9400")],
            policy=Policy.from_file(Path(__file__).with_name("tasks_policy.toml")),
            scopes_supported=["tasks:read"],
            limits=[RateLimit("5/minute", by=("user", "tool"), tools=("list_tasks",))],
            audit=AuditJournal(os.environ.get("TASKS_AUDIT", "-")),
        )
    ]
)
