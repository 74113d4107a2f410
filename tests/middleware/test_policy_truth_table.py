"""The truth table of the decision, whole: every outcome of every rule, in every mixture."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from mcpauth_middleware.policy import Decision, Policy, Rule
from mcpauth_middleware.policy.decide import Outcome, decide_all, decide_target, outcome_of
from mcpauth_middleware.policy.errors import Unevaluable
from mcpauth_middleware.policy.rules import MODES
from tests.middleware.gate_helpers import call
from tests.middleware.policy_helpers import allow, deny, facts, policy, someone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth_middleware.policy.rules import Mode

MATCH, NO, ERROR = Outcome.MATCH, Outcome.NO, Outcome.ERROR
# A real condition for each outcome; the arguments are {"x": 1}.
WHEN = {MATCH: "args.x == 1", NO: "args.x == 2", ERROR: 'args.x == "1"'}
KINDS = [("deny", ()), ("allow", ("held",)), ("allow", ("held", "lacked"))]
ROWS = list(itertools.product(KINDS, WHEN))

Row = tuple[tuple[str, tuple[str, ...]], Outcome]


def rule(number: int, row: Row, mode: Mode = "enforce") -> Rule:
    (effect, scopes), outcome = row
    name = f"{number}-{effect}-{outcome.value}"
    if effect == "deny":
        return deny(name, when=WHEN[outcome], mode=mode)
    return allow(name, *scopes, when=WHEN[outcome], mode=mode)


def expected(rows: Sequence[Row]) -> tuple[str, str]:
    """The table of `decide`, read line by line."""
    if (("deny", ()), MATCH) in rows:
        return "deny", "denied"
    if (("deny", ()), ERROR) in rows:
        return "deny", "deny_error"
    if (("allow", ("held",)), MATCH) in rows:
        return "allow", "allowed"
    if (("allow", ("held", "lacked")), MATCH) in rows:
        return "step_up", "scope"
    return "deny", "no_rule"


RULES = {(number, row): rule(number, row) for number in range(4) for row in ROWS}


@pytest.mark.parametrize("size", range(5))
def test_every_mixture_of_up_to_four_rules_decides_as_the_table_says(size: int) -> None:
    """Three outcomes of deny, allow, and allow that lacks a scope, to the power of n, over real rules."""
    message, who = call("t", {"x": 1}), someone("held")
    for rows in itertools.product(ROWS, repeat=size):
        rules = [RULES[number, row] for number, row in enumerate(rows)]
        decision = policy(*rules).decide(message, who)
        assert (decision.effect, decision.reason) == expected(rows), rules
        ids = {rule.id for rule in rules}
        assert decision.rule is None if decision.reason == "no_rule" else decision.rule in ids
        assert decision.scopes == {"step_up": ("held", "lacked"), "allow": ("held",)}.get(decision.effect, ())
        # Whatever could not be evaluated and could have changed the decision is told.
        if decision.reason == "deny_error":
            assert set(decision.errors) == {rule.id for rule in rules if "deny-error" in rule.id}
        if decision.reason == "no_rule":
            assert set(decision.errors) == {rule.id for rule in rules if "allow-error" in rule.id}


def test_the_order_of_rules_changes_no_decision() -> None:
    """So merging files is safe."""
    message, who = call("t", {"x": 1}), someone("held")
    for rows in itertools.combinations_with_replacement(ROWS, 3):
        found = {
            (decision.effect, decision.reason, decision.scopes)
            for order in itertools.permutations(range(3))
            for decision in [policy(*(RULES[at, rows[at]] for at in order)).decide(message, who)]
        }
        assert len(found) == 1


class Condition:
    """A condition with this outcome."""

    name = wanted = "test"

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def holds(self, _facts: object) -> bool:
        if self._outcome is ERROR:
            raise Unevaluable("test")
        return self._outcome is MATCH

    def observed(self, _facts: object) -> object:
        return None


@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_of_several_conditions_one_that_fails_settles_it(effect: str) -> None:
    """In every order: a rule whose group does not fit is not about this call, whatever its `when` says."""
    one = allow() if effect == "allow" else deny()
    for size in range(1, 5):
        for outcomes in itertools.product(Outcome, repeat=size):
            object.__setattr__(one, "conditions", tuple(map(Condition, outcomes)))
            wanted = NO if NO in outcomes else ERROR if ERROR in outcomes else MATCH
            assert outcome_of(one, facts()) is wanted


def test_a_condition_that_fails_in_another_way_is_an_error_too(caplog: pytest.LogCaptureFixture) -> None:
    """A look-up of tools is somebody else's code."""

    class Broken(Condition):
        def holds(self, _facts: object) -> bool:
            raise RuntimeError("secret")

    one = deny()
    object.__setattr__(one, "conditions", (Broken(MATCH),))
    assert outcome_of(one, facts()) is ERROR
    assert "could not be evaluated" in caplog.text


def test_a_deny_that_cannot_be_evaluated_denies_and_an_allow_does_not_allow() -> None:
    """Shown on one call: a list instead of a text switches off neither."""
    rules = policy(allow(), deny(when='path_under(args.path, "/etc")'))
    assert rules.decide(call("t", {"path": "/srv/a"}), someone()).effect == "allow"
    assert rules.decide(call("t", {"path": "/etc/a"}), someone()).reason == "denied"
    assert rules.decide(call("t", {"path": ["/etc/a"]}), someone()) == Decision(
        "deny", "d", "deny_error", errors=("d",)
    )
    rules = policy(allow("narrow", when='path_under(args.path, "/srv")'))
    assert rules.decide(call("t", {"path": ["/srv/a"]}), someone()) == Decision(
        "deny", None, "no_rule", errors=("narrow",)
    )


def test_a_missing_scope_is_told_only_where_everything_else_would_allow() -> None:
    """A challenge for a call that its condition forbids would lead the client in a circle."""
    rules = policy(allow("a", "s", when="args.x == 1"))
    assert rules.decide(call("t", {"x": 1}), someone()) == Decision("step_up", "a", "scope", ("s",))
    assert rules.decide(call("t", {"x": 2}), someone()).reason == "no_rule"
    assert rules.decide(call("t", {"x": "1"}), someone()).reason == "no_rule"


SHADOW_ROWS = list(itertools.product(MODES, ROWS))


@pytest.mark.parametrize("size", range(1, 4))
def test_shadow_rules_decide_nothing_and_are_reported(size: int) -> None:
    """The decision is that of the enforced rules alone, `shadow` that of both; what is off is not there."""
    message, who = call("t", {"x": 1}), someone("held")
    made = {(n, mode, row): rule(n, row, mode) for n in range(3) for mode, row in SHADOW_ROWS}
    for rows in itertools.combinations(SHADOW_ROWS, size):
        rules = [made[number, *row] for number, row in enumerate(rows)]
        decision = policy(*rules).decide(message, who)
        enforced = [row for mode, row in rows if mode == "enforce"]
        tried = [row for mode, row in rows if mode != "off"]
        assert (decision.effect, decision.reason) == expected(enforced)
        if enforced == tried:
            assert decision.shadow is None
        else:
            assert decision.shadow is not None
            assert (decision.shadow.effect, decision.shadow.reason) == expected(tried)


def test_several_targets_in_shadow_give_one_decision_in_shadow() -> None:
    """Of targets without shadow rules the decision itself is taken."""
    allowed, denied = Decision("allow", "a", "allowed", ("s",)), Decision("deny", "d", "denied")
    tried = Decision("allow", "a", "allowed", ("s",), shadow=denied)
    assert decide_all([allowed, tried]).shadow == denied
    assert decide_all([allowed, tried]).effect == "allow"
    assert decide_all([allowed, allowed]).shadow is None


def test_decide_target_asks_no_allow_rule_once_it_is_denied() -> None:
    """Work that cannot matter is not done."""
    asked: list[str] = []

    def outcome(rule: Rule) -> Outcome:
        asked.append(rule.id)
        return MATCH

    decide_target([allow()], [deny()], frozenset(), outcome)
    assert asked == ["d"]


def test_the_bundle_is_in_the_decision_and_changes_with_the_rules() -> None:
    """An audit event tells which policy decided."""
    one, same, other = policy(allow()), policy(allow()), policy(allow(mode="shadow"))
    decision = one.decide(call("t"), someone())
    assert decision.bundle == one.bundle == same.bundle != other.bundle
    assert len(decision.bundle) == 64
    one.add(deny())
    assert one.decide(call("t"), someone()).bundle != decision.bundle
    assert Policy().decide(call("t"), someone()).bundle == Policy().bundle


def test_only_the_rules_about_the_target_are_evaluated_however_many_there_are() -> None:
    """Counted, not timed: conditions cost more than looking rules up."""
    asked: list[str] = []

    class Counting(Condition):
        def holds(self, _facts: object) -> bool:
            asked.append("x")
            return True

    rules: list[Rule] = []
    for number in range(1000):
        one = allow(f"r{number}", tools=(f"tool{number}", f"family{number}_*"))
        object.__setattr__(one, "conditions", (Counting(MATCH),))
        rules.append(one)
    large = policy(*rules)
    for name, times in (("tool7", 1), ("family7_x", 1), ("family77_x", 1), ("other", 0)):
        asked.clear()
        large.decide(call(name), someone())
        assert len(asked) == times, name
