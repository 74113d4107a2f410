"""The FastMCP servers (3, 4) of an application: each is made to ask before a tool of it uses another one.

FastMCP is used only where the application has loaded it: it is no dependency. The modules of this package
import it, and this one does not.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastmcp import FastMCP

    from mcpauth_middleware.asgi import ASGIApp, Scope

MAX_PARTS: Final = 10_000
"""How many parts of an application are looked at."""

_logger = logging.getLogger(__name__)


class FastMcpServers:
    """Finds them, and has them ask."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.are_known = False
        """Whether the first request has come: the servers that there are then are all that are looked for."""
        self._find(app)

    def look(self, scope: Scope) -> None:
        """Look once more: as the lifespan of the application begins, and as its first request does."""
        self.are_known = scope["type"] != "lifespan"
        self._find(self._app, scope.get("app"))

    def _find(self, *roots: object) -> None:
        # Whoever has such a server has loaded this module.
        if "fastmcp.server.server" not in sys.modules:
            return
        for server in _servers_in(roots):
            try:
                judge_calls_within(server)
            except ImportError as error:
                _logger.warning(
                    "What the tools of the FastMCP server %r use by themselves is not judged, since this"
                    " FastMCP is neither 3 nor 4 (%s). Let no tool there call others by a name it is given.",
                    server.name,
                    error,
                )
                return


def judge_calls_within(server: FastMCP[Any]) -> None:
    """Have a server ask before a tool of it uses other tools, resources or prompts.

    `McpAuthMiddleware` does so with the servers that it finds. A server is hidden from it behind an ASGI
    middleware that keeps what it wraps under another name than `app`. A second time it changes nothing.

    Raises:
        ImportError: this FastMCP is neither 3 nor 4.
    """
    from mcpauth_middleware.integrations.fastmcp.calls import AskBeforeUse

    AskBeforeUse.stand_in(server)


def _servers_in(roots: Sequence[object]) -> Iterator[FastMCP[Any]]:
    """Those of the application, its routes and mounts, and what ASGI middleware wraps."""
    from fastmcp import FastMCP

    waiting, seen = list(roots), set[int]()
    while waiting and len(seen) < MAX_PARTS:
        part = waiting.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        server = getattr(getattr(part, "state", None), "fastmcp_server", None)
        if isinstance(server, FastMCP):
            yield server
        waiting.append(getattr(part, "app", None))
        routes = getattr(part, "routes", None)
        if isinstance(routes, list):
            waiting.extend(cast("list[object]", routes))
