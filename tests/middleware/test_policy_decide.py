"""The decision: deny overrides, an allow needs its scopes, everything else is denied."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpauth_middleware.message import Message, Target
from mcpauth_middleware.policy import Decision, Policy, Rule
from mcpauth_middleware.policy.index import RuleIndex
from mcpauth_middleware.policy.patterns import readings
from tests.middleware.gate_helpers import MODERN, call, principal, read


def policy(*rules: Rule, scopes: dict[str, list[str]] | None = None) -> Policy:
    made = Policy(scopes=scopes)
    for rule in rules:
        made.add(rule)
    return made


def allow(id_: str, *scopes: str, tools: tuple[str, ...] = ("t",)) -> Rule:
    return Rule(id=id_, effect="allow", tools=tools, scopes=scopes)


def deny(id_: str, tools: tuple[str, ...] = ("t",)) -> Rule:
    return Rule(id=id_, effect="deny", tools=tools)


HELD, LACKING, DENY, OTHER = (
    allow("held", "a"),
    allow("lacking", "a", "b"),
    deny("deny"),
    allow("other", tools=("u",)),
)


@pytest.mark.parametrize(
    "rules",
    [rules for size in range(5) for rules in itertools.permutations((HELD, LACKING, DENY, OTHER), size)],
)
def test_the_decision_is_that_of_the_table_in_every_order(rules: tuple[Rule, ...]) -> None:
    """The truth table, exhaustively: each rule there or not, in each order."""
    decision = policy(*rules).decide(call("t"), principal("a"))
    if DENY in rules:
        assert decision == Decision("deny", "deny", "denied")
    elif HELD in rules:
        assert decision == Decision("allow", "held", "allowed", ("a",))
    elif LACKING in rules:
        assert decision == Decision("step_up", "lacking", "scope", ("a", "b"))
    else:
        assert decision == Decision("deny", None, "no_rule")


def test_what_no_rule_names_is_denied() -> None:
    """Default deny, with an empty policy too."""
    everyone = principal("a", "b", "admin")
    for message in (
        call("t"),
        read("prompts/get", {"name": "p"}),
        read("resources/read", {"uri": "file:///a"}),
        read("tasks/get", {"taskId": "1"}),
        read("unheard/of"),
    ):
        assert policy().decide(message, everyone).effect == "deny"


@pytest.mark.parametrize(
    "message",
    [
        read("initialize", {}),
        read("ping"),
        read("tools/list"),
        read("resources/templates/list"),
        read("logging/setLevel", {"level": "debug"}),
        read("notifications/cancelled", {"requestId": 1}, id=...),
        read("server/discover", version=MODERN),
        read("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, version=MODERN),
    ],
    ids=lambda message: message.method,
)
def test_what_has_no_target_needs_no_rule(message: Message) -> None:
    """Any authenticated principal may send it."""
    decision = policy().decide(message, principal())
    assert decision == Decision("allow", None, "no_target")


def test_a_rule_is_about_its_own_kind_of_target() -> None:
    """A tool, a prompt and a method of one name are three things."""
    rules = policy(allow("tool", tools=("search",)))
    assert rules.decide(call("search"), principal()).effect == "allow"
    assert rules.decide(read("prompts/get", {"name": "search"}), principal()).effect == "deny"
    assert rules.decide(read("search"), principal()).effect == "deny"


def test_a_method_is_allowed_only_by_a_rule_about_methods() -> None:
    """Tasks and extensions: `methods = ["tasks/*"]`."""
    rules = policy(Rule(id="tasks", effect="allow", methods=("tasks/*",), scopes=("tasks",)))
    assert rules.decide(read("tasks/get", {"taskId": "1"}), principal("tasks")).effect == "allow"
    assert rules.decide(read("tasks/get", {"taskId": "1"}), principal()).effect == "step_up"
    assert rules.decide(read("other/get"), principal("tasks")).effect == "deny"


def test_scopes_are_read_under_the_hierarchy() -> None:
    """Spec: servers account for hierarchies when deciding."""
    rules = policy(
        allow("readers", "files:read"), scopes={"files:admin": ["files:write"], "files:write": ["files:read"]}
    )
    assert rules.decide(call("t"), principal("files:admin")).effect == "allow"
    assert rules.decide(call("t"), principal("files")).effect == "step_up"


def test_a_step_up_asks_for_the_rule_that_lacks_fewest_scopes_with_those_held() -> None:
    """403 names every scope the call needs, held or not: some clients ask for exactly these."""
    far, near, later = allow("far", "x", "y", "z"), allow("near", "held", "b"), allow("later", "c")
    decision = policy(far, near, later).decide(call("t"), principal("held"))
    assert decision == Decision("step_up", "near", "scope", ("b", "held"))


def test_of_equal_rules_the_first_is_asked_for() -> None:
    """So that the challenge does not change from call to call."""
    decision = policy(allow("one", "b"), allow("two", "a")).decide(call("t"), principal())
    assert (decision.rule, decision.scopes) == ("one", ("b",))


def test_what_is_implied_by_a_held_scope_does_not_count_as_lacking() -> None:
    """`fewest` is under the hierarchy."""
    rules = policy(allow("two", "w", "x"), allow("three", "r", "s", "y"), scopes={"big": ["r", "s"]})
    assert rules.decide(call("t"), principal("big")).rule == "three"


def listen(*names: str) -> Message:
    uris = [f"file:///{name}" for name in names]
    return read("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}}, version=MODERN)


RESOURCES = (
    Rule(id="open", effect="allow", resources=("file:///open/*",), scopes=("r",)),
    Rule(id="more", effect="allow", resources=("file:///more/*",), scopes=("r", "m")),
    Rule(id="most", effect="allow", resources=("file:///most/*",), scopes=("x",)),
    Rule(id="never", effect="deny", resources=("file:///*/never",)),
)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("open/1", "open/2"), Decision("allow", "open", "allowed", ("r",))),
        (("open/1", "more/1"), Decision("step_up", "more", "scope", ("m", "r"))),
        (("more/1", "open/1", "most/1"), Decision("step_up", "more", "scope", ("m", "r", "x"))),
        (("open/1", "else/1"), Decision("deny", None, "no_rule")),
        (("most/1", "else/1"), Decision("deny", None, "no_rule")),
        (("open/1", "open/never"), Decision("deny", "never", "denied")),
        (("else/1", "most/1", "open/never"), Decision("deny", "never", "denied")),
    ],
)
def test_of_several_targets_all_must_be_allowed(names: tuple[str, ...], expected: Decision) -> None:
    """A missing scope is told only if everything else would allow; the union makes it one round trip."""
    decision = policy(*RESOURCES).decide(listen(*names), principal("r"))
    assert decision == expected


@pytest.mark.parametrize(
    "uri", ["file:///etc/passwd", "file:///%65tc/passwd", "file:///etc%2Fpasswd", "file:///%2565tc/x"]
)
def test_a_denied_resource_stays_denied_in_every_spelling(uri: str) -> None:
    """Percent escapes do not switch a deny rule off."""
    rules = policy(
        Rule(id="all", effect="allow", resources=("**",)),
        Rule(id="etc", effect="deny", resources=("file:///etc/**",)),
    )
    assert rules.decide(read("resources/read", {"uri": uri}), principal()) == Decision(
        "deny", "etc", "denied"
    )


def test_an_escape_does_not_reach_out_of_an_allowed_segment() -> None:
    """`*` is one segment to every server."""
    rules = policy(Rule(id="flat", effect="allow", resources=("file:///srv/*",)))
    assert rules.decide(read("resources/read", {"uri": "file:///srv/a"}), principal()).effect == "allow"
    assert rules.decide(read("resources/read", {"uri": "file:///srv/a%2Fb"}), principal()).effect == "deny"


def test_what_is_listed_is_what_may_be_used() -> None:
    """`sees` is the same decision; what needs a step up is not listed."""
    rules = policy(
        HELD, allow("more", "b", tools=("u",)), Rule(id="r", effect="allow", resources=("file:///{a}",))
    )
    alice = principal("a")
    assert rules.sees("tool", "t", alice)
    assert not rules.sees("tool", "u", alice)
    assert not rules.sees("prompt", "t", alice)
    assert rules.sees("resource", "file:///{a}", alice)
    assert not rules.sees("tools", "t", alice)
    assert not rules.sees("", "t", alice)


@pytest.mark.parametrize("size", [10, 1000])
def test_a_decision_looks_at_few_rules_however_many_there_are(size: int) -> None:
    """Exact names are in a dictionary, patterns under what they begin with: counted, not timed."""
    index = RuleIndex()
    for number in range(size):
        index.add(allow(f"exact{number}", tools=(f"tool_{number}",)))
        index.add(allow(f"prefix{number}", tools=(f"family{number}_*",)))
        index.add(
            Rule(
                id=f"r{number}", effect="deny", resources=(f"file:///srv/{number}/**", f"https://h/{number}")
            )
        )
    index.add(deny("suffix", tools=("*_drop",)))

    def considered(target: Target) -> int:
        return len(list(index.candidates(target.kind, readings(target.kind, target.name).every)))

    assert considered(Target("tool", "tool_7")) == 2
    assert considered(Target("tool", "family7_x")) == 2
    assert considered(Target("tool", "unknown")) == 1
    assert considered(Target("resource", "file:///srv/7/a/b")) == 1
    assert considered(Target("resource", "https://h/7")) == 1
    assert considered(Target("method", "tool_7")) == 0


def test_rules_of_a_thousand_decide_like_the_few() -> None:
    """The index changes how many are looked at, not what they say."""
    rules = policy(*(allow(f"n{number}", tools=(f"x{number}_*",)) for number in range(1000)), HELD, DENY)
    assert rules.decide(call("t"), principal("a")).rule == "deny"
    assert rules.decide(call("x999_y"), principal()).rule == "n999"
    # x1_* and x10_* both begin like x10_; only one matches.
    assert rules.decide(call("x10_y"), principal()).rule == "n10"


def test_a_rule_that_is_added_later_counts_at_once() -> None:
    """What was decided before is no reason to decide so again."""
    rules = policy(allow("a"))
    assert rules.decide(call("t"), principal()).effect == "allow"
    rules.add(deny("d"))
    assert rules.decide(call("t"), principal()) == Decision("deny", "d", "denied")


def test_the_hash_in_a_decision_is_that_of_the_policy_that_decides() -> None:
    """Also when nothing changed but a rule that is off."""
    rules = policy(allow("a"))
    before = rules.decide(call("t"), principal()).bundle
    rules.add(Rule(id="off", effect="deny", tools=("t",), mode="off"))
    after = rules.decide(call("t"), principal()).bundle
    assert before != after == rules.bundle


EFFECTS: st.SearchStrategy[Literal["allow", "deny"]] = st.sampled_from(("allow", "deny"))


@st.composite
def any_rules(draw: st.DrawFn) -> list[Rule]:
    rules: list[Rule] = []
    for number in range(draw(st.integers(0, 5))):
        effect = draw(EFFECTS)
        scopes = draw(st.sampled_from([(), ("a",), ("b",), ("a", "b")])) if effect == "allow" else ()
        rules.append(
            Rule(
                id=str(number),
                effect=effect,
                tools=draw(st.sampled_from([("t",), ("u",), ("*",), ("t", "u*")])),
                scopes=scopes,
                when=draw(st.sampled_from([None, None, 'args.path == "/a"', 'args.path != "/a"'])),
                mode="shadow" if draw(st.booleans()) else "enforce",
            )
        )
    return rules


CALLS = st.tuples(
    st.sampled_from(["t", "u", "uu"]),
    st.sampled_from([{}, {"path": "/a"}, {"path": "/b"}]),
    st.frozensets(st.sampled_from(["a", "b"])),
)


@given(rules=any_rules(), calls=st.lists(CALLS, min_size=2, max_size=12))
def test_what_is_remembered_decides_as_if_nothing_were(
    rules: list[Rule], calls: list[tuple[str, dict[str, str], frozenset[str]]]
) -> None:
    """A policy that has decided before decides like one that never has: by arguments and scopes."""
    used = policy(*rules)
    for tool, arguments, scopes in calls:
        message, who = call(tool, arguments), principal(*scopes)
        assert used.decide(message, who) == policy(*rules).decide(message, who)
        assert used.sees("tool", tool, who) == policy(*rules).sees("tool", tool, who)
