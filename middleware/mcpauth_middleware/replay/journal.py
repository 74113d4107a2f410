"""Reading an audit journal back: JSON lines, of which a crash may have cut one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mcpauth_middleware.audit.event import VERSION
from mcpauth_middleware.message import strict_json
from mcpauth_middleware.replay.errors import NotAnEvent
from mcpauth_middleware.replay.lines import MAX_LINE_BYTES
from mcpauth_middleware.replay.members import Members
from mcpauth_middleware.replay.recorded import Recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcpauth_middleware.replay.lines import Line

MAX_PROBLEMS: Final = 20
"""So many lines are told with what is wrong with them; the rest is counted."""

_DECIDED: Final = frozenset({"no_rule", "denied", "deny_error", "insufficient_scope"})
"""Reasons to refuse that are decisions."""


@dataclass(slots=True)
class Journal:
    """The decisions in a journal, in its order; every other line is counted."""

    lines: Iterable[Line]
    read: int = 0
    """Lines that are not empty."""
    undecided: int = 0
    """Events that hold no decision, such as outcomes."""
    unreadable: int = 0
    """Lines that are no events, such as one that a crash has cut: nobody knows which call they hide."""
    problems: list[str] = field(default_factory=list[str])
    """What is wrong with the first of these lines."""
    incomplete: list[tuple[Recorded, str]] = field(default_factory=list[tuple[Recorded, str]])
    """Decisions that do not say what they were about, and what is missing."""

    def decisions(self) -> Iterator[Recorded]:
        """Each decision once: a call has it in its intent, a refused request in its only event."""
        for line in self.lines:
            if line.text is not None and not line.text.strip():
                continue
            self.read += 1
            try:
                recorded = _decision(line)
            except NotAnEvent as problem:
                self.unreadable += 1
                if len(self.problems) < MAX_PROBLEMS:
                    self.problems.append(f"{line}: no event of an audit journal: {problem}")
            else:
                if recorded is None:
                    self.undecided += 1
                else:
                    yield recorded


def _decision(line: Line) -> Recorded | None:
    event = _event(line)
    event.text("type")
    if "decision" in event or _must_hold_decision(event):
        return Recorded.of(event.all)
    return None


def _event(line: Line) -> Members:
    if line.text is None:
        raise NotAnEvent(f"longer than {MAX_LINE_BYTES // 1024 // 1024} MiB")
    try:
        # Strictly: what two readers read differently is nothing to report on.
        event = Members(strict_json.parse(line.text))
    except strict_json.StrictJsonError as problem:
        raise NotAnEvent(str(problem)) from None
    if event.number("v") != VERSION:
        event.refuse("v", f"{VERSION}; another version of mcpauth-kit wrote this")
    return event


def _must_hold_decision(event: Members) -> bool:
    if event.text_or_none("phase") == "intent":
        return "method" in event.members_if_any("mcp")
    return event.text_or_none("reason") in _DECIDED
