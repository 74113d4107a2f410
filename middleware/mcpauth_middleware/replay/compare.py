"""Two policies over the same recorded calls: which of them would be decided otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mcpauth_middleware.replay.errors import NotReplayable
from mcpauth_middleware.replay.verdict import RANK, Judge, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcpauth_middleware.policy import Policy
    from mcpauth_middleware.replay.journal import Journal
    from mcpauth_middleware.replay.recorded import Recorded

Change = Literal["same", "wider", "narrower", "unknown"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One call under both."""

    recorded: Recorded
    old: Verdict
    new: Verdict
    same: bool = False
    """Whether both are one policy."""

    @property
    def change(self) -> Change:
        """`wider`: allowed where it was not, or told to step up where it was denied."""
        if RANK[self.new.least] > RANK[self.old.most]:
            return "wider"
        if RANK[self.new.most] < RANK[self.old.least]:
            return "narrower"
        is_certain = self.old.is_certain and self.new.is_certain
        return "same" if is_certain or self.same else "unknown"


def replay(policy: Policy, journal: Journal) -> Iterator[Compared]:
    """What would be decided now, against what was decided then."""
    judge = Judge(policy)

    def verdicts(recorded: Recorded) -> Compared:
        then = Verdict(recorded.effect, recorded.effect, recorded.rule)
        # Of the same rules nobody needs to ask again, whatever it is that the journal does not hold.
        return Compared(recorded, then, then if recorded.bundle == policy.bundle else judge.verdict(recorded))

    return _of_each(journal, verdicts)


def compare(old: Policy, new: Policy, journal: Journal) -> Iterator[Compared]:
    """What two policies decide about the calls of a journal."""
    before, after = Judge(old), Judge(new)
    same = old.bundle == new.bundle

    def verdicts(recorded: Recorded) -> Compared:
        verdict = before.verdict(recorded)
        return Compared(recorded, verdict, verdict if same else after.verdict(recorded), same=same)

    return _of_each(journal, verdicts)


def _of_each(journal: Journal, verdicts: Callable[[Recorded], Compared]) -> Iterator[Compared]:
    for recorded in journal.decisions():
        try:
            compared = verdicts(recorded)
        except NotReplayable as missing:
            journal.incomplete.append((recorded, str(missing)))
        else:
            yield compared
