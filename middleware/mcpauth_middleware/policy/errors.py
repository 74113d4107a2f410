"""A policy that cannot be used, and a condition that cannot be evaluated."""

from __future__ import annotations


class PolicyError(ValueError):
    """The policy is wrong: the message names the key and what to write instead."""


class Unevaluable(Exception):
    """A condition has no answer for this message: a deny rule then denies, an allow rule does not allow.

    The text says what was wrong, without the value.
    """


class Missing(Unevaluable):
    """A member is not there: what `has(...)` answers with False."""


class ArgumentsUnknown(Unevaluable):
    """The condition is about the arguments of a call that has not been made: a list is being filtered."""
