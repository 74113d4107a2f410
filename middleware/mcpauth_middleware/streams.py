"""Event streams end with the token that opened them, and at once when it is revoked (RFC 6750 §5.2).

A stream can outlive its token by days, and nobody would ask for the token again. Its end is a clean one:
the application is told that the client has gone, and the client sees the response end.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from mcpauth_middleware.background import SharedRun

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from mcpauth_middleware.asgi import Event, Receive, Send
    from mcpauth_middleware.background import Background
    from mcpauth_middleware.exchange import Exchange
    from mcpauth_middleware.principal import Principal

ANSWER_SECONDS = 60
"""How long after the token's end the answer to a call that began in time may take. Servers of the revisions
before 2026-07-28 answer every call by a stream, and a client has no way to ask for the answer again."""
LEAVE_SECONDS = 5.0
"""How long the application may take to notice that its client has gone; then it is cancelled."""
LOOK_SECONDS = 1.0

_LISTENING = "subscriptions/listen"


class OpenStreams:
    """The event streams that are open now, and one task that looks at their time while there are any."""

    def __init__(
        self,
        *,
        background: Background,
        now: Callable[[], float],
        answer_seconds: float = ANSWER_SECONDS,
        leave_seconds: float = LEAVE_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._background = background
        self._now = now
        self._answer_seconds = answer_seconds
        self._leave_seconds = leave_seconds
        self._look_seconds = look_seconds
        self._streams: set[LimitedResponse] = set()
        self._watching = SharedRun(self._watch, background)

    def __len__(self) -> int:
        """How many are open."""
        return len(self._streams)

    @asynccontextmanager
    async def limited(self, exchange: Exchange) -> AsyncGenerator[None]:
        """The time in which a request that was admitted runs: when its answer is an event stream, it ends."""
        principal = exchange.principal
        if principal is None:
            raise LookupError("no principal: an exchange runs only after it was admitted")
        ends_at: float = principal.expires_at
        if exchange.message is not None and exchange.message.method != _LISTENING:
            ends_at += self._answer_seconds
        response = LimitedResponse(principal, exchange, ends_at=ends_at, opened=self._add)
        exchange.send, exchange.receive = response.send, response.receive
        try:
            with response.scope:
                yield
        finally:
            self._streams.discard(response)
        if response.is_ended:
            # The application may have left without a word; for the server that would be a broken response.
            with anyio.move_on_after(self._leave_seconds):
                await response.finish()

    def end(self, has_ended: Callable[[Principal], bool]) -> None:
        """End the streams of the principals for whom this is true."""
        for stream in [stream for stream in self._streams if has_ended(stream.principal)]:
            self._end(stream)

    def _add(self, stream: LimitedResponse) -> None:
        self._streams.add(stream)
        self._watching.start()

    def _end(self, stream: LimitedResponse) -> None:
        if stream.is_ended:
            return
        stream.end()
        stream.cancel_at = self._now() + self._leave_seconds
        self._background.start(stream.finish)

    async def _watch(self) -> None:
        while self._streams:
            now = self._now()
            next_end = now + self._look_seconds
            for stream in list(self._streams):
                if stream.cancel_at is not None and stream.cancel_at <= now:
                    stream.scope.cancel()
                elif stream.ends_at <= now:
                    self._end(stream)
                else:
                    next_end = min(next_end, stream.ends_at)
            await anyio.sleep(max(0.0, next_end - now))


class LimitedResponse:
    """One response, between the application and the server."""

    def __init__(
        self,
        principal: Principal,
        exchange: Exchange,
        *,
        ends_at: float,
        opened: Callable[[LimitedResponse], None],
    ) -> None:
        self.principal = principal
        self.ends_at = ends_at
        self.is_ended = False
        self.cancel_at: float | None = None
        self.scope = anyio.CancelScope()
        self._send: Send = exchange.send
        self._receive: Receive = exchange.receive
        self._opened = opened
        self._is_complete = False
        self._sending = 0
        self._finishing = anyio.Lock()
        self._waiting: set[anyio.CancelScope] = set()

    async def send(self, event: Event) -> None:
        """Pass an event on, until the stream has ended: what comes then reaches nobody."""
        if self.is_ended:
            return
        if event["type"] == "http.response.start" and _is_event_stream(event):
            self._opened(self)
        elif event["type"] == "http.response.body":
            self._is_complete = not event.get("more_body", False)
        self._sending += 1
        try:
            await self._send(event)
        finally:
            self._sending -= 1
        if self.is_ended:
            await self.finish()

    async def receive(self) -> Event:
        """What the client sends, or that it has gone, as soon as the stream has ended."""
        if not self.is_ended:
            with anyio.CancelScope() as waiting:
                self._waiting.add(waiting)
                try:
                    return await self._receive()
                finally:
                    self._waiting.discard(waiting)
        return {"type": "http.disconnect"}

    def end(self) -> None:
        """Nothing more goes out, and the application is told."""
        self.is_ended = True
        for waiting in self._waiting:
            waiting.cancel()

    async def finish(self) -> None:
        """End the response for the client; never in the middle of something that is being sent."""
        async with self._finishing:
            if self._is_complete or self._sending:
                return
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            self._is_complete = True


def _is_event_stream(start: Event) -> bool:
    for name, value in start.get("headers", ()):
        if bytes(name).lower() == b"content-type":
            return bytes(value).lower().startswith(b"text/event-stream")
    return False
