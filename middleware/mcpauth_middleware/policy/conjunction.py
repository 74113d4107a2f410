"""Several conditions that must all hold, some of which may have no answer (Kleene's three-valued logic)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth_middleware.policy.errors import NoAnswers, Unevaluable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def all_hold(conditions: Iterable[Callable[[], bool]]) -> bool:
    """Whether all hold: no, as soon as one surely does not, in whatever order they come.

    Raises:
        Unevaluable: none of the others fails, and one cannot be evaluated; `NoAnswers` where several cannot.
    """
    problems: list[Unevaluable] = []
    for condition in conditions:
        try:
            if not condition():
                return False
        except Unevaluable as error:
            problems.append(error)
    if problems:
        raise problems[0] if len(problems) == 1 else NoAnswers(problems)
    return True
