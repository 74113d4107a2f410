"""What one connection may cost, RFC 6585 §5: 431 for a head without an end, and an end for what is too slow.

uvicorn has no bounds here: a connection that sends headers for ever fills the memory with many times what it
sends, one that asks without reading the answers does so too, and one that sends nothing is kept for ever. A
proxy in front bounds all of it; a server that is reached without one has to do it itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

MAX_HEAD_BYTES = 64 * 1024
"""Of a request line with its headers, of trailers, of the frame of a chunk."""
MAX_PIPELINED = 32
"""Requests that wait for the answers to earlier ones of their connection; browsers and proxies send none."""
WHOLE_WITHIN = 60.0
"""Seconds that a request may take to come in, and a connection to its first one."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedHttp(HttpToolsProtocol):
    """A connection of uvicorn's. All is looked at once a chunk, whose size the system bounds, so that a
    request costs no more than a few assignments.
    """

    _unread = 0
    """Bytes since the parser last had something whole: a head, a piece of a body, a request."""
    _begun_at: float | None = None
    """When the request that is coming in began, by the event loop's clock; None between two of them."""
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin to count."""
        super().connection_made(transport)
        self._begun_at = self.loop.time()
        self._timer = self.loop.call_later(WHOLE_WITHIN, self._end_if_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse it, and end the connection when nothing comes of it."""
        if self._begun_at is None:
            self._begun_at = self.loop.time()
        self._unread += len(data)
        super().data_received(data)
        if self._unread > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._unread = 0
        super().on_headers_complete()
        if len(self.pipeline) > MAX_PIPELINED:
            # No answer: it would be taken for that to an earlier request.
            self.pipeline.clear()
            self.transport.abort()

    def on_body(self, body: bytes) -> None:
        """A piece of a body is there."""
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._unread = 0
        self._begun_at = None
        super().on_message_complete()

    def _end_if_slow(self) -> None:
        if self._begun_at is not None and self.loop.time() - self._begun_at >= WHOLE_WITHIN:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(WHOLE_WITHIN, self._end_if_slow)
