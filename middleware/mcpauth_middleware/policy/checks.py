"""Checks of what a rule is written with; each error names the key and the mend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from mcpauth_middleware.policy.errors import PolicyError, Unevaluable
from mcpauth_middleware.policy.patterns import pattern_problem
from mcpauth_middleware.policy.values import items, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Scalar = str | int | float | bool


def texts(key: str, values: object) -> tuple[str, ...]:
    """`values`, a tuple of texts that are not empty.

    Raises:
        PolicyError: it is not.
    """
    if not isinstance(values, tuple):
        raise PolicyError(f"{key}: must be a list of texts")
    for position, value in enumerate(cast("tuple[object, ...]", values)):
        if not isinstance(value, str) or not value or not value.isprintable():
            raise PolicyError(f"{key}[{position}]: must be a printable text that is not empty")
    return cast("tuple[str, ...]", values)


def patterns(key: str, values: object) -> tuple[str, ...]:
    """`values`, a tuple of patterns for names.

    Raises:
        PolicyError: it is not.
    """
    found = texts(key, values)
    for position, pattern in enumerate(found):
        problem = pattern_problem("tool", pattern)
        if problem is not None:
            raise PolicyError(f"{key}[{position}]: {pattern!r}: {problem}")
    return found


def members(key: str, value: object) -> Iterator[tuple[str, object]]:
    """The members of `value`, a table.

    Raises:
        PolicyError: it is not, or a name in it is none.
    """
    if not isinstance(value, Mapping):
        raise PolicyError(f"{key}: must be a table")
    for name, member in cast("Mapping[object, object]", value).items():
        yield texts(key, (name,))[0], member


def scalar(key: str, value: object) -> Scalar:
    """`value`, a text, a finite number or a boolean.

    Raises:
        PolicyError: it is not.
    """
    try:
        if kind_of(value) in ("text", "number", "boolean"):
            return cast("Scalar", value)
    except Unevaluable:
        pass
    raise PolicyError(f"{key}: must be a text, a number or a boolean")


def scalars(key: str, value: object) -> tuple[Scalar, ...]:
    """`value`, or what it holds: texts, or numbers, or booleans.

    Raises:
        PolicyError: it is something else, or empty.
    """
    found = tuple(
        scalar(key, one)
        for one in (cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,))
    )
    try:
        if items(found):
            return found
    except Unevaluable as problem:
        raise PolicyError(f"{key}: {problem}") from None
    raise PolicyError(f"{key}: is empty; name a value")
