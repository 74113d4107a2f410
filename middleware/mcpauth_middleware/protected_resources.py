"""Several protected MCP servers in one application, each with its own metadata (RFC 9728 §3.1).

A metadata document lives at the root of the host, outside the path at which its server is mounted, so the
outermost application must answer for it. Everything else goes on to that application.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth_middleware.paths import request_paths
from mcpauth_middleware.protected_resource_metadata import WELL_KNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth_middleware.asgi import ASGIApp, Receive, Scope, Send
    from mcpauth_middleware.middleware import McpAuthMiddleware
    from mcpauth_middleware.protected_resource_metadata import ProtectedResourceMetadata


class ProtectedResources:
    """Serves the metadata of each of `servers`, in front of the application they are mounted in.

    The document without a path is served for a single server only: of several it could name the wrong one.

    Raises:
        ValueError: there is no server, or two claim the same document.
    """

    def __init__(self, app: ASGIApp, servers: Sequence[McpAuthMiddleware]) -> None:
        if not servers:
            raise ValueError("servers: name the protected servers that are mounted in the application")
        self._app = app
        self._documents: dict[str, ProtectedResourceMetadata] = {}
        for server in servers:
            metadata = server.metadata
            for path in metadata.paths - (
                {WELL_KNOWN} if len(servers) > 1 and len(metadata.paths) > 1 else set()
            ):
                if path in self._documents:
                    raise ValueError(f"servers: two of them have the resource of {path}; give each its own")
                self._documents[path] = metadata

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        metadata = self._documents.get(request_paths(scope)[1]) if scope["type"] == "http" else None
        if metadata is None:
            await self._app(scope, receive, send)
        else:
            await metadata.answer(scope["method"]).send(send, head=scope["method"] == "HEAD")
