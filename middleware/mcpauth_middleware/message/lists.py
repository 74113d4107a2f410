"""List results on their way to the client: what the principal may not use, it does not see.

Everything else passes as it is: an event or a body in which nothing is hidden keeps its bytes. What
ought to be filtered and cannot be read (compressed, broken, too large) is replaced by a JSON-RPC error,
never passed on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from mcpauth_middleware.message.events import (
    MAX_EVENT_BYTES,
    EventPieces,
    event_data,
    with_event_data,
)
from mcpauth_middleware.message.list_results import Visible, filter_document, may_hold_list
from mcpauth_middleware.message.list_results import list_item_target as list_item_target
from mcpauth_middleware.message.refusal import INTERNAL_ERROR
from mcpauth_middleware.message.strict_json import StrictJsonError

if TYPE_CHECKING:
    from mcpauth_middleware.message.target import ListKind

ASGIMessage = MutableMapping[str, Any]
Send = Callable[[ASGIMessage], Awaitable[None]]
_Headers = list[tuple[bytes, bytes]]

_LONGEST_SIGN = len('"resourceTemplates"')

logger = logging.getLogger(__name__)

# They speak of the bytes that the filter may change.
_ABOUT_THE_BODY = frozenset(
    {b"content-length", b"content-md5", b"content-digest", b"repr-digest", b"digest", b"etag"}
)


class ListFilter:
    """Wraps `send` of one exchange; an instance is itself the `send` to hand to the application.

    `lists` is the kind of list a POST asked for, None where it asked for something else: a server of the
    revisions with sessions may answer by a list all the same, since it finds the response to an answer by the
    id of the request alone, and a client can use one twice. With `stream`, the exchange is a GET stream of
    such a revision, which can carry any message. What is no list passes as it is, however large it is.

    `visible(kind, item)` is asked with the kind of list ("tools", "prompts", "resources",
    "resourceTemplates") and the entry; `list_item_target` turns the two into a `Target`. Entries without
    a name are hidden without asking.
    """

    def __init__(
        self,
        send: Send,
        *,
        visible: Visible,
        lists: ListKind | None,
        stream: bool,
        request_id: str | int | None = None,
        max_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self._send = send
        self._visible = visible
        self._lists = lists
        self._stream = stream
        self._request_id = request_id
        self._max_bytes = max_bytes
        self._events = EventPieces(max_bytes)
        self._start: ASGIMessage = {}
        self._body = bytearray()
        self._end_of_part = b""
        self._take: Callable[[ASGIMessage], Awaitable[None]] = self._take_start

    async def __call__(self, message: ASGIMessage) -> None:
        """Take one ASGI message from the application."""
        await self._take(message)

    async def _take_start(self, message: ASGIMessage) -> None:
        if message["type"] != "http.response.start":
            return
        headers: _Headers = list(message.get("headers", ()))
        self._start = message
        if not _is_success(message):
            # Clients look for results in successes only.
            self._take = self._send
            await self._send(message)
        elif _header(headers, b"content-encoding") not in (b"", b"identity"):
            await self._withhold("it is compressed")
        elif _header(headers, b"content-type").partition(b";")[0].strip() == b"text/event-stream":
            self._take = self._take_events
            await self._send({**message, "headers": _without_body_headers(headers)})
        else:
            self._take = self._take_document

    async def _take_document(self, message: ASGIMessage) -> None:
        if message["type"] != "http.response.body":
            await self._withhold("it is not sent as a body")
            return
        self._body += message.get("body", b"")
        if len(self._body) > self._max_bytes:
            await self._take_large_document(message)
        elif not message.get("more_body", False):
            await self._send_document()

    async def _take_large_document(self, message: ASGIMessage) -> None:
        if self._may_hold_list(self._body):
            await self._withhold("it is too large")
            return
        self._take = self._take_rest_of_document
        body = bytes(self._body)
        self._body.clear()
        # It may end early, and then it is shorter than announced.
        headers = _without_body_headers(list(self._start.get("headers", ())))
        await self._send({**self._start, "headers": headers})
        await self._take_rest_of_document({**message, "body": body})

    async def _take_rest_of_document(self, message: ASGIMessage) -> None:
        if message["type"] != "http.response.body":
            return
        if not self._goes_on_without_list(message.get("body", b"")):
            self._log("it is too large")
            self._take = self._discard
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _send_document(self) -> None:
        document = bytes(self._body)
        try:
            filtered = filter_document(document, self._visible) if self._may_hold_list(document) else document
        except StrictJsonError as error:
            await self._withhold(str(error))
            return
        self._take = self._discard
        headers: _Headers = list(self._start.get("headers", ()))
        if filtered is not document:
            headers = [*_without_body_headers(headers), (b"content-length", b"%d" % len(filtered))]
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": filtered})

    async def _take_events(self, message: ASGIMessage) -> None:
        if message["type"] != "http.response.body":
            return
        more = message.get("more_body", False)
        pieces = self._events.feed(message.get("body", b""))
        if not more:
            pieces.append(self._events.rest())
        out: list[bytes] = []
        for piece in pieces:
            if piece.is_whole:
                out.append(self._filter_event(piece.text))
            elif self._lists is None and self._goes_on_without_list(piece.text):
                out.append(piece.text)
            else:
                await self._end_events(b"".join(out))
                return
        if any(out) or not more:
            await self._send({"type": "http.response.body", "body": b"".join(out), "more_body": more})

    async def _end_events(self, before: bytes) -> None:
        self._log("an event is too large")
        self._take = self._discard
        # After a blank line, or the error would be more data of the event that has begun.
        last = b"" if self._stream else b"\r\n\r\nevent: message\r\ndata: " + self._error() + b"\r\n\r\n"
        await self._send({"type": "http.response.body", "body": before + last})

    def _filter_event(self, event: bytes) -> bytes:
        data = event_data(event)
        if data is None or not self._may_hold_list(data):
            return event
        try:
            filtered = filter_document(data, self._visible)
        except StrictJsonError as error:
            self._log(str(error))
            return with_event_data(event, b"" if self._stream else self._error())
        return event if filtered is data else with_event_data(event, filtered)

    def _may_hold_list(self, document: bytes | bytearray) -> bool:
        # Nothing but a list is expected where one was asked for; an empty event only names an id.
        return bool(document) and (self._lists is not None or may_hold_list(document))

    def _goes_on_without_list(self, part: bytes) -> bool:
        """Whether no list shows in the next part of what is too large to be read."""
        text = self._end_of_part + part
        self._end_of_part = text[-_LONGEST_SIGN:]
        return not may_hold_list(text)

    async def _withhold(self, reason: str) -> None:
        self._log(reason)
        self._take = self._discard
        # For a POST in the status of a JSON-RPC error: older clients end their session on any other.
        status = HTTPStatus.BAD_GATEWAY if self._stream else HTTPStatus.OK
        body = self._error()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self._send({"type": "http.response.start", "status": int(status), "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def _discard(self, _message: ASGIMessage) -> None:
        """The exchange is over for the client, whatever the application still has to say."""

    def _error(self) -> bytes:
        error = {"code": INTERNAL_ERROR, "message": "The list could not be filtered for this caller"}
        return json.dumps({"jsonrpc": "2.0", "id": self._request_id, "error": error}).encode()

    def _log(self, reason: str) -> None:
        logger.warning("a list result could not be filtered and was withheld: %s", reason)


def _is_success(start: ASGIMessage) -> bool:
    status: int = start["status"]
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _header(headers: _Headers, name: bytes) -> bytes:
    # Joined, so that a second copy cannot hide behind the first.
    return b",".join(value for key, value in headers if key.lower() == name).strip().lower()


def _without_body_headers(headers: _Headers) -> _Headers:
    return [(name, value) for name, value in headers if name.lower() not in _ABOUT_THE_BODY]
