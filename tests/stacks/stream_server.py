"""An application whose answers are long streams, behind the middleware or bare.

STREAM_CONFIG='{...}' uvicorn --factory tests.stacks.stream_server:create_app
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

from mcpauth_middleware import AuditJournal, McpAuthMiddleware, Policy

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import ASGIApp, Receive, Scope, Send

EVENT_BYTES = 64 * 1024
FIRST = b"event: message\r\ndata: first\r\n\r\n"
POLICY = 'version = 1\n[[rules]]\nid = "a"\nallow = { tools = ["stream"] }\nscopes = ["files:read"]\n'


class Streams:
    """A POST is answered with many large events once `/release` was asked for, a GET with one small event.

    The GET stays open until the client leaves.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._released = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/release":
            self._released.set()
            await _start(send, b"text/plain")
            await send({"type": "http.response.body", "body": b""})
            return
        await _start(send, b"text/event-stream")
        await send({"type": "http.response.body", "body": FIRST, "more_body": True})
        if scope["method"] == "GET":
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await self._released.wait()
        event = b"event: message\r\ndata: " + b"x" * EVENT_BYTES + b"\r\n\r\n"
        for _ in range(self._size // EVENT_BYTES):
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _start(send: Send, content_type: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})


def create_app() -> ASGIApp:
    """The streams, protected or bare."""
    config: dict[str, Any] = json.loads(os.environ["STREAM_CONFIG"])
    streams = Streams(config["size"])
    if not config["protected"]:
        return streams
    return McpAuthMiddleware(
        streams,
        resource=config["resource"],
        authorization_servers=[config["issuer"]],
        policy=Policy.from_toml(POLICY),
        public_paths=["/release"],
        audit=AuditJournal(config["journal"]),
    )
