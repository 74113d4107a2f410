"""An ordinary server built with the `mcp` SDK, protected by five lines at the end.

`scripts/demo` runs it. By itself, `uvicorn examples.notes_sdk:app --port 9401`, it takes tokens of the issuer
in MCPAUTH_ISSUER for the resource http://127.0.0.1:9401/mcp with the scopes notes:read and notes:write.
"""

from __future__ import annotations

import os

from mcp.server import MCPServer

from mcpauth_middleware import AuditJournal, McpAuthMiddleware, Policy, RateLimit, current_principal

mcp = MCPServer("Notes")
policy = Policy(scopes={"notes:write": ["notes:read"]})
notes = ["Buy bread", "Call the plumber"]


@mcp.tool()
@policy.requires("notes:read")
def list_notes() -> list[str]:
    """All notes."""
    return notes


@mcp.tool()
@policy.requires("notes:read")
def search_notes(word: str) -> list[str]:
    """The notes that contain a word."""
    return [note for note in notes if word.casefold() in note.casefold()]


@mcp.tool()
@policy.requires("notes:write")
def add_note(text: str) -> str:
    """Keep a note."""
    notes.append(text)
    return f"Kept for {current_principal().subject}"


@mcp.tool()
def erase_everything() -> str:
    """Nobody declared who may call this, so nobody can."""
    notes.clear()
    return "Gone"


app = McpAuthMiddleware(
    mcp.streamable_http_app(),
    resource=os.environ.get("NOTES_RESOURCE", "http://127.0.0.1:9401/mcp"),
    authorization_servers=[os.environ.get("MCPAUTH_ISSUER", "http://127.0.0.1:9400")],
    policy=policy,
    # The rest is optional: what a new client asks for first, how often it may, and where all is written down.
    scopes_supported=["notes:read"],
    limits=[RateLimit("5/minute", by=("user", "tool"), tools=("search_notes",))],
    audit=AuditJournal(os.environ.get("NOTES_AUDIT", "-")),
)
