"""What `mcpauth policy replay` prints: which calls would be decided otherwise, and what nobody can tell."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click

from mcpauth.pages.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcpauth_middleware.replay import Compared, Journal
    from mcpauth_middleware.replay.compare import Change
    from mcpauth_middleware.replay.recorded import Recorded
    from mcpauth_middleware.replay.verdict import Verdict

_LONGEST: Final = 300
_HEADINGS: Final[Mapping[Change, str]] = {
    "wider": "Calls that would be allowed further:",
    "narrower": "Calls that would be allowed less:",
    "unknown": "Calls of which the journal does not tell:",
}


class Report:
    """The calls of a journal under two policies. Those that are decided as before are only counted."""

    def __init__(self, compared: Iterable[Compared], journal: Journal) -> None:
        self._count: Counter[Change] = Counter()
        self._others: list[Compared] = []
        for call in compared:
            self._count[call.change] += 1
            if call.change != "same":
                self._others.append(call)
        self._journal = journal

    def is_refused(self, *, allow_widening: bool, allow_unreadable: bool, fail_on_unknown: bool) -> bool:
        """Whether a pipeline should stop here."""
        return (
            (self._count["wider"] > 0 and not allow_widening)
            or (self._journal.unreadable > 0 and not allow_unreadable)
            or (self._unknown > 0 and fail_on_unknown)
        )

    def print(self) -> None:
        """Print every call that would be decided otherwise, or of which nobody can tell."""
        for change, heading in _HEADINGS.items():
            if self._count[change]:
                click.echo(heading)
            for call in self._of(change):
                click.echo(f"  {_line(str(call.recorded))}: {_verdict(call.old)} -> {_verdict(call.new)}")
                for missing in dict.fromkeys((*call.old.unknown, *call.new.unknown)):
                    click.echo(f"    {_line(missing)}")
        if self._journal.incomplete:
            click.echo("Calls of which the journal does not say enough to decide again:")
        for recorded, missing in self._journal.incomplete:
            click.echo(f"  {_line(str(recorded))}: lacks {missing}")
        click.echo(
            f"{self._calls} calls: {self._count['same']} as before, {self._count['wider']} allowed further,"
            f" {self._count['narrower']} allowed less, {self._unknown} unknown."
        )
        self._print_unreadable()

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        journal = self._journal
        return {
            "lines": journal.read,
            "calls": self._calls,
            "same": self._count["same"],
            **{change: [_call(call) for call in self._of(change)] for change in _HEADINGS},
            "incomplete": [{**_who(recorded), "lacks": missing} for recorded, missing in journal.incomplete],
            "undecided": journal.undecided,
            "unreadable": journal.unreadable,
            "problems": journal.problems,
        }

    def _print_unreadable(self) -> None:
        journal = self._journal
        for problem in journal.problems:
            click.echo(_line(problem), err=True)
        if more := journal.unreadable - len(journal.problems):
            click.echo(f"... and {more} more", err=True)
        if not self._calls and not journal.unreadable:
            click.echo("There is no call in it. Is it the journal of the middleware?", err=True)
        if journal.unreadable == 1:
            click.echo("1 line is no event: what it hides is not in this report.", err=True)
        elif journal.unreadable:
            click.echo(
                f"{journal.unreadable} lines are no events: what they hide is not in this report.", err=True
            )

    @property
    def _calls(self) -> int:
        return self._count.total() + len(self._journal.incomplete)

    @property
    def _unknown(self) -> int:
        return self._count["unknown"] + len(self._journal.incomplete)

    def _of(self, change: Change) -> Iterable[Compared]:
        return (call for call in self._others if call.change == change)


def _call(call: Compared) -> dict[str, Any]:
    return {**_who(call.recorded), "old": _verdict_as_json(call.old), "new": _verdict_as_json(call.new)}


def _who(recorded: Recorded) -> dict[str, Any]:
    return {name: recorded.event.get(name) for name in ("id", "seq", "ts", "actor", "mcp")}


def _verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "least": verdict.least,
        "most": verdict.most,
        "rule": verdict.rule,
        "unknown": list(verdict.unknown),
    }


def _verdict(verdict: Verdict) -> str:
    effect = verdict.least if verdict.is_certain else f"{verdict.least} or {verdict.most}"
    return effect + (f" ({_line(verdict.rule)})" if verdict.rule is not None else "")


def _line(text: str) -> str:
    """Names come from strangers: what could move the cursor or reverse the line is taken out."""
    return shown(text, _LONGEST)
