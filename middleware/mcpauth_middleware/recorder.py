"""What the journal hears of each request: an intent before a call runs, its outcome after, each refusal once.

The sink may fail. Before the call that stops it, since what cannot be recorded must not happen; after
it the call has happened, and only the log is left to say that its outcome was lost.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio

from mcpauth_middleware.audit.event import intent, outcome, refusal, stream_intent
from mcpauth_middleware.audit.sink import KEPT, takes_text
from mcpauth_middleware.audit.text import Event, members_of
from mcpauth_middleware.errors import AuditUnavailable, RateLimited, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from mcpauth_middleware.audit import AuditSink
    from mcpauth_middleware.audit.description import Description
    from mcpauth_middleware.audit.event import Intent, Outcome
    from mcpauth_middleware.exchange import Exchange
    from mcpauth_middleware.message import Message, MessageRefused
    from mcpauth_middleware.policy import Decision
    from mcpauth_middleware.principal import Principal

OUTCOME_SECONDS = 5.0
"""How long a cancelled request may be held up by a slow sink."""

_UNRECORDED = "An intent could not be recorded: the call is refused"
_logger = logging.getLogger(__name__)


class Recorder:
    """Writes one exchange's events to the sink."""

    def __init__(self, sink: AuditSink, *, describe: Description, now: Callable[[], float]) -> None:
        self._record = _recording(sink)
        self._describe = describe
        self._now = now

    async def intent(
        self, message: Message, principal: Principal, decision: Decision, exchange: Exchange
    ) -> Intent:
        """Record what is about to run.

        Raises:
            AuditUnavailable: it could not be recorded, so it must not run.
        """
        try:
            event = intent(
                message,
                principal,
                decision,
                exchange.address,
                describe=self._describe,
                tool=exchange.tool,
                session=exchange.session,
                outer=exchange.outer,
            )
            recording = self._record(event.text)
            if recording is not KEPT:
                await recording
        except Exception:
            _logger.exception(_UNRECORDED)
            raise AuditUnavailable from None
        return event

    async def stream_intent(self, principal: Principal, protocol: str, exchange: Exchange) -> Intent:
        """Record that a stream will open, or a session end.

        Raises:
            AuditUnavailable: it could not be recorded, so it must not happen.
        """
        try:
            event = stream_intent(
                "session.end" if exchange.method == "DELETE" else "stream",
                principal,
                protocol,
                exchange.address,
                describe=self._describe,
                session=exchange.session,
            )
            await self._record(event.text)
        except Exception:
            _logger.exception(_UNRECORDED)
            raise AuditUnavailable from None
        return event

    async def outcome(
        self, intent: Intent, result: Outcome, *, status: int | None, exchange: Exchange
    ) -> None:
        """Record how the call ended; also while the request is being cancelled."""
        try:
            duration_ms = (self._now() - exchange.started_at) * 1000
            event = outcome(intent, result, status=status, duration_ms=duration_ms)
            recording = self._record(event.text)
            if recording is not KEPT:
                with anyio.move_on_after(OUTCOME_SECONDS, shield=True):
                    await recording
        except Exception:
            _logger.exception("An audit event was lost")

    async def refusal(
        self, refused: Refused | MessageRefused, *, status: int | None, exchange: Exchange
    ) -> None:
        """Record a request that did not run; `status` is the one it was answered with, if it was one."""
        for one in exchange.members or (exchange,):
            await self._refusal(refused, status=status, exchange=one)

    async def _refusal(
        self, refused: Refused | MessageRefused, *, status: int | None, exchange: Exchange
    ) -> None:
        try:
            event = refusal(
                refused.reason if isinstance(refused, Refused) else "malformed_message",
                status=status,
                source=exchange.address,
                principal=exchange.principal,
                message=exchange.message,
                decision=exchange.decision,
                limit=refused.limit if isinstance(refused, RateLimited) else None,
                duration_ms=(self._now() - exchange.started_at) * 1000,
                describe=self._describe,
                tool=exchange.tool,
                session=exchange.session,
                outer=exchange.outer,
            )
            await self._record(event.text)
        except Exception:
            _logger.exception("An audit event was lost")

    async def happened(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Record what belongs to no request, such as that the policy was loaded again."""
        for event in events:
            try:
                await self._record(event.text if isinstance(event, Event) else members_of(event))
            except Exception:
                _logger.exception("An audit event was lost")


def _recording(sink: AuditSink) -> Callable[[str], Awaitable[None]]:
    """How the sink takes the text of an event: as it is, or else as a dictionary of its own."""
    if takes_text(sink):
        return sink.record_text
    return lambda text: sink.record(Event(text).members())
