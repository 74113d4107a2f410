"""Cross-origin access, Fetch Standard §3.2: for the endpoints that clients in a browser call themselves.

Any origin may: these endpoints never look at cookies, so another site gains nothing that it could not do from
its own server. Never for /authorize and the pages, which do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcpauth.web.endpoint import Endpoint, Handler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Receive, Scope, Send

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


class AnyOrigin(Endpoint):
    """Answers pages of any origin, too."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, also to a preflight."""
        if scope["method"] == "OPTIONS":
            response = _preflight(self.methods)
        else:
            response = await self.handler(Request(scope, receive, send))
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
