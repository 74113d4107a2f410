"""The JSON-RPC 2.0 response to one request, out of whichever form a server answers in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from mcpauth_middleware.message import strict_json
from mcpauth_middleware.message.events import EventSplitter, EventTooLargeError, event_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth_middleware.asgi import Event

MAX_RESPONSE_BYTES = 16 * 1024 * 1024

_CLIENT_ERROR = 400


class CollectedResponse:
    """An ASGI `send` that keeps the response to the request `request_id` and nothing else.

    What is larger than `max_bytes`, compressed or not strict JSON counts as no response. `asked` is told
    the id of every request that the server sends to the client on its way to the response: nobody else
    could answer it.
    """

    def __init__(
        self,
        request_id: str | int | None,
        *,
        max_bytes: int = MAX_RESPONSE_BYTES,
        asked: Callable[[str | int], None] | None = None,
    ) -> None:
        self._request_id = request_id
        self._max_bytes = max_bytes
        self._asked = asked
        self._events: EventSplitter | None = None
        self._document = bytearray()
        self._is_lost = False
        self.status: int | None = None
        self.response: dict[str, Any] | None = None
        self.size = 0
        """How many bytes were kept to read the response."""

    async def __call__(self, event: Event) -> None:
        """Take one event from the application."""
        if event["type"] == "http.response.start":
            self._begin(event)
        elif event["type"] == "http.response.body" and not self._is_lost:
            self._take(event.get("body", b""), is_last=not event.get("more_body", False))

    def _begin(self, event: Event) -> None:
        self.status = event["status"]
        headers = {bytes(name).lower(): bytes(value).lower() for name, value in event.get("headers", ())}
        self._is_lost = headers.get(b"content-encoding", b"identity").strip() not in (b"", b"identity")
        if headers.get(b"content-type", b"").partition(b";")[0].strip() == b"text/event-stream":
            self._events = EventSplitter(self._max_bytes)

    def _take(self, chunk: bytes, *, is_last: bool) -> None:
        if self._events is not None:
            self._take_events(self._events, chunk, is_last=is_last)
            return
        self._document += chunk
        if len(self._document) > self._max_bytes:
            self._lose()
        elif is_last and self._document:
            self._read(bytes(self._document))

    def _take_events(self, splitter: EventSplitter, chunk: bytes, *, is_last: bool) -> None:
        try:
            events = splitter.feed(chunk)
            if is_last:
                events.append(splitter.rest())
        except EventTooLargeError:
            self._lose()
            return
        for event in events:
            if data := event_data(event):
                self._read(data)

    def _lose(self) -> None:
        self._is_lost = True
        self._document.clear()

    def _read(self, document: bytes) -> None:
        try:
            value = strict_json.parse(document)
        except strict_json.StrictJsonError:
            return
        for message in cast("list[object]", value) if isinstance(value, list) else [value]:
            if isinstance(message, dict):
                self._consider(cast("dict[str, Any]", message), len(document))

    def _consider(self, message: dict[str, Any], size: int) -> None:
        sender = message.get("id")
        if "method" in message:
            if self._asked is not None and isinstance(sender, (str, int)):
                self._asked(sender)
        elif self.response is None and self._answers(message, sender):
            self.response = {**message, "id": self._request_id}
            self.size = size

    def _answers(self, message: dict[str, Any], sender: object) -> bool:
        if ("result" in message) == ("error" in message) or self._request_id is None:
            return False
        if type(sender) is type(self._request_id) and sender == self._request_id:
            return True
        # An error that came before the server knew the id: it has none, or a word of the server's own.
        return "error" in message and self.status is not None and self.status >= _CLIENT_ERROR
