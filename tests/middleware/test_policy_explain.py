"""Explanations: each rule, each condition, what was found, and no secrets."""

from __future__ import annotations

import pytest

from mcpauth_middleware.policy import Context, Rule
from mcpauth_middleware.policy.decide import Outcome
from mcpauth_middleware.policy.shown import MAX_TEXT, shown
from tests.middleware.gate_helpers import call, read
from tests.middleware.policy_helpers import allow, deny, policy, someone


def test_every_rule_about_the_target_is_told_condition_by_condition() -> None:
    """Which of them matched, failed, or could not be evaluated, with what was found instead."""
    rules = policy(
        allow("writers", "w", groups=("ops",), when='path_under(args.path, "/srv") and args.size < 10'),
        allow("others", tools=("u",)),
        deny("abroad", ip=("10.0.0.0/8",)),
        deny("tried", mode="shadow"),
    )
    explained = rules.explain(
        call("t", {"path": "/etc/passwd", "size": "9"}),
        someone(groups=["ops", "dev"]),
        Context(address="192.168.0.1"),
    )
    assert explained.decision.reason == "no_rule"
    by_id = {rule.rule: rule for rule in explained.rules}
    assert set(by_id) == {"writers", "abroad", "tried"}
    writers = by_id["writers"]
    assert (writers.outcome, writers.lacking) == (Outcome.NO, ("w",))
    assert [(c.name, c.wanted, c.result, c.observed) for c in writers.conditions] == [
        ("groups", "['ops']", "held", "['ops', 'dev']"),
        ("when", 'path_under(args.path, "/srv")', "failed", "args.path is '/etc/passwd'"),
        ("when", "args.size < 10", "error", "args.size is '9'"),
    ]
    assert writers.conditions[2].problem == "a text cannot be compared with a number"
    assert by_id["abroad"].outcome is Outcome.NO
    assert by_id["abroad"].conditions[0].observed == "'192.168.0.1'"
    assert (by_id["tried"].mode, by_id["tried"].outcome) == ("shadow", Outcome.MATCH)
    text = str(explained)
    assert text.startswith("deny (no_rule)\n")
    assert "allow writers: no\n    scopes missing: w" in text
    assert "deny tried [shadow]: match" in text


def test_the_explanation_fits_the_decision() -> None:
    """For every rule: what is told of it is what decided."""
    rules = policy(allow("a", when="args.x == 1"), deny("d", when='args.x == "1"'))
    for value in (1, "1", None, [1]):
        explained = rules.explain(call("t", {"x": value}), someone())
        assert explained.decision == rules.decide(call("t", {"x": value}), someone())
        for rule in explained.rules:
            results = {condition.result for condition in rule.conditions}
            assert {"held": Outcome.MATCH, "failed": Outcome.NO, "error": Outcome.ERROR}[
                results.pop()
            ] is rule.outcome


@pytest.mark.parametrize(
    ("when", "uri", "result"),
    [
        ('not startswith(resource.uri, "file:///srv/hr")', "file:///srv/%68r", "error"),
        ('endswith(resource.uri, ".md")', "file:///srv/a?.md", "error"),
        ('startswith(resource.uri, "file:///srv/")', "file:///srv/%68r", "held"),
        ('endswith(resource.uri, ".md")', "file:///srv/a?x", "failed"),
    ],
)
def test_a_resource_that_can_be_read_as_different_ones_is_told_as_it_is_decided(
    when: str, uri: str, result: str
) -> None:
    """Escaped and not, with its query and without: a condition that held would not fit an error."""
    rules = policy(Rule(id="r", effect="allow", resources=("**",), when=f"{when} and has(principal.sub)"))
    explained = rules.explain(read("resources/read", {"uri": uri}), someone())
    assert [condition.result for condition in explained.rules[0].conditions] == [result, "held"]
    assert explained.rules[0].outcome.value == {"held": "match", "failed": "no"}.get(result, result)


def test_what_rules_in_shadow_mode_would_decide_is_told() -> None:
    """It is what they are there to be looked at for."""
    rules = policy(allow(), deny("tried", mode="shadow"))
    told = str(rules.explain(call("t"), someone()))
    assert told.startswith("allow (allowed) by a\nwith the rules in shadow mode: deny (denied) by tried\n")
    assert "shadow" not in str(policy(allow()).explain(call("t"), someone()))


def test_what_is_not_known_is_told_as_such() -> None:
    """No address, no such claim, no arguments."""
    rules = policy(allow(ip=("10.0.0.0/8",), tenant=("a",), when="args.x.y == 1 or has(args.z)"))
    conditions = rules.explain(call("t"), someone()).rules[0].conditions
    assert [condition.observed for condition in conditions] == [
        "the token has no claim tenant",
        "the address is not known",
        "args.x.y: a member is missing, args.z: a member is missing",
    ]


def test_a_message_with_several_targets_is_told_target_by_target() -> None:
    """And one without any has nothing to tell."""
    assert policy().explain(read("ping"), someone()).rules == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("args.password", "hunter2"),
        ("args.api_key", "hunter2"),
        ("args.x", {"note": "hunter2"}),
        ("principal.claims.access_token", ["hunter2"]),
    ],
)
def test_a_secret_is_not_told(name: str, value: object) -> None:
    """By the name it goes by; of an object only the names of the members are told."""
    assert "hunter2" not in shown(value, name)


def test_values_are_short_and_on_one_line() -> None:
    """They end in terminals and logs."""
    assert shown("a\nb\x1b[31m\u202e") == r"'a\nb\x1b[31m\u202e'"
    long = shown("x" * 10_000)
    assert len(long) < MAX_TEXT + 30
    assert long.endswith("… (10000 characters)")
    assert shown(list(range(100))) == "[0, 1, 2, 3, 4, … (100)]"
    assert len(shown({"k" * 100 + str(n): 1 for n in range(100)})) < 400
    assert shown(None) == "None"
    assert len(shown(10**200)) <= MAX_TEXT + 1
