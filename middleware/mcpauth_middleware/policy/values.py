"""Values in conditions, of strict types: whether 1 is True, or "1" is 1, is a question without an answer.

Numbers compare with numbers and texts with texts. Lists and objects have members to look at; they are
not compared as a whole. Every operation does a bounded amount of work.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from mcpauth_middleware.policy.errors import Unevaluable
from mcpauth_middleware.policy.json_text import plain, refuse_written, written
from mcpauth_middleware.policy.lookalike_text import judged, skeleton

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Kind = Literal["boolean", "number", "text", "null", "list", "object"]

MAX_TEXT: Final = 65_536
"""The longest text that is compared or searched, in characters."""
MAX_ITEMS: Final = 1_000
"""The longest list that is searched."""
MAX_COMPARISONS: Final = 10_000
SCALARS: Final = frozenset({"boolean", "number", "text", "null"})
_KINDS: Final[dict[type, Kind]] = {
    bool: "boolean",
    int: "number",
    float: "number",
    str: "text",
    type(None): "null",
    list: "list",
    tuple: "list",
    dict: "object",
}


def kind_of(value: object) -> Kind:
    """The kind of a value, as far as JSON knows kinds.

    Raises:
        Unevaluable: it is nothing that JSON can hold, such as NaN.
    """
    kind = _KINDS.get(type(value))
    if kind is None and isinstance(value, Mapping):
        kind = "object"
    if kind is None or (isinstance(value, float) and not math.isfinite(value)):
        raise Unevaluable("a value is nothing that JSON can hold")
    return kind


def boolean(value: object) -> bool:
    """`value`, which must be True or False: nothing else counts as either."""
    if value is True or value is False:
        return value
    raise Unevaluable(f"expected true or false, found {a(kind_of(value))}")


def text(value: object) -> str:
    """`value`, which must be a text that is not too long to look at."""
    if not isinstance(value, str):
        raise Unevaluable(f"expected a text, found {a(kind_of(value))}")
    if len(value) > MAX_TEXT:
        raise Unevaluable(f"a text is longer than {MAX_TEXT} characters")
    return value


def items(value: object) -> Sequence[object]:
    """`value`, which must be a list of texts, of numbers or of booleans, and not too long to search."""
    if not isinstance(value, (list, tuple)):
        raise Unevaluable(f"expected a list, found {a(kind_of(value))}")
    found = cast("Sequence[object]", value)
    if len(found) > MAX_ITEMS:
        raise Unevaluable(f"a list has more than {MAX_ITEMS} items")
    kinds = set(map(kind_of, found))
    if len(kinds) > 1 or not kinds <= SCALARS:
        raise Unevaluable("the items of a list must be all texts, all numbers or all booleans")
    return found


def equal(left: object, right: object) -> bool:
    """`left == right`, for two values of one kind."""
    answer = _same(left, right)
    if not answer:
        refuse_written(left, right)
    return answer


def _same(left: object, right: object) -> bool:
    kind = _common_kind(left, right)
    if kind == "text":
        return _same_text(text(left), text(right))
    if kind not in SCALARS:
        raise Unevaluable(f"{a(kind)} cannot be compared; compare its members")
    return bool(left == right)


def _same_text(left: str, right: str) -> bool:
    answer = judged(operator.eq, left, right)
    if not answer and skeleton(left).strip() == skeleton(right).strip():
        raise Unevaluable("two texts differ only in the space around them")
    return answer


def unequal(left: object, right: object) -> bool:
    """`left != right`, for two values of one kind."""
    return not equal(left, right)


def ordering(compare: Callable[[Any, Any], bool]) -> Callable[[object, object], bool]:
    """`<`, `<=`, `>` or `>=`, for two numbers or two texts."""

    def ordered(left: object, right: object) -> bool:
        kind = _common_kind(left, right)
        if kind == "text":
            refuse_written(text(left), text(right))
            return judged(compare, text(left), text(right))
        if kind != "number":
            raise Unevaluable(f"{a(kind)} has no order")
        return bool(compare(left, right))

    return ordered


def contains(item: object, container: object) -> bool:
    """`item in container`, where the container may be a list or a text.

    Raises:
        Unevaluable: it is neither, or a list whose texts only together or in part are the item: whoever
            wrote the rule may have meant the text that a caller now sends as a list; or a text that is a list
            written out, of which the answer would be another one.
    """
    if isinstance(container, str):
        return _in_text(text(item), text(container))
    answer = contains_item(item, container)
    if not answer and isinstance(item, str):
        together = "".join([other for other in items(container) if isinstance(other, str)])
        if judged(operator.contains, text(together), item):
            raise Unevaluable("a list holds the text only in part of an item; write any_of or glob")
    return answer


def _in_text(item: str, container: str) -> bool:
    answer = judged(operator.contains, container, item)
    if (value := written(container)) is None:
        return answer
    match value[0]:
        case None:
            raise Unevaluable("a text can be read as null")
        case list() as listed:
            other = contains(item, listed)
        case members:
            other = judged(operator.contains, plain(members), item)
    if other is not answer:
        raise Unevaluable("a text can be read as a list or an object, which would have another answer")
    return answer


def contains_item(item: object, container: object) -> bool:
    """`item in container`, for what is known to be a list."""
    # Every item is looked at: one of another kind must not hide behind a match, nor a match behind it.
    matches = [_same(item, other) for other in items(container)]
    if not any(matches):
        refuse_written(item)
    return any(matches)


def any_equal(left: object, right: object) -> bool:
    """Whether the two lists share an item."""
    found, wanted = items(left), items(right)
    if len(found) * len(wanted) > MAX_COMPARISONS:
        raise Unevaluable("two lists are too long to be compared")
    matches = [_same(one, other) for one in found for other in wanted]
    return any(matches)


def number(value: object) -> int | float:
    """`value`, which must be a number and no boolean."""
    if kind_of(value) != "number":
        raise Unevaluable(f"expected a number, found {a(kind_of(value))}")
    return cast("int | float", value)


def arithmetic(compute: Callable[[Any, Any], Any]) -> Callable[[object, object], object]:
    """`+` or `-`, for two numbers."""

    def computed(left: object, right: object) -> object:
        try:
            return number(compute(number(left), number(right)))
        except OverflowError:
            raise Unevaluable("a number is too large") from None

    return computed


class Lengths(frozenset[int]):
    """The lengths that a value may be taken to have; only comparisons know what to do with them."""


def for_each_length(compare: Callable[[object, object], bool]) -> Callable[[object, object], bool]:
    """The comparison for operands that may be `Lengths`: its answer must be the same for all of them."""

    def compared(left: object, right: object) -> bool:
        lefts = left if isinstance(left, Lengths) else (left,)
        rights = right if isinstance(right, Lengths) else (right,)
        answers = {compare(one, other) for one in lefts for other in rights}
        if len(answers) != 1:
            raise Unevaluable("a list with one item has two lengths, its own and that of the item")
        return answers.pop()

    return compared


def negative(value: object) -> object:
    """`-value`, for a number."""
    return -number(value)


def _common_kind(left: object, right: object) -> Kind:
    kind, other = kind_of(left), kind_of(right)
    if kind != other:
        raise Unevaluable(f"{a(kind)} cannot be compared with {a(other)}")
    return kind


def a(kind: Kind) -> str:
    """The kind, as a sentence names it."""
    return kind if kind == "null" else f"an {kind}" if kind == "object" else f"a {kind}"
