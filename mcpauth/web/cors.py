"""Cross-origin access, Fetch Standard §3.2: for the endpoints that clients in a browser call themselves.

Any origin may: these endpoints never look at cookies, so another site gains nothing that it could not do from
its own server. Never for /authorize and the pages, which do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

# The SDKs send MCP-Protocol-Version even to the metadata. `*` does not cover Authorization.
ALLOWED_HEADERS = "Authorization, Content-Type, DPoP, MCP-Protocol-Version, *"
EXPOSED_HEADERS = "WWW-Authenticate, Retry-After, DPoP-Nonce"
PREFLIGHT_SECONDS = 7200  # the longest that Chromium keeps one


def any_origin_route(path: str, handler: Handler, *, methods: Sequence[str]) -> Route:
    """A route that pages of any origin may call, with its preflight."""

    async def answered(request: Request) -> Response:
        if request.method == "OPTIONS":
            return _preflight(methods)
        response = await handler(request)
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
        return response

    return Route(path, answered, methods=[*methods, "OPTIONS"])


def _preflight(methods: Sequence[str]) -> Response:
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }
    return Response(status_code=204, headers=headers)
