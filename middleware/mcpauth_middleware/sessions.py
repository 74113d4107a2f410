"""Sessions of Streamable HTTP (MCP 2025-03-26 to 2025-11-25, "Session Management"), bound to who opened them.

The id that a client gets carries a tag: a MAC over the server's own id and the principal. An id that
comes with another principal's token, or was never given out, reaches the server as one it does not know,
so that it answers as for any session that is gone. Nothing is stored, and it works with servers that bind
nothing themselves.

A stream is not resumed unless the operator says that the server keeps the streams of its sessions apart: the
MCP SDK names a stream by the id of its request, and its event stores would replay to one user what was sent
to another in a stream of the same name ("Resumability and Redelivery").
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import secrets
from functools import partial
from typing import TYPE_CHECKING

from mcpauth_middleware.exchange import SESSION_ID

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import Headers
    from mcpauth_middleware.exchange import Exchange
    from mcpauth_middleware.principal import Principal

MIN_KEY_BYTES = 16
LAST_EVENT_ID = b"last-event-id"

_TAG_BYTES = 16
_SEPARATOR = b"."
_logger = logging.getLogger(__name__)


class SessionBinding:
    """Tags session ids on their way to the client, and checks and removes the tags on their way back.

    Args:
        key: The MAC's; None: one that only this process has. Processes that share sessions must share it.
        resumable_streams: Whether `Last-Event-ID` reaches the application.

    Raises:
        ValueError: the key is too short.
    """

    def __init__(self, key: bytes | None = None, *, resumable_streams: bool = False) -> None:
        if key is not None and len(key) < MIN_KEY_BYTES:
            raise ValueError(f"session_key: needs at least {MIN_KEY_BYTES} random bytes")
        self._key = secrets.token_bytes(32) if key is None else key
        self._resumable_streams = resumable_streams
        self._has_warned = False

    def bind(self, exchange: Exchange, principal: Principal) -> None:
        """Let the application see its own id in the request, and the client see the tagged one."""
        if LAST_EVENT_ID in exchange.sent and not self._resumable_streams:
            exchange.headers = [header for header in exchange.headers if header[0] != LAST_EVENT_ID]
            self._warn()
        if exchange.session is not None:
            exchange.headers = [
                (name, self._own_id(value, principal) if name == SESSION_ID else value)
                for name, value in exchange.headers
            ]
            own = next(value for name, value in exchange.headers if name == SESSION_ID)
            exchange.session = own.decode("latin-1")
        exchange.changes.edits.append(partial(self._tag_all, principal))

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            _logger.warning(
                "A client asked for a stream to be resumed, and it is not. If the server's event store keeps"
                " the streams of each session apart, give McpAuthMiddleware resumable_streams=True"
            )

    def _own_id(self, presented: bytes, principal: Principal) -> bytes:
        tag, _, own = presented.partition(_SEPARATOR)
        expected = self._tag(own, principal)
        # On a mismatch: an id that no server has, since nobody else can make it.
        return own if hmac.compare_digest(tag, expected) else self._tag(presented, principal)

    def _tag_all(self, principal: Principal, headers: Headers) -> Headers:
        if SESSION_ID not in [name.lower() for name, _ in headers]:
            return headers
        return [
            (name, self._tag(value, principal) + _SEPARATOR + value if name.lower() == SESSION_ID else value)
            for name, value in headers
        ]

    def _tag(self, own: bytes, principal: Principal) -> bytes:
        who = json.dumps([principal.issuer, principal.subject, principal.client_id]).encode()
        mac = hmac.digest(self._key, who + b"\n" + own, "sha256")[:_TAG_BYTES]
        return base64.urlsafe_b64encode(mac).rstrip(b"=")
