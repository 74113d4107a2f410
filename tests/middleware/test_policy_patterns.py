"""Patterns: `*` is special and nothing else is, and no name makes matching slow."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpauth_middleware.policy.patterns import Pattern, Readings, pattern_problem, readings
from tests.middleware.work import calls

if TYPE_CHECKING:
    from mcpauth_middleware.message.target import TargetKind


def matches(kind: Literal["tool", "resource"], pattern: str, name: str) -> bool:
    return Pattern(kind, pattern).allows(readings(kind, name))


def denies(kind: Literal["tool", "resource"], pattern: str, name: str) -> bool:
    return Pattern(kind, pattern).matches_any(readings(kind, name).every)


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
    assert not matches("resource", pattern, name)
    assert denies("resource", pattern, name)


@pytest.mark.parametrize(
    "name",
    ["file:///etc/passwd", "file:///%65tc/passwd", "file:///etc%2Fpasswd", "file:///%2565tc/passwd"],
)
def test_a_deny_matches_the_resource_in_any_of_its_readings(name: str) -> None:
    """Otherwise an escape would switch it off."""
    assert denies("resource", "file:///etc/**", name)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("notes://*", "notes://a?x=1#y", True),
        ("notes://a", "notes://a?x", False),
        ("notes://*/public", "notes://secret?/public", False),
        ("notes://*/public", "notes://secret#/public", False),
        ("file:///**/public.txt", "file:///srv/secret.txt?/public.txt", False),
        ("file:///**/public.txt", "file:///srv/secret.txt#x/public.txt", False),
        ("file:///**/public.txt*", "file:///srv/public.txt?a/b", False),
        ("file:///**", "file:///srv/a?b/c#d/e", True),
        ("file:///srv/*.txt", "file:///srv/a%3Fb.txt", True),
        ("search://items?q=*", "search://items?q=a", True),
        ("search://items?q=*", "search://items?q=a#b", True),
        ("search://items?q=*", "search://others?q=a", False),
        ("search://*?q=*", "search://others?q=a", True),
        ("search://*=*", "search://items?q=a", False),
        ("notes://a#*", "notes://a#b", True),
        ("notes://a#*", "notes://a", False),
    ],
)
def test_an_allow_must_match_what_is_before_a_query_and_a_fragment_by_itself(
    pattern: str, name: str, expected: bool
) -> None:
    """Templates of FastMCP, and of mcp 2.x, are matched with no more than that."""
    assert matches("resource", pattern, name) is expected


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("notes://secret", "notes://secret?"),
        ("notes://secret", "notes://secret#x"),
        ("notes://secret", "notes://s%65cret?x#y"),
        ("**/*.key", "file:///srv/a.key?/public.txt"),
        ("notes://secret/**", "notes://secret/a?b"),
        ("search://items?q=secret", "search://items?q=secret#x"),
        ("http://h/**", "http://h"),
        ("http://h/", "http://h"),
        ("http://h/**", "http://h?x"),
    ],
)
def test_a_deny_also_matches_what_is_before_a_query_or_a_fragment(pattern: str, name: str) -> None:
    """Otherwise a question mark would switch it off."""
    assert denies("resource", pattern, name)


def test_a_deny_that_names_a_query_is_about_that_query() -> None:
    """What is left out of the URI is not left out of the pattern."""
    assert not denies("resource", "search://items?q=secret", "search://items?q=other")
    assert not denies("resource", "search://items?q=secret", "search://items")


@pytest.mark.parametrize("name", ["__0123456789ab_delete_all", "0123456789ab_delete_all"])
def test_a_name_that_fastmcp_makes_for_a_tool_is_denied_as_the_tool(name: str) -> None:
    """The page of an app calls its tools by names with a hash, which anybody can compute."""
    assert denies("tool", "delete_*", name)
    assert not denies("tool", "delete_*", f"x{name}")


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", "__0123456789ab_save", False),
        ("*save", "__0123456789ab_save", False),
        ("_*", "__0123456789ab_save", False),
        ("__*_save", "__0123456789ab_save", True),
        ("__0123456789ab_save", "__0123456789ab_save", True),
        ("*", "0123456789ab_save", False),
        ("0123*", "0123456789ab_save", False),
        ("0123456789ab_*", "0123456789ab_save", True),
        ("*", "0123456789ab_", True),
        ("*", "0123456789AB_save", True),
        ("*", "__0123456789ab", True),
    ],
)
def test_only_a_pattern_that_begins_with_its_mark_allows_such_a_name(
    pattern: str, name: str, expected: bool
) -> None:
    """The tool may be listed under any other name, so that nobody can tell which rules are about it."""
    assert matches("tool", pattern, name) is expected


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
    short, long = (calls(partial(matcher.allows, Readings(name, name))) for name in names)
    assert short == long <= 60


@pytest.mark.parametrize(
    "pattern", ["/".join(["**", "*a*a*"] * 10) + "/b", "**/a/a/a/a/b", "/".join(["a*"] * 40)]
)
def test_a_uri_is_matched_in_linear_time(pattern: str) -> None:
    """Twice as many segments are at most twice the work."""
    matcher, names = Pattern("resource", pattern), ["aa/" * size for size in (100, 200, 400)]
    work = [calls(partial(matcher.allows, Readings((name,), (name,)))) for name in names]
    assert work[1] <= 2.1 * work[0]
    assert work[2] <= 2.1 * work[1]


@pytest.mark.parametrize("pattern", ["file:///srv/**", "file:///**/*.key", "file:///srv/**/secret/**"])
def test_usual_patterns_do_not_look_at_each_segment_of_a_long_uri(pattern: str) -> None:
    """A request can name many resources, each with thousands of segments."""
    matcher, names = Pattern("resource", pattern), ["file:///srv" + "/a" * size for size in (10, 4_000)]
    short, long = (calls(partial(matcher.allows, Readings((name,), (name,)))) for name in names)
    assert short == long <= 60


@pytest.mark.parametrize(
    ("pattern", "mend"),
    [
        ("", "is empty; * matches all"),
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
    ("method", "mend"),
    [
        ("tools/call", "name that in tools"),
        ("prompts/get", "name that in prompts"),
        ("resources/read", "name that in resources"),
        ("resources/unsubscribe", "name that in resources"),
        ("subscriptions/listen", "name that in resources"),
        ("completion/complete", "name that in prompts or resources"),
        ("tools/list", "open to everybody with a token, so no rule is about it; leave it out"),
        ("initialize", "open to everybody"),
        ("logging/setLevel", "open to everybody"),
    ],
)
def test_a_method_that_no_rule_about_methods_decides_is_refused(method: str, mend: str) -> None:
    """`deny = { methods = ["tools/call"] }` would deny nothing."""
    assert mend in (pattern_problem("method", method) or "")
    assert pattern_problem("tool", method) is None


@pytest.mark.parametrize("method", ["tasks/get", "unheard/of", "tools/*", "*", "sampling/createMessage"])
def test_other_methods_are_decided_by_rules_about_methods(method: str) -> None:
    """Those that name nothing else, and those that no revision has."""
    assert pattern_problem("method", method) is None


@pytest.mark.parametrize(
    ("pattern", "mend"),
    [
        ("", "is empty; ** matches all"),
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
