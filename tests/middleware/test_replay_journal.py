"""Reading a journal back: each line is an event, or told as one that is none."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from mcpauth_middleware.replay import Journal, Line, lines_of
from mcpauth_middleware.replay.journal import MAX_PROBLEMS
from mcpauth_middleware.replay.lines import MAX_LINE_BYTES
from tests.middleware.replay_helpers import event, journal_of, read

MCP = event()["mcp"]
ACTOR = event()["actor"]
LISTEN = {"method": "subscriptions/listen", "protocol": "2026-07-28"}
NO_EVENT = "audit.jsonl line 1: no event of an audit journal: "


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"v": None}, "`v` is missing"),
        ({"v": True}, "`v` must be a whole number"),
        ({"v": 2}, "`v` must be 1; another version of mcpauth-kit wrote this"),
        ({"type": None}, "`type` is missing"),
        ({"type": 7}, "`type` must be a text"),
        ({"ts": 7}, "`ts` must be a text"),
        ({"ts": "then"}, "`ts` must be a moment, as in 2026-11-22T17:44:53.590Z"),
        ({"ts": "2026-11-22T17:44:53"}, "`ts` must be a moment, as in 2026-11-22T17:44:53.590Z"),
        ({"decision": []}, "`decision` must be an object"),
        ({"decision": {"rule": "a"}}, "`decision.effect` is missing"),
        ({"decision": {"effect": "maybe"}}, "`decision.effect` must be one of allow, step_up, deny"),
        ({"decision": {"effect": "deny", "rule": 1}}, "`decision.rule` must be a text"),
        ({"decision": {"effect": "deny", "bundle": []}}, "`decision.bundle` must be a text"),
        ({"actor": None}, "`actor` is missing"),
        ({"actor": "ada"}, "`actor` must be an object"),
        ({"actor": {**ACTOR, "sub": None}}, "`actor.sub` must be a text"),
        ({"actor": {**ACTOR, "scopes": "a b"}}, "`actor.scopes` must be a list of texts"),
        ({"actor": {**ACTOR, "scopes": [1]}}, "`actor.scopes` must be a list of texts"),
        ({"actor": {**ACTOR, "groups": "staff"}}, "`actor.groups` must be a list of texts"),
        ({"actor": {**ACTOR, "tenant": 7}}, "`actor.tenant` must be a text"),
        ({"actor": {**ACTOR, "claims": []}}, "`actor.claims` must be an object"),
        ({"source": "192.0.2.7"}, "`source` must be an object"),
        ({"source": {"ip": 7}}, "`source.ip` must be a text"),
        ({"client": []}, "`client` must be an object"),
        ({"tool": {"tags": "a"}}, "`tool.tags` must be a list of texts"),
        ({"tool": {"annotations": None}}, "`tool.annotations` must be an object"),
        ({"mcp": None}, "`mcp` is missing"),
        ({"mcp": {**MCP, "method": 1}}, "`mcp.method` must be a text"),
        ({"mcp": {**MCP, "protocol": None}}, "`mcp.protocol` must be a text"),
        ({"mcp": {**MCP, "name": 7}}, "`mcp.name` must be a text"),
        ({"mcp": {**MCP, "kind": "resource"}}, "`mcp.kind` must be one of tool"),
        ({"mcp": {**MCP, "method": "completion/complete"}}, "`mcp.kind` must be one of prompt, resource"),
        ({"mcp": {**MCP, "shortened": 1}}, "`mcp.shortened` must be true or false"),
        ({"mcp": {**MCP, "name": "a" * 9000}}, "`mcp.name` must be no longer than a name can be"),
        (
            {"mcp": {**LISTEN, "names": ["a", "a" * 9000], "targets": 2}},
            "`mcp.names` must be no longer than a name can be",
        ),
        ({"mcp": {**LISTEN, "names": "a"}}, "`mcp.names` must be a list of texts"),
        ({"mcp": {**LISTEN, "names": ["a"]}}, "`mcp.targets` is missing"),
        ({"mcp": {**LISTEN, "names": [], "targets": 0}}, "`mcp.targets` must be 2 or more"),
        ({"mcp": {**LISTEN, "method": "tools/call", "names": []}}, "`mcp.name` is missing"),
        ({"mcp": {"method": "tools/call", "protocol": "x"}}, "`mcp.name` is missing"),
        ({"args": []}, "`args` must be an object"),
        ({"args": {}}, "`args.bytes` is missing"),
        ({"args": {"bytes": 9, "kept": ["a"]}}, "`args.kept` must be an object"),
        ({"args": {"bytes": 9, "absent": {}}}, "`args.absent` must be a list of texts"),
        (
            {"args": {"bytes": 9, "kept": {"." * 5000: 1}}},
            "`args.kept` must be of names with fewer than 64 dots",
        ),
    ],
)
def test_an_event_of_another_shape_is_none(changed: dict[str, Any], problem: str) -> None:
    """Nothing is guessed of it, and the text says what to look at without a value of it."""
    told = {**event(), **changed}
    journal = read([{name: value for name, value in told.items() if value is not None}])
    assert not list(journal.decisions())
    assert journal.problems == [NO_EVENT + problem]
    assert (journal.read, journal.unreadable, journal.undecided, journal.incomplete) == (1, 1, 0, [])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"v": 1, "type": "ca', "not valid JSON"),
        (b"INFO:     Application startup complete.", "not valid JSON"),
        (b"null", "must be an object"),
        (b"[]", "must be an object"),
        (b'"text"', "must be an object"),
        (b"NaN", "NaN and Infinity are not JSON"),
        (b'{"v": 1e999}', "a number is too large"),
        (b'{"v": 1, "v": 1}', "an object has the same key twice"),
        (b'{"v": "\xff"}', "not UTF-8"),
        (b"\x00" * 9, "not valid JSON"),
        (b'\xef\xbb\xbf{"v": 1}', "not valid JSON"),
        ('{"v": 1}'.encode("utf-16"), "not UTF-8"),
        (b"[" * 100_000, "nested deeper than 64 levels"),
        (b"[" * 100 + b"]" * 100, "nested deeper than 64 levels"),
        (b'{"v": "\\ud800"}', "a string holds a lone surrogate"),
        (b" " * MAX_LINE_BYTES + b"{}", "longer than 4 MiB"),
    ],
)
def test_a_line_that_is_no_event_is_told_and_the_next_one_is_read(line: bytes, problem: str) -> None:
    """Also one that two readers would read differently, and one that no memory has room for."""
    whole = json.dumps(event()).encode()
    journal = Journal(lines_of("audit.jsonl", io.BytesIO(line + b"\n" + whole)))
    assert [one.asked.name for one in journal.decisions()] == ["t"]
    assert journal.problems == [NO_EVENT + problem]
    assert (journal.read, journal.unreadable) == (2, 1)


def test_lines_may_end_as_on_windows_and_the_last_one_not_at_all() -> None:
    """Empty lines are no lines, and a lone carriage return ends none."""
    whole = json.dumps(event()).encode()
    journal = Journal(lines_of("a", io.BytesIO(whole + b"\r\n\r\n\n  \n" + whole + b"\r" + b"\n" + whole)))
    assert len(list(journal.decisions())) == 3
    assert (journal.read, journal.unreadable) == (3, 0)
    torn = Journal(lines_of("a", io.BytesIO(whole + b"\n" + whole[:-1])))
    assert len(list(torn.decisions())) == 1
    assert torn.problems == ["a line 2: no event of an audit journal: not valid JSON"]


@pytest.mark.parametrize("more", [0, 1, 2, MAX_LINE_BYTES, 2 * MAX_LINE_BYTES + 1])
def test_a_line_that_is_too_long_is_one_line(more: int) -> None:
    """However many pieces it is read in."""
    first = b"x" * (MAX_LINE_BYTES - 1 + more) + b"\n"
    found = list(lines_of("a", io.BytesIO(first + b"y")))
    assert found == [Line("a", 1, first if more == 0 else None), Line("a", 2, b"y")]


def test_only_some_lines_are_told_with_what_is_wrong() -> None:
    """Whoever names the wrong file need not read all of it; all are counted."""
    journal = journal_of(*["{"] * 1000)
    assert not list(journal.decisions())
    assert (journal.unreadable, len(journal.problems)) == (1000, MAX_PROBLEMS)


@pytest.mark.parametrize(
    "members",
    [{"phase": "intent"}, {"reason": "denied"}, {"reason": "no_rule"}, {"reason": "insufficient_scope"}],
)
def test_an_event_that_must_hold_a_decision_is_none_without(members: dict[str, Any]) -> None:
    """A call whose decision is lost must not pass for an outcome."""
    journal = read([event(decision=None, **members)])
    assert not list(journal.decisions())
    assert journal.problems == [NO_EVENT + "`decision` is missing"]


@pytest.mark.parametrize(
    "members",
    [
        {"reason": "rate_limited"},
        {"phase": "intent", "type": "stream", "mcp": {"protocol": "2025-11-25"}},
        {"phase": None, "type": "policy.reload", "actor": None, "mcp": None},
    ],
)
def test_other_events_are_counted(members: dict[str, Any]) -> None:
    """Outcomes, streams, and what belongs to no call."""
    journal = read([event(decision=None, **members)])
    assert not list(journal.decisions())
    assert (journal.read, journal.undecided, journal.unreadable) == (1, 1, 0)
