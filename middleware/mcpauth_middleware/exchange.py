"""One HTTP request on its way through the middleware, and what becomes of its response (ASGI 3.0)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from mcpauth_middleware.body import replayed
from mcpauth_middleware.request_headers import RequestHeaders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth_middleware.asgi import Event, Headers, Receive, Scope, Send
    from mcpauth_middleware.audit.event import Intent
    from mcpauth_middleware.bearer import Scheme
    from mcpauth_middleware.limits import Debit, LimitState
    from mcpauth_middleware.message import Message
    from mcpauth_middleware.policy import Decision
    from mcpauth_middleware.policy.facts import ToolFacts
    from mcpauth_middleware.principal import Principal

_CLIENT_ERROR = 400
SESSION_ID = b"mcp-session-id"
OF_THE_BODY = frozenset(
    {b"content-length", b"transfer-encoding", b"content-md5", b"content-digest", b"digest"}
)


@dataclass(slots=True)
class Exchange:
    """A request, and what the steps so far have found out about it: what a refusal is recorded with."""

    scope: Scope
    receive: Receive
    send: Send
    headers: Headers
    sent: RequestHeaders
    """The headers as they came; `headers` are those that the application will see."""
    method: str
    started_at: float
    session: str | None = None
    """The id of the session that the request is of, in revisions that have sessions."""
    scheme: Scheme = "Bearer"
    """That of the Authorization header."""
    principal: Principal | None = None
    message: Message | None = None
    decision: Decision | None = None
    tool: ToolFacts | None = None
    """What the server says of the tool that is called."""
    counted: Sequence[tuple[Debit, LimitState | None]] = ()
    """Under which limits the message was counted, and what that left of each."""
    members: tuple[Exchange, ...] = ()
    """The exchanges of a batch's members: refused together, each is still recorded by itself."""

    @classmethod
    def of(cls, scope: Scope, receive: Receive, send: Send, *, started_at: float) -> Exchange:
        """The exchange of a fresh request."""
        headers = [(bytes(name).lower(), value) for name, value in scope["headers"]]
        sent = RequestHeaders(headers)
        exchange = cls(scope, receive, send, headers, sent, scope["method"], started_at)
        if session := sent.all(SESSION_ID):
            exchange.session = session[0].decode("latin-1")
        return exchange

    @property
    def address(self) -> str | None:
        """The address the request came from, as the server tells it."""
        client = self.scope.get("client")
        return client[0] if client else None

    def member(self, message: Message, body: bytes, send: Send) -> Exchange:
        """The exchange of one message of this request's batch, as if it had come alone."""
        headers = [(name, value) for name, value in self.headers if name not in OF_THE_BODY]
        headers.append((b"content-length", b"%d" % len(body)))
        return replace(self, send=send, headers=headers, message=message)


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may run. A stream or the end of a session (GET, DELETE) has no message."""

    principal: Principal
    message: Message | None = None
    body: bytes | None = None
    intent: Intent | None = None
    """The event by which it was announced to the journal."""
    must_be_readable: bool = False
    """Whether the answer is read here, so that it must not come compressed."""

    def receive(self, receive: Receive) -> Receive:
        """Where the application reads the request from."""
        return receive if self.body is None else replayed(self.body, receive)


class WatchedResponse:
    """A `send` that passes everything on as it comes and remembers how the response ended."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._complete = False
        self._broken = False
        self.status: int | None = None

    async def __call__(self, event: Event) -> None:
        """Pass one event on."""
        if event["type"] == "http.response.start":
            self.status = event["status"]
        try:
            await self._send(event)
        except Exception:
            self._broken = True  # the client is gone; the application did nothing wrong
            raise
        if event["type"] == "http.response.body" and not event.get("more_body", False):
            self._complete = True

    def result(self, *, raised: bool) -> Literal["ok", "error", "aborted"]:
        """How the call ended, once the application has returned or raised."""
        if raised and not self._broken:
            return "error"
        if not self._complete:
            return "aborted"
        return "ok" if self.status is not None and self.status < _CLIENT_ERROR else "error"
