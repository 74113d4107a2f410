"""Cross-origin access, Fetch Standard §3.2: for the endpoints that clients in a browser call themselves.

Any origin may: these endpoints never look at cookies, so another site gains nothing that it could not do from
its own server. Never for /authorize and the pages, which do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

# The SDKs send MCP-Protocol-Version even to the metadata. `*` does not cover Authorization.
ALLOWED_HEADERS = "Authorization, Content-Type, DPoP, MCP-Protocol-Version, *"
EXPOSED_HEADERS = "WWW-Authenticate, Retry-After, DPoP-Nonce"
PREFLIGHT_SECONDS = 7200  # the longest that Chromium keeps one

_ALLOWED = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", EXPOSED_HEADERS.encode()),
)


def any_origin_route(path: str, handler: Handler, *, methods: Sequence[str]) -> Route:
    """A route that pages of any origin may call, with its preflight."""
    return Route(path, AnyOrigin(handler, methods), methods=[*methods, "OPTIONS"])


class AnyOrigin:
    """An ASGI application for one handler, which answers its errors itself."""

    def __init__(self, handler: Handler, methods: Sequence[str]) -> None:
        self._handler = handler
        self.methods = tuple(methods)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, also to a preflight."""
        if scope["method"] == "OPTIONS":
            response = _preflight(self.methods)
        else:
            response = await self._handler(Request(scope, receive, send))
            response.raw_headers += _ALLOWED
        await response(scope, receive, send)


def _preflight(methods: Sequence[str]) -> Response:
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }
    return Response(status_code=204, headers=headers)
