"""One HTTP request on its way through the middleware, and what becomes of its response (ASGI 3.0)."""

from __future__ import annotations

from copy import copy
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from mcpauth_middleware.body import replayed
from mcpauth_middleware.catalogue.changes import ChangeWatch
from mcpauth_middleware.request_headers import RequestHeaders
from mcpauth_middleware.response_headers import HeaderChanges, is_event_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcpauth_middleware.asgi import Event, Headers, Receive, Scope, Send
    from mcpauth_middleware.audit.event import Intent
    from mcpauth_middleware.bearer import Scheme
    from mcpauth_middleware.catalogue.definition import ToolDefinition
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


class Exchange:
    """A request, and what the steps so far have found out about it: what a refusal is recorded with."""

    is_at_endpoint = False
    """Whether its path is one at which MCP is spoken."""
    session: str | None = None
    """The id of the session that the request is of, in revisions that have sessions."""
    scheme: Scheme = "Bearer"
    """That of the Authorization header."""
    principal: Principal | None = None
    about_message: Mapping[str, str] = MappingProxyType({})
    """The headers that say what a message is that came alone."""
    message: Message | None = None
    decision: Decision | None = None
    definition: ToolDefinition | None = None
    """What the server says of the tool that is called."""
    debits: Sequence[Debit] = ()
    """What the message was counted under."""
    limit_states: Sequence[LimitState] = ()
    """What that left of each."""
    outer: str | None = None
    """The call within which the server does this by itself."""
    members: tuple[Exchange, ...] = ()
    """The exchanges of a batch's members: refused together, each is still recorded by itself."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, started_at: float) -> None:
        self.scope = scope
        self.receive = receive
        self.changes = HeaderChanges()
        """What `send` changes in the answer."""
        self.send = self.changes.made_by(send)
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.started_at = started_at
        client = scope.get("client")
        self.address: str | None = client[0] if client else None
        """The address the request came from, as the server tells it."""
        self.sent = RequestHeaders(scope["headers"])
        """The headers as they came; `headers` are those that the application will see."""
        self.headers = self.sent.fields
        if session := self.sent.all(SESSION_ID):
            self.session = session[0].decode("latin-1")

    def but(self, *, headers: Headers | None = None, message: Message | None = None) -> Exchange:
        """The same with other headers or another message, whose answer is another one."""
        other = copy(self)
        other.headers = self.headers if headers is None else headers
        other.message = message
        other.changes = HeaderChanges()
        return other

    def within(self, call: str) -> Exchange:
        """The exchange of what the server does by itself while it runs this call: no message came for it."""
        inner = self.but(headers=[])
        inner.outer = call
        inner.about_message = Exchange.about_message
        inner.decision, inner.definition = None, None
        inner.debits, inner.limit_states = (), ()
        return inner

    @property
    def counted(self) -> list[tuple[Debit, LimitState | None]]:
        """Under which limits the message was counted, and what that left of each, where the limiter tells."""
        if len(self.limit_states) != len(self.debits):
            return [(debit, None) for debit in self.debits]
        return list(zip(self.debits, self.limit_states, strict=True))

    @property
    def tool(self) -> ToolFacts | None:
        """What a policy may know of the tool that is called."""
        return None if self.definition is None else self.definition.facts

    def member(self, message: Message, body: bytes) -> Exchange:
        """The exchange of one message of this request's batch, as if it had come alone."""
        headers = [(name, value) for name, value in self.headers if name not in OF_THE_BODY]
        headers.append((b"content-length", b"%d" % len(body)))
        return self.but(headers=headers, message=message)


class Call(NamedTuple):
    """A request that may run. A stream or the end of a session (GET, DELETE) has no message."""

    principal: Principal
    message: Message | None = None
    body: bytes | None = None
    intent: Intent | None = None
    """The event by which it was announced to the journal."""
    must_be_readable: bool = False
    """Whether the answer is read here, so that it must not come compressed."""

    def may_bring_list(self, method: str) -> bool:
        """Whether a list may come in the answer: where it is asked for, and anywhere in a session."""
        if self.message is None:
            return method == "GET"
        return self.message.lists is not None or (self.message.kind == "request" and not self.message.modern)

    def receive(self, receive: Receive) -> Receive:
        """Where the application reads the request from."""
        return receive if self.body is None else replayed(self.body, receive)


class WatchedResponse:
    """A `send` that passes everything on as it comes and remembers how the response ended.

    `changed` is called when the server says in an event stream that its tools have changed.
    """

    __slots__ = ("_broken", "_changed", "_complete", "_send", "status")

    def __init__(self, send: Send, *, changed: Callable[[], None]) -> None:
        self._send = send
        self._changed = changed
        self._complete = False
        self._broken = False
        self.status: int | None = None

    async def __call__(self, event: Event) -> None:
        """Pass one event on."""
        kind = event["type"]
        if kind == "http.response.start":
            self.status = event["status"]
            if is_event_stream(event):
                self._send = ChangeWatch(self._send, changed=self._changed)
        try:
            await self._send(event)
        except Exception:
            self._broken = True  # the client is gone; the application did nothing wrong
            raise
        if kind == "http.response.body" and not event.get("more_body", False):
            self._complete = True

    def result(self, *, raised: bool) -> Literal["ok", "error", "aborted"]:
        """How the call ended, once the application has returned or raised."""
        if raised and not self._broken:
            return "error"
        if not self._complete:
            return "aborted"
        return "ok" if self.status is not None and self.status < _CLIENT_ERROR else "error"
