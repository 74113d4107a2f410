"""Replay: what a policy would decide about recorded calls is what it does decide when they come again."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from mcpauth_middleware import AuditOptions, Policy
from mcpauth_middleware.message import read_batch
from mcpauth_middleware.policy import Context, ToolFacts
from mcpauth_middleware.policy.errors import Missing
from mcpauth_middleware.replay import Recorded, compare, replay
from mcpauth_middleware.replay.errors import NotKept
from mcpauth_middleware.replay.partial import Partial
from mcpauth_middleware.replay.verdict import RANK
from tests.middleware.edge_helpers import Clock, Journal, RecordingApp, bearer, client_of, post, protect
from tests.middleware.gate_helpers import headers
from tests.middleware.replay_helpers import event, journal_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcpauth_middleware.replay import Compared
    from mcpauth_middleware.replay.recorded import Effect

pytestmark = pytest.mark.anyio

OLD = """
version = 1
[scopes]
"files:write" = ["files:read"]
[[rules]]
id = "readers"
allow = { tools = ["read", "list"], resources = ["file:///srv/**"], prompts = ["greet"] }
scopes = ["files:read"]
[[rules]]
id = "writers"
allow = { tools = ["write"] }
scopes = ["files:write"]
when = 'path_under(args.path, "/srv")'
[[rules]]
id = "no-secrets"
deny = { tools = ["*"] }
when = 'has(args.path) and path_under(args.path, "/srv/secret")'
"""
NEW = """
version = 1
[[rules]]
id = "readers"
allow = { tools = ["read"], resources = ["file:///srv/open/**"], prompts = ["*"] }
scopes = ["files:read"]
when = 'not has(args.mode) or args.mode == "r"'
[[rules]]
id = "staff"
allow = { tools = ["write", "list"] }
groups = ["staff"]
[[rules]]
id = "not-from-there"
deny = { tools = ["list"] }
ip = ["203.0.113.0/24"]
[[rules]]
id = "no-secrets"
deny = { tools = ["write"] }
when = 'has(args.path) and path_under(args.path, "/srv/secret")'
"""
WITH_GROUPS = OLD + '\n[claims]\ngroups = "groups"\n'

CALLS: list[tuple[str, dict[str, Any]]] = [
    *(
        ("tools/call", {"name": tool, "arguments": arguments})
        for tool in ("read", "write", "list", "other")
        for arguments in (
            {},
            {"path": "/srv/a"},
            {"path": "/srv/secret/a"},
            {"path": "/srv/a", "mode": "r"},
            {"path": "/srv/a", "mode": "w"},
            {"path": ["/srv/a"]},
            {"Path": "/srv/secret/a"},
        )
    ),
    ("prompts/get", {"name": "greet"}),
    ("prompts/get", {"name": "draft", "arguments": {"mode": "r"}}),
    ("resources/read", {"uri": "file:///srv/open/a"}),
    ("resources/read", {"uri": "file:///srv/closed/a"}),
    ("resources/read", {"uri": "file:///srv/open/a?x=1"}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {}}),
    ("tools/list", {}),
    ("unheard/of", {}),
]
PEOPLE: list[dict[str, Any]] = [
    {"scope": "files:read"},
    {"scope": "files:write", "groups": ["staff"]},
    {"scope": "other", "groups": ["guests"]},
    {"scope": "other", "groups": "staff"},
]


async def recorded(policy: Policy, options: AuditOptions | None = None) -> list[dict[str, Any]]:
    """The journal of all calls by all people, under a policy."""
    journal, clock = Journal(), Clock()
    guarded = protect(RecordingApp(), policy=policy, audit=journal, audit_options=options, now=clock)
    client = client_of(guarded)
    for who in PEOPLE:
        for method, params in CALLS:
            await post(client, method, params, headers=bearer(**who))
    return [{**event, "ts": "2027-01-15T08:00:00.000Z", "seq": at} for at, event in enumerate(journal.events)]


def decided(events: Sequence[Mapping[str, Any]]) -> list[Effect]:
    return [event["decision"]["effect"] for event in events if "decision" in event]


async def test_what_is_predicted_is_what_then_happens() -> None:
    """Where the journal keeps what the rules read, every prediction is certain, and all of them are right."""
    keep = AuditOptions(keep={"*": ["path", "mode"]}, claims=["groups"])
    before = await recorded(Policy.from_toml(WITH_GROUPS), keep)
    after = await recorded(Policy.from_toml(NEW), keep)
    journal = read(before)

    found = list(replay(Policy.from_toml(NEW), journal))
    actual = decided(after)
    assert len(found) + len(journal.incomplete) == len(actual) == len(PEOPLE) * len(CALLS)
    complete = [
        effect
        for (effect, event) in zip(actual, [e for e in before if "decision" in e], strict=True)
        if not event.get("mcp", {}).get("shortened")
    ]
    certain = [(one, effect) for one, effect in zip(found, complete, strict=True) if one.new.is_certain]
    assert [one.new.least for one, _ in certain] == [effect for _, effect in certain]
    assert len(certain) > 0.9 * len(found)
    assert {one.change for one, _ in certain} == {"same", "wider", "narrower"}


async def test_where_the_journal_does_not_tell_the_truth_is_between_the_bounds() -> None:
    """Nothing was kept: the prediction says so, and what it excludes does not happen."""
    before = await recorded(Policy.from_toml(OLD))
    after = decided(await recorded(Policy.from_toml(NEW)))
    journal = read(before)
    found = list(replay(Policy.from_toml(NEW), journal))
    actual: list[Effect] = [
        effect
        for effect, event in zip(after, [e for e in before if "decision" in e], strict=True)
        if not event.get("mcp", {}).get("shortened")
    ]
    assert any(not one.new.is_certain for one in found)
    for one, effect in zip(found, actual, strict=True):
        assert RANK[one.new.least] <= RANK[effect] <= RANK[one.new.most], str(one.recorded)
    assert {one.change for one in found} == {"same", "narrower", "unknown"}


async def test_the_same_policy_changes_nothing() -> None:
    """Whatever was kept."""
    events = await recorded(Policy.from_toml(OLD))
    assert {one.change for one in replay(Policy.from_toml(OLD), read(events))} == {"same"}


async def test_two_policies_are_compared_over_the_same_calls() -> None:
    """Neither of them need have been there."""
    keep = AuditOptions(keep={"*": ["path", "mode"]}, claims=["groups"])
    events = await recorded(Policy.from_toml("version = 1"), keep)
    old, new = Policy.from_toml(OLD), Policy.from_toml(NEW)

    def key(one: Compared) -> tuple[int, str]:
        return (one.recorded.event["seq"], one.new.least)

    compared = {key(one): one.change for one in compare(old, new, read(events))}
    replayed = {key(one) for one in replay(new, read(events))}
    assert set(compared) == replayed
    assert "wider" in compared.values()
    assert "narrower" in compared.values()


async def test_what_a_journal_cannot_say_is_listed_as_such() -> None:
    """A shortened URI, a journal of an earlier version, a line that a crash has cut."""
    events = await recorded(Policy.from_toml(OLD))
    del events[0]["actor"]["scopes"]
    lines = [json.dumps(event) for event in events]
    foreign = json.dumps({"v": 99, "type": "call", "decision": {}})
    journal = journal_of(*lines, "", '{"v": 1, "decis', "[]", foreign)
    found = list(replay(Policy.from_toml(NEW), journal))
    assert len(found) == len(decided(events)) - len(journal.incomplete)
    lacks = {missing for _, missing in journal.incomplete}
    assert lacks == {"the scopes of the caller", "every name in full"}
    assert journal.unreadable == 3
    assert journal.read == len(events) + 3


@pytest.mark.parametrize(
    ("mcp", "lacks"),
    [
        ({"method": "resources/read", "name": "file:///a", "shortened": True}, "every name in full"),
        ({"method": "subscriptions/listen", "names": ["a"], "targets": 9}, "every name in full"),
    ],
)
def test_an_event_that_does_not_say_enough_is_told_with_what_it_lacks(
    mcp: dict[str, Any], lacks: str
) -> None:
    """It is counted and never guessed."""
    journal = read([event(mcp={**mcp, "protocol": "2026-07-28"})])
    assert not list(replay(Policy.from_toml(NEW), journal))
    assert [missing for _, missing in journal.incomplete] == [lacks]


def test_tool_facts_come_back_as_they_were_told() -> None:
    """And a tool of which nothing was told is not known now either."""
    policy = Policy.from_toml('version = 1\n[[rules]]\nid = "a"\nallow = { tools = ["*"] }\ntags = ["good"]')
    effects: list[tuple[str, str]] = []
    tools: tuple[dict[str, Any] | None, ...] = ({"tags": ["good"]}, {"tags": []}, {}, None)
    for tool in tools:
        (one,) = replay(policy, read([event() if tool is None else event(tool=tool)]))
        effects.append((one.new.least, one.new.most))
    assert effects == [("allow", "allow"), ("deny", "deny"), ("deny", "deny"), ("deny", "allow")]


def test_an_object_of_which_only_some_is_known() -> None:
    """Known, absent, and neither."""
    partial = Partial.of("args", {"a": 1, "b.c": 2, "b.d.e": None}, ("x", "b.y"))
    assert partial["a"] == 1
    assert partial["b"]["c"] == 2
    assert partial["b"]["d"]["e"] is None
    assert "a" in partial
    for name in ("x",):
        with pytest.raises(Missing):
            partial[name]
    with pytest.raises(Missing):
        partial["b"]["y"]
    for name in ("z",):
        with pytest.raises(NotKept, match=r"the journal does not hold args\.z"):
            partial[name]
        with pytest.raises(NotKept):
            assert name in partial
    for look in (len, list, dict):
        with pytest.raises(NotKept):
            look(partial)


# A property: random policies over random journals

CONDITIONS = (
    'args.path == "/a"',
    'has(args.path) and args.path == "/b"',
    "not has(args.mode)",
    "args.count > 3",
    '"mode" in args',
    'not ("mode" in(args))',
    'has(principal.groups) and "x" in principal.groups',
    "len(args) < 2",
    'args.options.deep == "x"',
    '"staff" in principal.groups',
    'principal.tenant == "a"',
    "tool.annotations.readOnlyHint",
    'args.path == "/a" or args.count == 1',
)
CLAIMS: dict[str, list[Any]] = {
    "groups": [["staff"], [], "staff"],
    "tenant": ["a", "b", 7],
    "level": [1, 3, "1", [2], {}],
}
VALUES: dict[str, list[Any]] = {
    "path": ["/a", "/b", ["/a"], None],
    "mode": ["r"],
    "count": [1, 5, "5"],
    "options": [{"deep": "x"}, {"deep": 7}, {}, "x"],
    "Path": ["/a"],
}


def random_policy(source: random.Random) -> Policy:
    rules: list[str] = []
    for number in range(source.randint(1, 4)):
        effect = source.choice(["allow", "allow", "deny"])
        lines = [f'id = "{number}"', f'{effect} = {{ tools = ["{source.choice(["*", "t", "u"])}"] }}']
        if effect == "allow" and source.random() < 0.5:
            lines.append('scopes = ["s"]')
        if source.random() < 0.8:
            lines.append(f"when = '{source.choice(CONDITIONS)}'")
        if source.random() < 0.4:
            lines.append('claims = { tenant = "a", level = [1, 2] }')
        rules.append("[[rules]]\n" + "\n".join(lines))
    return Policy.from_toml("version = 1\n" + "\n".join(rules))


@pytest.mark.parametrize("seed", range(300))
def test_no_prediction_is_ever_wrong(seed: int) -> None:
    """Whatever is kept: what is certain is so, and what is not lies between the bounds."""
    from mcpauth_middleware.audit.description import Description
    from mcpauth_middleware.audit.event import intent
    from mcpauth_middleware.principal import Principal

    source = random.Random(seed)  # noqa: S311 (tests)
    old, new = random_policy(source), random_policy(source)
    names = source.sample(["path", "mode", "count", "options", "options.deep"], source.randint(0, 5))
    kept = source.sample(["tenant", "level"], source.randint(0, 2))
    describe = Description(AuditOptions(keep={"*": names} if names else {}, claims=kept), policy=old)
    for _ in range(10):
        arguments = {name: source.choice(values) for name, values in VALUES.items() if source.random() < 0.4}
        claims = {name: source.choice(values) for name, values in CLAIMS.items() if source.random() < 0.6}
        who = Principal("i", "s", None, frozenset(source.sample(["s", "o"], 1)), "r", 2**33, None, claims)
        request = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "t", "arguments": arguments},
        }
        (member,) = read_batch(json.dumps([request]).encode(), headers(None))
        assert member.message is not None
        facts = source.choice([None, ToolFacts(frozenset(), {"readOnlyHint": source.random() < 0.5})])
        context = Context(now=1.0, tool={"t": facts}.get)
        event = intent(
            member.message, who, old.decide(member.message, who, context), None, describe=describe, tool=facts
        )
        (one,) = replay(new, read([{**event, "ts": "1970-01-01T00:00:01Z"}]))
        actual = new.decide(member.message, who, context)
        detail = (arguments, claims, names, kept, new.to_toml(), one.new)
        if facts is not None:
            assert RANK[one.new.least] <= RANK[actual.effect] <= RANK[one.new.most], detail
        elif one.new.is_certain:
            assert one.new.least == actual.effect, detail


def test_a_recorded_call_is_told_on_one_line() -> None:
    """Who, through which client, what."""
    event = {
        "ts": "2026-11-22T17:44:53.590Z",
        "type": "call",
        "actor": {"iss": "https://as", "sub": "ada", "client_id": "c"},
        "mcp": {"method": "tools/call", "name": "t", "kind": "tool", "protocol": "2025-11-25"},
        "decision": {"effect": "allow", "rule": "r"},
    }
    assert str(Recorded.of(event)) == "2026-11-22T17:44:53.590Z ada (c) tools/call t"
