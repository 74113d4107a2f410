"""Event streams end with the token that opened them, and at once when it is revoked (RFC 6750 §5.2).

A stream can outlive its token by days, and nobody would ask for the token again. So whoever verified it is
asked every half minute while the stream is open, and where there is a list of what was revoked, that ends it
at once. Its end is a clean one: the application is told that the client has gone, and the client sees the
response end.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

import anyio

from mcpauth_middleware.background import SharedRun
from mcpauth_middleware.response_headers import is_event_stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from mcpauth_middleware.asgi import Event, Receive, Send
    from mcpauth_middleware.background import Background
    from mcpauth_middleware.exchange import Exchange
    from mcpauth_middleware.principal import Principal
    from mcpauth_middleware.request_headers import RequestHeaders

ANSWER_SECONDS = 60
"""How long after the token's end the answer to a call that began in time may take. Servers of the revisions
before 2026-07-28 answer every call by a stream, and a client has no way to ask for the answer again."""
LEAVE_SECONDS = 5.0
"""How long the application may take to notice that its client has gone; then it is cancelled, and again after
each such time: what it does in its end, such as recording the outcome, must not be disturbed by the next."""
LOOK_SECONDS = 1.0
ASK_SECONDS = 30.0
"""How long after it was verified the token of an open stream is verified again."""
MAX_ASKED = 20
"""So many at a time: the tokens of a thousand streams must not all be asked about at once."""

_LISTENING = "subscriptions/listen"
_logger = logging.getLogger(__name__)


class OpenStreams:
    """The event streams that are open now, and one task that looks at their time while there are any."""

    def __init__(
        self,
        *,
        background: Background,
        now: Callable[[], float],
        is_revoked: Callable[[Principal], bool] = lambda _: False,
        is_good: Callable[[RequestHeaders], Awaitable[bool]] | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        leave_seconds: float = LEAVE_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._background = background
        self._now = now
        self._is_revoked = is_revoked
        self._is_good = is_good
        self._answer_seconds = answer_seconds
        self.leave_seconds = leave_seconds
        self._look_seconds = look_seconds
        self._streams: set[LimitedResponse] = set()
        self._watching = SharedRun(self._watch, background)
        self._asking = SharedRun(self._ask, background)

    def __len__(self) -> int:
        """How many are open."""
        return len(self._streams)

    def limited(self, exchange: Exchange) -> LimitedResponse:
        """The time in which a request that was admitted runs: when its answer is an event stream, it ends."""
        principal = exchange.principal
        if principal is None:
            raise LookupError("no principal: an exchange runs only after it was admitted")
        ends_at: float = principal.expires_at
        if exchange.message is not None and exchange.message.method != _LISTENING:
            ends_at += self._answer_seconds
        response = LimitedResponse(principal, exchange, streams=self, ends_at=ends_at)
        exchange.send, exchange.receive = response.send, response.receive
        return response

    def add(self, stream: LimitedResponse) -> None:
        """A stream has opened."""
        self._streams.add(stream)
        stream.ask_at = self._now() + ASK_SECONDS
        if self._is_revoked(stream.principal):
            # Since the request was let in: those who heard of it could not know this stream.
            self._end(stream)
        self._watching.start()

    def discard(self, stream: LimitedResponse) -> None:
        """A response is over; it may have been no stream at all."""
        self._streams.discard(stream)

    def end(self, has_ended: Callable[[Principal], bool]) -> None:
        """End the streams of the principals for whom this is true."""
        for stream in [stream for stream in self._streams if has_ended(stream.principal)]:
            self._end(stream)

    def _end(self, stream: LimitedResponse) -> None:
        if stream.is_ended:
            return
        stream.end()
        stream.cancel_at = self._now() + self.leave_seconds
        self._background.start(stream.finish)

    async def _watch(self) -> None:
        while self._streams:
            now = self._now()
            next_end = now + self._look_seconds
            for stream in list(self._streams):
                if stream.cancel_at is not None and stream.cancel_at <= now:
                    stream.cancel()
                    stream.cancel_at = now + self.leave_seconds
                elif stream.ends_at <= now:
                    self._end(stream)
                else:
                    next_end = min(next_end, stream.ends_at)
            if any(each.ask_at <= now < each.principal.expires_at for each in self._streams):
                self._asking.start()
            await anyio.sleep(max(0.0, next_end - now))

    async def _ask(self) -> None:
        """Ask about the tokens for which it is time."""
        now = self._now()
        # Of a token that has expired it is known when its stream ends.
        waiting = [each for each in self._streams if each.ask_at <= now < each.principal.expires_at]

        async def ask() -> None:
            while waiting:
                await self._ask_about(waiting.pop())

        async with anyio.create_task_group() as group:
            for _ in range(min(MAX_ASKED, len(waiting))):
                group.start_soon(ask)

    async def _ask_about(self, stream: LimitedResponse) -> None:
        try:
            is_good = self._is_good is None or await self._is_good(stream.sent)
        except Exception:
            _logger.exception("The token of an open stream could not be verified again")
            is_good = True
        now = self._now()
        stream.ask_at = now + ASK_SECONDS
        if not is_good and stream in self._streams and now < stream.principal.expires_at:
            self._end(stream)


class LimitedResponse:
    """One response, between the application and the server, for as long as the application runs.

    Cancelled is the task that runs it: a scope of its own would cost every request, and hardly any ever
    comes to that.
    """

    __slots__ = (
        "_cancelled",
        "_finishing",
        "_is_complete",
        "_receive",
        "_send",
        "_sending",
        "_streams",
        "_task",
        "_waiting",
        "ask_at",
        "cancel_at",
        "ends_at",
        "is_ended",
        "principal",
        "sent",
    )

    def __init__(
        self, principal: Principal, exchange: Exchange, *, streams: OpenStreams, ends_at: float
    ) -> None:
        self.principal = principal
        self.sent = exchange.sent
        self.ends_at = ends_at
        self.ask_at = math.inf
        self.is_ended = False
        self.cancel_at: float | None = None
        self._streams = streams
        self._send: Send = exchange.send
        self._receive: Receive = exchange.receive
        self._is_complete = False
        self._sending = 0
        self._finishing: asyncio.Lock | None = None
        self._waiting: set[anyio.CancelScope] = set()
        self._task: asyncio.Task[object] | None = None
        self._cancelled = 0

    async def __aenter__(self) -> None:
        """The application runs now, in this task."""
        self._task = asyncio.current_task()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """It has returned, or was made to."""
        self._streams.discard(self)
        if error is None and not self.is_ended:
            return False
        was_cancelled_here = self._take_back() and kind is asyncio.CancelledError
        if self.is_ended and (error is None or was_cancelled_here):
            # The application may have left without a word; for the server that would be a broken response.
            with anyio.move_on_after(self._streams.leave_seconds):
                await self.finish()
        return was_cancelled_here

    def cancel(self) -> None:
        """The application does not leave by itself."""
        if self._task is not None:
            self._cancelled += 1
            self._task.cancel()

    def _take_back(self) -> bool:
        """Undo what `cancel` did to the task; whether nobody else wants it cancelled."""
        left = 0
        for _ in range(self._cancelled):
            left = self._task.uncancel() if self._task is not None else 0
        return self._cancelled > 0 and left == 0

    async def send(self, event: Event) -> None:
        """Pass an event on, until the stream has ended: what comes then reaches nobody."""
        if self.is_ended:
            return
        kind = event["type"]
        if kind == "http.response.start" and is_event_stream(event):
            self._streams.add(self)
        elif kind == "http.response.body":
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
        self._finishing = self._finishing or asyncio.Lock()
        async with self._finishing:
            if self._is_complete or self._sending:
                return
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            self._is_complete = True
