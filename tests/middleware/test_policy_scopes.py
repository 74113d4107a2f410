"""Scopes and their hierarchy, RFC 6749 §3.3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpauth_middleware.policy import PolicyError
from mcpauth_middleware.policy.scopes import ScopeHierarchy, is_scope

NAMES = [f"s{number}" for number in range(8)]
# Only to later names, so that it is acyclic.
ACYCLIC = st.fixed_dictionaries(
    {
        name: st.lists(st.sampled_from(NAMES[number + 1 :] or NAMES[-1:]), max_size=3)
        for number, name in enumerate(NAMES[:-1])
    }
)


def reachable(implies: dict[str, list[str]], start: str) -> set[str]:
    found, todo = {start}, [start]
    while todo:
        for name in implies.get(todo.pop(), []):
            if name not in found:
                found.add(name)
                todo.append(name)
    return found


@given(ACYCLIC, st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)))
def test_who_holds_a_scope_holds_all_that_it_implies(
    implies: dict[str, list[str]], held: set[str], needed: set[str]
) -> None:
    """The closure is what can be reached."""
    hierarchy = ScopeHierarchy(implies)
    everything = {name for scope in held for name in reachable(implies, scope)}
    assert hierarchy.held(held) == everything
    assert hierarchy.satisfies(held, needed) == (needed <= everything)
    assert hierarchy.held(hierarchy.held(held)) == hierarchy.held(held)


def test_a_broader_scope_satisfies_and_a_narrower_does_not() -> None:
    """Implication has a direction."""
    hierarchy = ScopeHierarchy({"admin": ["write"], "write": ["read"]})
    assert hierarchy.satisfies({"admin"}, {"read", "write"})
    assert not hierarchy.satisfies({"read"}, {"write"})
    assert hierarchy.satisfies({"other"}, {"other"})
    assert hierarchy.satisfies((), ())
    assert hierarchy.names == {"admin", "write", "read"}


@pytest.mark.parametrize(
    ("implies", "cycle"),
    [
        ({"a": ["a"]}, "a -> a"),
        ({"a": ["b"], "b": ["a"]}, "a -> b -> a"),
        ({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}, "a -> b -> c -> a"),
    ],
)
def test_a_cycle_is_refused_and_named(implies: dict[str, list[str]], cycle: str) -> None:
    """Equal scopes under two names are a mistake."""
    with pytest.raises(PolicyError, match=f"cannot imply itself: {cycle}$"):
        ScopeHierarchy(implies)


@pytest.mark.parametrize(
    "implies", [{"a b": []}, {"": []}, {"a": "b"}, {"a": [1]}, {"a": ["b\n"]}, {"a": ['"']}, {"a": 1}]
)
def test_what_is_no_scope_is_refused(implies: dict[str, list[str]]) -> None:
    """RFC 6749 §3.3: scope-token."""
    with pytest.raises(PolicyError, match=r"^scopes\."):
        ScopeHierarchy(implies)


def test_a_scope_is_visible_ascii_without_quote_and_backslash() -> None:
    """RFC 6749 §3.3: `%x21 / %x23-5B / %x5D-7E`."""
    allowed = {chr(code) for code in range(256) if is_scope(chr(code))}
    assert allowed == {chr(code) for code in range(0x21, 0x7F)} - {'"', "\\"}
