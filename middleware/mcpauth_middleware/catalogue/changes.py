"""`notifications/tools/list_changed` on its way to the client (MCP, Tools): what was learnt is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from mcpauth_middleware.message import strict_json
from mcpauth_middleware.message.events import EVENT_END, event_data
from mcpauth_middleware.response_headers import is_event_stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcpauth_middleware.asgi import Event, Send

CHANGED: Final = "notifications/tools/list_changed"
LONGEST_EVENT: Final = 16 * 1024
"""A notification says nothing but that; what is longer is something else."""

# JSON may escape a slash.
_HINT: Final = b"list_changed"


class ChangeWatch:
    """A `send` that passes everything on and calls `changed` when the server says that its tools did.

    Only a message of its own says so, not a result that speaks of it: a tool may repeat what it was told.
    """

    def __init__(self, send: Send, *, changed: Callable[[], None]) -> None:
        self._send = send
        self._changed = changed
        self._is_stream = False
        self._event = bytearray()
        self._is_too_long = False

    def __call__(self, event: Event) -> Awaitable[None]:
        """Pass one event on."""
        if event["type"] == "http.response.start":
            self._is_stream = is_event_stream(event)
        elif self._is_stream and (chunk := event.get("body", b"")):
            self._look_at(chunk)
        return self._send(event)

    def _look_at(self, chunk: bytes) -> None:
        # What was searched before holds no end, but its last line end may be the first half of one.
        position = max(0, len(self._event) - 2)
        self._event += chunk
        while (end := EVENT_END.search(self._event, position)) is not None:
            if not self._is_too_long and end.end() <= LONGEST_EVENT:
                self._consider(bytes(self._event[: end.end()]))
            del self._event[: end.end()]
            position, self._is_too_long = 0, False
        if len(self._event) > LONGEST_EVENT:
            del self._event[:-2]
            self._is_too_long = True

    def _consider(self, event: bytes) -> None:
        if _HINT not in event:
            return
        try:
            value = strict_json.parse(event_data(event) or b"")
        except strict_json.StrictJsonError:
            return
        messages = cast("list[object]", value) if isinstance(value, list) else [value]
        if any(
            isinstance(one, dict) and cast("dict[str, object]", one).get("method") == CHANGED
            for one in messages
        ):
            self._changed()
