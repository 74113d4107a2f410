"""The ways in which a protected server becomes part of a larger application."""

from __future__ import annotations

import importlib
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.routing import Mount

from mcpauth_middleware import ProtectedResources

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from mcpauth_middleware import McpAuthMiddleware
    from mcpauth_middleware.asgi import ASGIApp


def mounted(kind: str, protected: McpAuthMiddleware, plain: Starlette) -> ASGIApp:
    """The server below `/api` of a Starlette or FastAPI application, whose lifespan runs the server's."""
    if kind == "starlette":
        outer: Any = Starlette(routes=[Mount("/api", protected)], lifespan=lifespans(plain))
    else:
        outer = importlib.import_module("fastapi").FastAPI(lifespan=lifespans(plain))
        outer.mount("/api", protected)
    return ProtectedResources(outer, [protected])


def lifespans(*servers: Starlette) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """The lifespans of the servers that are mounted in it, which a mount by itself does not run."""

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncGenerator[None]:
        async with AsyncExitStack() as running:
            for server in servers:
                await running.enter_async_context(server.router.lifespan_context(server))
            yield

    return lifespan
