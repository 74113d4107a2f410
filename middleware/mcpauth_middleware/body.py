"""The request body over ASGI: read once and capped, then handed on as the very bytes that were judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth_middleware.errors import ClientDisconnected, ContentTooLarge

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import Event, Receive
    from mcpauth_middleware.request_headers import RequestHeaders


async def read_body(receive: Receive, sent: RequestHeaders, *, limit: int) -> bytes:
    """The whole body.

    Raises:
        ContentTooLarge: it is longer than `limit`, as it says or as it comes.
        ClientDisconnected: it ended early.
    """
    for value in sent.all(b"content-length"):
        # More digits than any limit has: not worth parsing.
        if value.isdigit() and (len(value) > 18 or int(value) > limit):
            raise ContentTooLarge("body_size")
    chunks: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientDisconnected
        chunk: bytes = event.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise ContentTooLarge("body_size")
        chunks.append(chunk)
        if not event.get("more_body", False):
            return b"".join(chunks)


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body in one piece and then whatever the server has to say.

    An application that waits for the client to disconnect must wait on the server's own `receive`:
    told so too early, it gives up its answer.
    """
    first: list[Event] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Event:
        return first.pop() if first else await receive()

    return receive_again
