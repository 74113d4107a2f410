"""Requests of the middleware's own to the application behind it: over ASGI 3.0, without a network.

Each is made for the principal of an exchange, in its revision and in its session, and the application
sees it like any other: with the principal, without the token.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio

from mcpauth_middleware.body import replayed
from mcpauth_middleware.collected import CollectedResponse
from mcpauth_middleware.exchange import OF_THE_BODY, Call
from mcpauth_middleware.forward import SignedIn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth_middleware.asgi import ASGIApp, Event, Headers
    from mcpauth_middleware.exchange import Exchange
    from mcpauth_middleware.principal import Principal

# What repeats the message of the exchange (MCP 2026-07-28, "Request Metadata").
_MIRRORED = (b"mcp-method", b"mcp-name", b"mcp-param-")


async def ask(
    app: ASGIApp,
    exchange: Exchange,
    principal: Principal,
    message: Mapping[str, Any],
    *,
    headers: Headers | None = None,
) -> CollectedResponse:
    """Send the application a message of our own; `headers` are added to those of the exchange."""
    body = json.dumps(message, separators=(",", ":")).encode()
    own = exchange.but(headers=[*_kept(exchange.headers, body), *(headers or ())])
    request_id = message.get("id") if "method" in message else None
    collected = CollectedResponse(request_id)
    done = anyio.Event()

    async def receive() -> Event:
        await done.wait()
        return {"type": "http.disconnect"}

    with SignedIn(own, Call(principal, body=body, must_be_readable=True)) as scope:
        try:
            await app(scope, replayed(body, receive), collected)
        finally:
            done.set()
    return collected


def _kept(headers: Headers, body: bytes) -> Headers:
    kept = [
        (name, value) for name, value in headers if name not in OF_THE_BODY and not name.startswith(_MIRRORED)
    ]
    return [*kept, (b"content-length", b"%d" % len(body))]
