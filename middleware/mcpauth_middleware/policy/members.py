"""Looking a name up in what a condition reads: members of objects, items of lists."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, cast

from mcpauth_middleware.policy.errors import Missing, Unevaluable
from mcpauth_middleware.policy.lookalike_text import skeleton
from mcpauth_middleware.policy.values import MAX_ITEMS, a, kind_of, text

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHORT_NAME: Final = 64


def member(container: object, key: object) -> object:
    """`container.key` and `container[key]`: the member of an object, or an item of a list.

    Raises:
        Missing: there is none.
        Unevaluable: it is something that has no members, or the key is of the wrong kind, or what holds
            only one thing has none, but that thing does: the container may have been wrapped.
    """
    try:
        return root_member(container, key)
    except Missing:
        if _is_deeper(container, key):
            raise Unevaluable("a member is there, but deeper") from None
        raise


def root_member(container: object, key: object) -> object:
    """`member`, of an object that is what it is, such as the arguments."""
    if isinstance(container, Mapping):
        members = cast("Mapping[str, object]", container)
        if not isinstance(key, str):
            raise Unevaluable("the name of a member must be a text")
        # Also where it is there itself: of two spellings servers differ in which they take. What is no dict
        # comes from no caller.
        if key not in members or isinstance(container, dict):
            _refuse_other_spelling(key, members)
        if key not in members:
            raise Missing("a member is missing")
        return members[key]
    if isinstance(container, (list, tuple)):
        found = cast("Sequence[object]", container)
        if not isinstance(key, int) or isinstance(key, bool) or key < 0:
            raise Unevaluable("the place in a list must be a number from 0 on")
        if key >= len(found):
            raise Missing("an item is missing")
        return found[key]
    raise Unevaluable(f"{a(kind_of(container))} has no members")


def _refuse_other_spelling(key: str, members: Mapping[str, object]) -> Literal[False]:
    """A server may take `Force` or `for_ce` for `force`: then nobody can tell what that is, or is not."""
    if len(members) > MAX_ITEMS:
        raise Unevaluable(f"an object has more than {MAX_ITEMS} members")
    folded = _folded(key)
    if any(_folded(other) == folded for other in members if other != key):
        raise Unevaluable("a member is there in another spelling")
    return False


def _is_deeper(container: object, key: object) -> bool:
    inside = _inside(container)
    while len(inside) == 1:
        only = inside[0]
        inside = _inside(only)
        if isinstance(only, Mapping) and key in only:
            return True
        if isinstance(only, (list, tuple)) and isinstance(key, int) and key < len(inside):
            return True
    return False


def _inside(container: object) -> list[object]:
    if isinstance(container, Mapping):
        return list(cast("Mapping[str, object]", container).values())
    return list(cast("Sequence[object]", container)) if isinstance(container, (list, tuple)) else []


def _folded(key: str) -> str:
    # Only what is short is remembered: a caller chooses the names.
    return _fold(key) if len(key) <= _SHORT_NAME else _fold.__wrapped__(key)


@lru_cache(maxsize=4096)
def _fold(key: str) -> str:
    return skeleton(key).casefold().replace("_", "").replace("-", "")


def contains_member(item: object, container: object) -> bool:
    """`item in container`, for what is known to be an object."""
    members = cast("Mapping[str, object]", container)
    try:
        return text(item) in members or _refuse_other_spelling(text(item), members)
    except Missing:
        return False  # said by an object of which not all is known
