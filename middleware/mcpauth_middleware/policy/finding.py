"""What `lint` finds: one thing that is wrong with a policy although it loads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Code = Literal[
    "nothing-enforced",
    "unreachable",
    "overridden",
    "duplicate",
    "redundant-pattern",
    "unused-scope",
    "self-asserted",
    "odd-pattern",
    "literal-star",
    "unknown-annotation",
    "unknown-protocol",
    "wrong-fact",
    "vague-test",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; with an `error` a policy is not reloaded."""

    level: Literal["error", "warning"]
    code: Code
    rule: str | None
    text: str

    def __str__(self) -> str:
        where = "" if self.rule is None else f'rule "{self.rule}": '
        return f"{self.level}: {where}{self.text} [{self.code}]"
