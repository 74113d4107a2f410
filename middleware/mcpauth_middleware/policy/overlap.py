"""Which URI templates of one server can stand for the same URI.

A server takes one of them, mostly the one that was registered first. Who writes a rule for each must know.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

# A parameter of a URI template (RFC 6570 §3.2.2): `{name}`; for several segments `{+name}` (§3.2.3), and in
# FastMCP `{name*}`.
PARAMETER: Final = re.compile(r"\{(\+?)[A-Za-z0-9_$][A-Za-z0-9_.$-]*(\*?)\}")
_EXPRESSION: Final = re.compile(r"\{[^{}]*\}")
# `{?name,other}` at the end (§3.2.8). Servers take a URI without them, and with others, too.
_QUERY: Final = re.compile(r"(?:\{[?&][^{}]*\})+$")


def uri_pattern(template: str) -> str:
    """The pattern of a rule for a URI, or for a URI template of the levels that MCP servers use."""
    return PARAMETER.sub(lambda match: "**" if match[1] or match[2] else "*", template)


def without_query(template: str) -> str:
    """The template without the parameters of the query at its end."""
    return _QUERY.sub("", template)


def uri_patterns(template: str) -> tuple[str, ...] | None:
    """The patterns of a rule for all that a template stands for, and for the template itself, as lists and
    completions name it; None: there are none.
    """
    path = without_query(template)
    pattern = uri_pattern(path)
    if _is_irregular(pattern) or (path != template and ("?" in path or "#" in path)):
        return None
    if path == template or pattern.endswith("**"):
        return (pattern,)
    # A `*` ends at the next slash, which can stand in a query.
    queries = (f"{pattern}?*/**",)
    return (pattern, *queries) if pattern.endswith("*") else (pattern, f"{pattern}?*", *queries, template)


def can_be_the_same(first: str, second: str) -> bool:
    """Whether a URI may match both templates; true where one holds an expression that is no parameter."""
    paths = [without_query(template) for template in (first, second)]
    patterns = [uri_pattern(path) for path in paths]
    with_query = paths != [first, second] and any("?" in path for path in paths)
    if with_query or any(map(_is_irregular, patterns)):
        return _texts_meet(*(_EXPRESSION.sub("*", template) for template in (first, second)))
    one, other = (pattern.split("/") for pattern in patterns)
    return _meet(one, other, "**", _texts_meet)


def _is_irregular(pattern: str) -> bool:
    """Whether a template's pattern says less than the template, or is none: what is left of expressions that
    are no parameters, and `**` beside something else in its segment.
    """
    return _EXPRESSION.search(pattern) is not None or any(
        "**" in segment and segment != "**" for segment in pattern.split("/")
    )


def _texts_meet(first: str, second: str) -> bool:
    return _meet(first, second, "*", lambda one, other: one == other)


def _meet(first: Sequence[T], second: Sequence[T], any_number: T, fit: Callable[[T, T], bool]) -> bool:
    """Whether two sequences can be the same one, where `any_number` stands for any items, also for none."""
    reached = {(0, 0)}
    todo = [(0, 0)]
    while todo:
        at, beside = todo.pop()
        ends, is_over = at == len(first), beside == len(second)
        if ends and is_over:
            return True
        steps: set[tuple[int, int]] = set()
        # One that stands for any items takes the other's next one, or has taken its last.
        if not ends and first[at] == any_number:
            steps |= {(at + 1, beside), *([] if is_over else [(at, beside + 1)])}
        if not is_over and second[beside] == any_number:
            steps |= {(at, beside + 1), *([] if ends else [(at + 1, beside)])}
        if not steps and not ends and not is_over and fit(first[at], second[beside]):
            steps.add((at + 1, beside + 1))
        todo += steps - reached
        reached |= steps
    return False
