"""A policy that cannot be used, and a condition that cannot be evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class PolicyError(ValueError):
    """The policy is wrong: the message names the key and what to write instead."""


class Unevaluable(Exception):
    """A condition has no answer for this message: a deny rule then denies, an allow rule does not allow.

    The text says what was wrong, without the value.
    """


class Missing(Unevaluable):
    """A member is not there: what `has(...)` answers with False."""


class NotKnown(Unevaluable):
    """Nobody has told the fact, such as the address in a test that leaves it out."""


class NoAnswers(Unevaluable):
    """Several conditions that must all hold have no answer; the text is that of the first."""

    def __init__(self, problems: Sequence[Unevaluable]) -> None:
        super().__init__(str(problems[0]))
        self.problems = tuple(problems)


class ArgumentsUnknown(Unevaluable):
    """The condition is about the arguments of a call that has not been made: a list is being filtered."""
