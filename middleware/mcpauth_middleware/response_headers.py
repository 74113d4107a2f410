"""What the middleware changes in the header fields of a response (ASGI 3.0, HTTP connection scope)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcpauth_middleware.asgi import Event, Headers, Send


class HeaderChanges:
    """What will be changed in one response, noted until it begins, whoever gives it."""

    __slots__ = ("added", "edits")

    def __init__(self) -> None:
        self.edits: list[Callable[[Headers], Headers]] = []
        self.added: Headers = []

    def made_by(self, send: Send) -> Send:
        """A `send` that makes the changes."""

        def send_changed(event: Event) -> Awaitable[None]:
            if event["type"] == "http.response.start":
                headers: Headers = list(event.get("headers", ()))
                for edit in self.edits:
                    headers = edit(headers)
                event = {**event, "headers": headers + self.added}
            return send(event)

        return send_changed


def is_event_stream(start: Event) -> bool:
    """Whether a response is a stream of server-sent events."""
    for name, value in start.get("headers", ()):
        if name.lower() == b"content-type" and b"text/event-stream" in value.lower():
            return True
    return False
