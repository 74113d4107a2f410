"""Every server that the middleware is shown to protect, as a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Era = Literal["handshake", "stateless"]
"""Of the revisions with `initialize` (2025-03-26 to 2025-11-25), or of 2026-07-28."""


@dataclass(frozen=True)
class Stack:
    """One server: which class of which package builds it, and with what options."""

    name: str
    environment: str
    module: str
    builds: str
    eras: tuple[Era, ...] = ("handshake",)
    constructor: dict[str, Any] = field(default_factory=dict[str, Any])
    app: str = "streamable_http_app"
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def has_sessions(self) -> bool:
        return not ({**self.constructor, **self.options}).get("stateless_http", False)


_SDK_1 = ("mcp.server.fastmcp", "FastMCP")
_SDK_2 = ("mcp.server.mcpserver", "MCPServer")
_FASTMCP = ("fastmcp", "FastMCP")
_BOTH: tuple[Era, ...] = ("handshake", "stateless")

STACKS = {
    stack.name: stack
    for stack in (
        Stack("mcp-1.26", ".venv-mcp126", *_SDK_1),
        Stack("mcp-1.30", ".venv-mcp1", *_SDK_1),
        Stack(
            "mcp-1.30-stateless",
            ".venv-mcp1",
            *_SDK_1,
            constructor={"stateless_http": True, "json_response": True},
        ),
        Stack("mcp-2", ".venv", *_SDK_2, eras=_BOTH),
        Stack("mcp-2-json", ".venv", *_SDK_2, eras=_BOTH, options={"json_response": True}),
        Stack("fastmcp-3", ".venv-mcp1", *_FASTMCP, app="http_app"),
        Stack("fastmcp-4", ".venv", *_FASTMCP, eras=_BOTH, app="http_app"),
    )
}

ERAS = [(name, era) for name, stack in STACKS.items() for era in stack.eras]
