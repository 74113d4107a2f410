"""One handler as an ASGI application: for endpoints that answer their errors themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


def endpoint_route(path: str, handler: Handler, *, methods: Sequence[str]) -> Route:
    """A route that no page of another origin may call."""
    return Route(path, Endpoint(handler, methods), methods=list(methods))


class Endpoint:
    """Answers requests with these methods."""

    def __init__(self, handler: Handler, methods: Sequence[str]) -> None:
        self.handler = handler
        self.methods = tuple(methods)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        response = await self.handler(Request(scope, receive, send))
        await response(scope, receive, send)
