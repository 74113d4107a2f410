"""`notifications/tools/list_changed` on its way to the client (MCP, Tools): what was learnt is forgotten."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth_middleware.asgi import Event, Send

# JSON may escape a slash. Where a text only speaks of it, too much is forgotten, which does no harm.
_CHANGED = re.compile(rb"notifications\\?/tools\\?/list_changed")
_OVERLAP = len(b"notifications\\/tools\\/list_changed") - 1


class ChangeWatch:
    """A `send` that passes everything on and calls `changed` when the server says that its tools did."""

    def __init__(self, send: Send, *, changed: Callable[[], None]) -> None:
        self._send = send
        self._changed = changed
        self._is_stream = False
        self._tail = b""

    async def __call__(self, event: Event) -> None:
        """Pass one event on."""
        if event["type"] == "http.response.start":
            self._is_stream = any(
                bytes(name).lower() == b"content-type" and b"event-stream" in bytes(value).lower()
                for name, value in event.get("headers", ())
            )
        elif self._is_stream and (chunk := event.get("body", b"")):
            self._look_at(chunk)
        await self._send(event)

    def _look_at(self, chunk: bytes) -> None:
        seen = self._tail + chunk
        if _CHANGED.search(seen):
            self._tail = b""
            self._changed()
        else:
            # The end of one chunk and the beginning of the next may be one name.
            self._tail = seen[-_OVERLAP:]
