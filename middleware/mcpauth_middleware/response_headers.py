"""What the middleware changes in the header fields of a response (ASGI 3.0, HTTP connection scope)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mcpauth_middleware.asgi import Event, Headers, Send

    Edit = Callable[[Headers], Headers]


def adding(fields: Headers) -> Edit:
    """The change that adds these fields."""
    return partial(_add, fields)


def edited(send: Send, edits: Sequence[Edit]) -> Send:
    """A `send` that makes the changes, those also that are noted later, in the answer, whoever gives it."""

    def send_edited(event: Event) -> Awaitable[None]:
        if event["type"] == "http.response.start" and edits:
            headers: Headers = list(event.get("headers", ()))
            for edit in edits:
                headers = edit(headers)
            event = {**event, "headers": headers}
        return send(event)

    return send_edited


def is_event_stream(start: Event) -> bool:
    """Whether a response is a stream of server-sent events."""
    for name, value in start.get("headers", ()):
        if name.lower() == b"content-type" and b"text/event-stream" in value.lower():
            return True
    return False


def _add(fields: Headers, headers: Headers) -> Headers:
    return [*headers, *fields]
