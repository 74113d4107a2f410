"""The shortest way to what clients ask for all the time: to the endpoint, past the framework's layers.

Those layers find the route and turn exceptions into pages. An `Endpoint` answers its errors
itself, and an exact path is found in a dictionary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from mcpauth.web.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.applications import Starlette
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send


class QuickRoutes:
    """In front of an application: the same answers, sooner. What is not quick goes its usual way."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._known: Sequence[BaseRoute] = ()
        self._quick: dict[tuple[str, str], ASGIApp] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find the endpoint, or ask the application."""
        routes = self._app.router.routes
        if routes is not self._known:
            # They come with the start of the application and go with its end.
            self._known, self._quick = routes, {} if self._app.user_middleware else _quick(routes)
        key = (scope.get("method", ""), scope.get("path", ""))
        quick = self._quick.get(key) if scope["type"] == "http" and not scope.get("root_path") else None
        await (quick or self._app)(scope, receive, send)


def _quick(routes: Sequence[BaseRoute]) -> dict[tuple[str, str], ASGIApp]:
    return {
        (method, route.path): route.app
        for route in routes
        if isinstance(route, Route) and isinstance(route.app, Endpoint) and not route.param_convertors
        for method in route.app.methods
    }
