"""Patterns: `*` is special and nothing else is, and no name makes matching slow."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpauth_middleware.policy.patterns import Pattern, pattern_problem, readings
from tests.middleware.work import calls

if TYPE_CHECKING:
    from mcpauth_middleware.message.target import TargetKind


def matches(kind: Literal["tool", "resource"], pattern: str, name: str) -> bool:
    return Pattern(kind, pattern).matches_all(readings(kind, name))


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("search", "search", True),
        ("search", "Search", False),
        ("search", "search2", False),
        ("search", "", False),
        ("*", "", True),
        ("*", "a/b.c", True),
        ("list_*", "list_", True),
        ("list_*", "list_files", True),
        ("list_*", "my_list_files", False),
        ("*_delete", "x_delete", True),
        ("*_delete", "x_delete_all", False),
        ("a*b", "ab", True),
        ("a*b", "aXYb", True),
        ("a*b", "aXYbc", False),
        ("aa*aa", "aaa", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "acb", False),
        ("*a*", "xax", True),
        ("*a*a*", "xax", False),
        ("drop_*", "drop_a/b", True),
        ("a.c", "abc", False),
        ("a+", "aa", False),
        ("^a$", "a", False),
    ],
)
def test_a_star_in_a_name_stands_for_any_characters(pattern: str, name: str, expected: bool) -> None:
    """Names of tools, prompts and methods have no segments."""
    assert matches("tool", pattern, name) is expected


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("file:///srv/a", "file:///srv/a", True),
        ("file:///srv/*", "file:///srv/a", True),
        ("file:///srv/*", "file:///srv/", True),
        ("file:///srv/*", "file:///srv/a/b", False),
        ("file:///srv/*", "file:///srv", False),
        ("file:///srv/*.txt", "file:///srv/a.txt", True),
        ("file:///srv/*.txt", "file:///srv/a/b.txt", False),
        ("file:///srv/**", "file:///srv/a", True),
        ("file:///srv/**", "file:///srv/a/b/c", True),
        ("file:///srv/**", "file:///srv/", True),
        ("file:///srv/**", "file:///srv", False),
        ("file:///srv/**", "file:///srv2/a", False),
        ("file:///srv/**/c", "file:///srv/c", True),
        ("file:///srv/**/c", "file:///srv/a/b/c", True),
        ("file:///srv/**/c", "file:///srv/a/b/d", False),
        ("file:///**/x/**/y", "file:///x/x/z/x/y", True),
        ("file:///**/x/**/y", "file:///y/x", False),
        ("**", "notes:today", True),
        ("**", "file:///a/b", True),
        ("*", "notes:today", True),
        ("*", "file:///a", False),
        ("https://*.example.com/**", "https://a.example.com/b", True),
        ("https://*.example.com/**", "https://evil.test/.example.com/b", False),
        ("https://*.example.com/**", "https://a.example.com", False),
        ("db://Users/*", "db://users/1", False),
    ],
)
def test_in_a_resource_a_star_stays_in_its_segment_and_two_cross_it(
    pattern: str, name: str, expected: bool
) -> None:
    """A segment is what stands between two slashes."""
    assert matches("resource", pattern, name) is expected


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("file:///srv/*", "file:///srv/a%2Fb"),
        ("file:///srv/share/**", "file:///srv/%73hare/a"),
        ("file:///srv/*", "file:///srv/a%252Fb"),
    ],
)
def test_an_allow_must_match_the_resource_in_each_of_its_readings(pattern: str, name: str) -> None:
    """Some servers decode percent escapes, some do not: neither may reach more than was allowed."""
    assert not Pattern("resource", pattern).matches_all(readings("resource", name))
    assert Pattern("resource", pattern).matches_any(readings("resource", name))


@pytest.mark.parametrize(
    "name",
    ["file:///etc/passwd", "file:///%65tc/passwd", "file:///etc%2Fpasswd", "file:///%2565tc/passwd"],
)
def test_a_deny_matches_the_resource_in_any_of_its_readings(name: str) -> None:
    """Otherwise an escape would switch it off."""
    assert Pattern("resource", "file:///etc/**").matches_any(readings("resource", name))


def test_a_pattern_may_be_written_with_escapes_as_the_server_lists_it() -> None:
    """`file:///a%20b` is what stands in `resources/list`."""
    assert matches("resource", "file:///a%20b", "file:///a%20b")
    assert matches("resource", "file:///a%20b/*", "file:///a%20b/c%20d")
    assert not matches("resource", "file:///a%2Fb", "file:///a/b")


WORDS = st.text(alphabet="ab/*", max_size=12)


@given(WORDS, st.text(alphabet="ab/", max_size=12))
def test_names_match_as_a_regular_expression_would(pattern: str, name: str) -> None:
    """The linear matcher agrees with the obvious one."""
    pattern = re.sub(r"\*+", "*", pattern)
    obvious = ".*".join(map(re.escape, pattern.split("*")))
    assert matches("tool", pattern, name) == bool(re.fullmatch(obvious, name, re.DOTALL))


@given(
    st.lists(st.sampled_from(["a", "b", "*", "a*", "**", ""]), min_size=1, max_size=6),
    st.text(alphabet="ab/", max_size=12),
)
def test_resources_match_as_a_regular_expression_would(segments: list[str], name: str) -> None:
    """The linear matcher agrees with the obvious one."""
    obvious = ""
    for position, segment in enumerate(segments):
        is_last = position == len(segments) - 1
        if segment == "**":
            obvious += r"[^/]*(?:/[^/]*)*" if is_last else r"(?:[^/]*/)*"
        else:
            obvious += segment.replace("*", "[^/]*") + ("" if is_last else "/")
    assert matches("resource", "/".join(segments), name) == bool(re.fullmatch(obvious, name))


@pytest.mark.parametrize("pattern", ["*a" * 20 + "*", "*a" * 20 + "b", "*ab" * 10 + "*"])
@pytest.mark.parametrize("letter", ["a", "ab"])
def test_a_name_is_looked_at_once_for_each_part_of_a_pattern(pattern: str, letter: str) -> None:
    """However long it is: a backtracking regular expression would take years for some."""
    matcher, names = Pattern("tool", pattern), [(letter * size,) for size in (500, 4_000)]
    short, long = (calls(partial(matcher.matches_all, name)) for name in names)
    assert short == long <= 60


@pytest.mark.parametrize(
    "pattern", ["/".join(["**", "*a*a*"] * 10) + "/b", "**/a/a/a/a/b", "/".join(["a*"] * 40)]
)
def test_a_uri_is_matched_in_linear_time(pattern: str) -> None:
    """Twice as many segments are at most twice the work."""
    matcher, names = Pattern("resource", pattern), ["aa/" * size for size in (100, 200, 400)]
    work = [calls(partial(matcher.matches_all, (name,))) for name in names]
    assert work[1] <= 2.1 * work[0]
    assert work[2] <= 2.1 * work[1]


@pytest.mark.parametrize(
    ("pattern", "mend"),
    [
        ("", "* matches every name"),
        ("list_**", "** is for resources"),
        ("drop_?", "only * is special"),
        ("[ab]*", "only * is special"),
        ("{a,b}", "only * is special"),
        ("a\nb", "control character"),
    ],
)
def test_a_name_pattern_that_would_match_nothing_is_refused_with_the_mend(pattern: str, mend: str) -> None:
    """A deny rule that silently matches nothing is an open door."""
    kinds: tuple[TargetKind, ...] = ("tool", "prompt", "method")
    for kind in kinds:
        assert mend in (pattern_problem(kind, pattern) or "")


@pytest.mark.parametrize(
    ("pattern", "mend"),
    [
        ("", "* matches every name"),
        ("file:///srv/**.txt", "whole segment"),
        ("file:///srv/***", "whole segment"),
        ("file:///srv/%2A", "%2A"),
        ("file:///srv/%252a", "%2A"),
        ("FILE:///srv/**", "lower case"),
        ("file:///srv/../etc", "dot segment"),
        ("file://srv/**", "file:///"),
        ("https://EXAMPLE.com/**", "lower case"),
        ("https://example.com:443/**", "default port"),
        ("file:///a b", "space"),
    ],
)
def test_a_resource_pattern_that_would_match_nothing_is_refused_with_the_mend(
    pattern: str, mend: str
) -> None:
    """What the gate never lets through cannot be matched either."""
    assert mend in (pattern_problem("resource", pattern) or "")


@pytest.mark.parametrize(
    "pattern",
    ["**", "*", "file:///**", "https://*.example.com:8443/**/x*", "db://Users/*", "a?b=[c]", "x://{id}"],
)
def test_other_resource_patterns_are_fine(pattern: str) -> None:
    """`?`, brackets and braces are characters of URIs and templates."""
    assert pattern_problem("resource", pattern) is None
