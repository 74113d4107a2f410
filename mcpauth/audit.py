"""Writes events to an audit journal, in the form that the middleware's journal has."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mcpauth_middleware.audit.event import VERSION

if TYPE_CHECKING:
    from mcpauth.events import Event, Listener
    from mcpauth_middleware.audit.sink import AuditSink

_WORD_BEGINS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ACTOR = {"user_id": "sub", "client_id": "client_id"}


def recorded_in(journal: AuditSink) -> Listener:
    """A listener that records every event."""

    async def record(event: Event) -> None:
        await journal.record(audit_event(event))

    return record


def audit_event(event: Event) -> dict[str, Any]:
    """The event as one entry: something that has happened (`ok`), or that was `refused`.

    `actor` is the user and the client that it is about, as far as they are known; all else is in `details`.
    """
    values = asdict(event)
    actor = {shown: values.pop(name, None) for name, shown in _ACTOR.items()}
    return {
        "v": VERSION,
        "type": _WORD_BEGINS.sub("_", type(event).__name__).lower(),
        "phase": "outcome",
        "outcome": "refused" if event.refused else "ok",
        "actor": {name: value for name, value in actor.items() if value is not None},
        "details": values,
    }
