"""Several conditions that must all hold, some of which may have no answer (Kleene's three-valued logic)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth_middleware.policy.errors import Unevaluable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def all_hold(conditions: Iterable[Callable[[], bool]]) -> bool:
    """Whether all hold: no, as soon as one surely does not, in whatever order they come.

    Raises:
        Unevaluable: none of the others fails, and one cannot be evaluated.
    """
    problem: Unevaluable | None = None
    for condition in conditions:
        try:
            if not condition():
                return False
        except Unevaluable as error:
            problem = problem or error
    if problem is not None:
        raise problem
    return True
