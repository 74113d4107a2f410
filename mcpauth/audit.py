"""Writes events to an audit journal, in the form that the middleware's journal has."""

from __future__ import annotations

import re
from dataclasses import fields
from functools import cache
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
    name, actor, details = _layout(type(event))  # type: ignore[arg-type]  # a class is hashable
    told = ((shown, getattr(event, field)) for field, shown in actor)
    return {
        "v": VERSION,
        "type": name,
        "phase": "outcome",
        "outcome": "refused" if event.refused else "ok",
        "actor": {shown: value for shown, value in told if value is not None},
        "details": {field: getattr(event, field) for field in details},
    }


@cache
def _layout(kind: type[Event]) -> tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The name of a kind of event, which of its fields are the actor, and which are details."""
    names = [field.name for field in fields(kind)]
    return (
        _WORD_BEGINS.sub("_", kind.__name__).lower(),
        tuple((name, shown) for name, shown in _ACTOR.items() if name in names),
        tuple(name for name in names if name not in _ACTOR),
    )
