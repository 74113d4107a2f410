"""The pieces that a compiled condition is made of: functions over the facts, put together from others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mcpauth_middleware.policy import values

if TYPE_CHECKING:
    from mcpauth_middleware.policy.facts import Facts
    from mcpauth_middleware.policy.vocabulary import Evaluate

Binary = Callable[[object, object], object]


def all_of(parts: list[Evaluate]) -> Evaluate:
    """`and`: up to the first that is false."""

    def evaluate(facts: Facts) -> bool:
        return all(values.boolean(part(facts)) for part in parts)

    return evaluate


def any_of(parts: list[Evaluate]) -> Evaluate:
    """`or`: up to the first that is true."""

    def evaluate(facts: Facts) -> bool:
        return any(values.boolean(part(facts)) for part in parts)

    return evaluate


def negated(part: Evaluate) -> Evaluate:
    """`not`."""
    return lambda facts: not values.boolean(part(facts))


def applied(function: Callable[[object], object], value: Evaluate) -> Evaluate:
    """A function of one value."""
    return lambda facts: function(value(facts))


def combined(function: Binary, left: Evaluate, right: Evaluate) -> Evaluate:
    """A function of two values."""
    return lambda facts: function(left(facts), right(facts))


def below(container: Evaluate, name: str, look_up: Binary) -> Evaluate:
    """The member of a container whose name is written down."""
    return lambda facts: look_up(container(facts), name)


def chained(first: Evaluate, steps: list[tuple[Callable[[object, object], bool], Evaluate]]) -> Evaluate:
    """Comparisons in a row, as in `1 < x < 5`: up to the first that does not hold."""

    def evaluate(facts: Facts) -> bool:
        left = first(facts)
        for compare, operand in steps:
            right = operand(facts)
            if not compare(left, right):
                return False
            left = right
        return True

    return evaluate
