"""Asks an application of the same process without the network, and everybody else over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from starlette.types import ASGIApp


class InProcessTransport(httpx2.AsyncBaseTransport):
    """What is for `origin` goes to the application. Nothing of the network is opened before it is needed."""

    def __init__(self, app: ASGIApp, origin: str) -> None:
        self._origin = _origin(httpx2.URL(origin))
        # An error inside is answered by the application like any other, not raised here.
        self._inside = httpx2.ASGITransport(app, raise_app_exceptions=False)
        self._outside: httpx2.AsyncHTTPTransport | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer of the application, or of whoever else was asked."""
        if _origin(request.url) == self._origin:
            return await self._inside.handle_async_request(request)
        if self._outside is None:
            self._outside = httpx2.AsyncHTTPTransport()
        return await self._outside.handle_async_request(request)

    async def aclose(self) -> None:
        """Close what was opened."""
        if self._outside is not None:
            await self._outside.aclose()


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    # A default port is None, written or not.
    return url.scheme, url.host, url.port
