"""Answers of the middleware's own, as plain ASGI events (ASGI 3.0, HTTP)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcpauth_middleware.asgi import Headers, Receive, Send

POLICY_VIOLATION = 1008
"""RFC 6455 §7.4.1."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete response. `document` None: no body."""

    status: int
    document: Mapping[str, Any] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    # What a refusal says is for this request only.
    cache_control: str = "no-store"

    async def send(self, send: Send, *, head: bool = False) -> None:
        """Send it; to a HEAD request without the body."""
        headers = [(b"cache-control", self.cache_control.encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in self.headers]
        await _send(send, self.status, headers, self.document, head=head)


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """The response to a batch of messages (JSON-RPC 2.0 §6). Without any answer in it: no body."""

    status: int
    documents: Sequence[Mapping[str, Any]]

    async def send(self, send: Send) -> None:
        """Send it."""
        await _send(send, self.status, [(b"cache-control", b"no-store")], self.documents or None)


async def _send(send: Send, status: int, headers: Headers, document: object, *, head: bool = False) -> None:
    body = b"" if document is None else json.dumps(document, separators=(",", ":")).encode()
    if document is not None:
        headers.append((b"content-type", b"application/json"))
    if status != 204:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body, "more_body": False})


async def refuse_websocket(receive: Receive, send: Send) -> None:
    """Deny the handshake. No revision of MCP uses websockets, so none could be checked message by message."""
    await receive()
    await send({"type": "websocket.close", "code": POLICY_VIOLATION})
