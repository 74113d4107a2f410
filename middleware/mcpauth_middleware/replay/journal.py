"""Reading an audit journal back: JSON lines, of which a crash may have cut one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from mcpauth_middleware.audit.event import VERSION
from mcpauth_middleware.replay.recorded import NotReplayable, Recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(slots=True)
class Journal:
    """The decisions in a journal, in its order; what could not be read is counted."""

    lines: Iterable[str]
    unreadable: int = 0
    """Lines that are no events, such as one that a crash has cut."""
    incomplete: list[tuple[Mapping[str, Any], str]] = field(
        default_factory=list[tuple[Mapping[str, Any], str]]
    )
    """Decisions that do not say what they were about, and what is missing."""

    def decisions(self) -> Iterator[Recorded]:
        """Each decision once: a call has it in its intent, a refused request in its only event."""
        for line in self.lines:
            if not line.strip():
                continue
            event = _event(line)
            if event is None:
                self.unreadable += 1
            elif "decision" in event:
                try:
                    yield Recorded.of(event)
                except NotReplayable as missing:
                    self.incomplete.append((event, str(missing)))


def _event(line: str) -> Mapping[str, Any] | None:
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    event = cast("dict[str, Any]", value)
    return event if event.get("v") == VERSION else None
