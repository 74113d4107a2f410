"""Lint: rules that can be read and still cannot mean what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcpauth_middleware.policy import ClientMatch, Policy, Rule
from tests.middleware.policy_helpers import allow, deny, policy
from tests.middleware.work import calls

if TYPE_CHECKING:
    from collections.abc import Callable


def findings(*rules: Rule, scopes: dict[str, list[str]] | None = None) -> list[tuple[str, str, str | None]]:
    found = policy(*rules, scopes=scopes).lint()
    assert all(str(one).startswith(one.level) for one in found)
    return [(one.level, one.code, one.rule) for one in found]


@pytest.mark.parametrize(
    "rules",
    [
        (),
        (allow(),),
        (allow(), deny(tools=("u",))),
        (allow(tools=("read_*",)), deny(tools=("read_secret*",))),
        (allow("broad", "s", tools=("*",)), allow("narrow", "t", tools=("x",))),
        (allow("a", "s"), allow("b", "t")),
        (allow(tools=("*",)), deny(tools=("*",), when="args.x == 1")),
        (allow(tools=("*",)), deny(tools=("*",), mode="shadow")),
    ],
)
def test_what_makes_sense_is_not_complained_about(rules: tuple[Rule, ...]) -> None:
    """A narrower rule for more scopes, a deny with a condition, an empty policy that is being written."""
    assert findings(*rules) == []


@pytest.mark.parametrize(
    ("allowed", "denied"),
    [
        (("t",), ("t",)),
        (("t",), ("*",)),
        (("read_*",), ("re*",)),
        (("read_*_x",), ("read_*",)),
        (("a", "b"), ("a", "b", "c")),
        (("*a*",), ("*",)),
    ],
)
def test_an_allow_rule_that_is_always_denied_is_an_error(
    allowed: tuple[str, ...], denied: tuple[str, ...]
) -> None:
    """Every pattern of it is covered by a deny rule without conditions."""
    found = findings(allow(tools=allowed), deny(tools=denied), allow("else", tools=("zzz",)))
    assert ("error", "unreachable", "a") in found


def test_a_pattern_that_is_always_denied_is_a_warning() -> None:
    """The rest of the rule still means something."""
    assert findings(allow(tools=("a", "b")), deny(tools=("b",))) == [("warning", "unreachable", "a")]


@pytest.mark.parametrize(
    ("pattern", "cover", "covered"),
    [
        ("file:///srv/**", "file:///**", True),
        ("file:///srv/*", "file:///srv/**", True),
        ("file:///srv/**", "file:///srv/*", False),
        ("file:///srv/**/x", "file:///srv/**", True),
        ("file:///srv/**/x", "file:///srv/*/x", False),
        ("file:///srv/*/x", "file:///srv/**/x", True),
        ("file:///srv/a*", "file:///srv/*", True),
        ("https://h/a", "file:///**", False),
    ],
)
def test_resource_patterns_are_compared_by_what_they_match(pattern: str, cover: str, covered: bool) -> None:
    """`*` is one segment, `**` any number."""
    rules = (
        Rule(id="a", effect="allow", resources=(pattern,)),
        Rule(id="d", effect="deny", resources=(cover,)),
        allow("else"),
    )
    assert (("error", "unreachable", "a") in findings(*rules)) is covered


def test_a_rule_that_a_broader_one_makes_meaningless_is_a_warning() -> None:
    """Whoever lacks its scopes, or does not fit its conditions, is let in by the other."""
    assert findings(allow("all", tools=("*",)), allow("admin", "admin", tools=("drop_*",))) == [
        ("warning", "overridden", "admin")
    ]
    assert findings(allow("all", "s", tools=("*",)), allow("inside", "s", ip=("10.0.0.0/8",))) == [
        ("warning", "overridden", "inside")
    ]


def test_a_policy_that_enforces_nothing_is_an_error() -> None:
    """Everything would be denied, which is rarely meant by someone who writes rules."""
    assert findings(allow(mode="shadow"))[0] == ("error", "nothing-enforced", None)
    assert findings(deny())[0] == ("error", "nothing-enforced", None)


def test_the_same_rule_twice_is_a_warning() -> None:
    """Under another id."""
    assert findings(allow("a", "s", claims={"x": 1}), allow("b", "s", claims={"x": 1})) == [
        ("warning", "duplicate", "b")
    ]
    assert findings(allow("a", "s", claims={"x": 1}), allow("b", "s", claims={"x": 2})) == []


def test_a_pattern_that_another_of_its_rule_covers_is_a_warning() -> None:
    """The narrower one reads as if it were the limit."""
    assert findings(allow(tools=("*", "read_file"))) == [("warning", "redundant-pattern", "a")]
    assert findings(allow(tools=("read", "read"))) == [("warning", "redundant-pattern", "a")]


def test_a_scope_that_nothing_requires_is_a_warning() -> None:
    """A misspelt name in the hierarchy gives nobody anything."""
    assert findings(allow("a", "files:read"), scopes={"files:write": ["file:read"]}) == [
        ("warning", "unused-scope", None),
        ("warning", "unused-scope", None),
    ]
    assert findings(allow("a", "files:read"), scopes={"files:write": ["files:read"]}) == []


def test_a_client_s_own_word_is_a_warning() -> None:
    """Anyone can call itself anything."""
    assert findings(allow(client=ClientMatch(name=("claude",)))) == [("warning", "self-asserted", "a")]
    assert findings(allow(client=ClientMatch(host=("claude.ai",)))) == []


def many_rules(count: int) -> Policy:
    made = Policy()
    for number in range(count):
        made.add(allow(f"a{number}", "s", tools=(f"tool{number}_*", f"x{number}")))
    return made


def many_patterns(count: int) -> Policy:
    return policy(allow("a", tools=tuple(f"tool{number}_*" for number in range(count))))


@pytest.mark.parametrize("made", [many_rules, many_patterns])
def test_twice_as_much_is_twice_the_work(made: Callable[[int], Policy]) -> None:
    """Reloading waits for it: of rules, and of the patterns in one."""
    small, large = made(100), made(200)
    assert calls(large.lint) <= 2.2 * calls(small.lint)
    assert large.lint() == []
