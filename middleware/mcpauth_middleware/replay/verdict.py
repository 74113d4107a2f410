"""What a policy decides about a recorded call, and what it might decide where the journal does not tell.

A rule whose condition reads what was not kept may match or not. As deny rules only take away and allow
rules only add, two decisions bound all possible ones: with every such deny rule out and every such allow
rule in, and the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mcpauth_middleware.policy.decide import Outcome, holds, outcome_of
from mcpauth_middleware.policy.errors import NoAnswers, Unevaluable
from mcpauth_middleware.policy.index import RuleIndex
from mcpauth_middleware.policy.scopes import ScopeHierarchy
from mcpauth_middleware.replay.errors import NotKept
from mcpauth_middleware.replay.facts import RecordedFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcpauth_middleware.message.target import Target
    from mcpauth_middleware.policy import Policy
    from mcpauth_middleware.policy.facts import Facts
    from mcpauth_middleware.policy.matchers import Matcher
    from mcpauth_middleware.policy.rules import Rule
    from mcpauth_middleware.replay.recorded import Effect, Recorded

RANK: Final[Mapping[Effect, int]] = {"deny": 0, "step_up": 1, "allow": 2}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is decided: exactly, if both bounds are the same."""

    least: Effect
    most: Effect
    rule: str | None
    unknown: tuple[str, ...] = ()
    """What the journal would have to hold to tell."""

    @property
    def is_certain(self) -> bool:
        """Whether there is one answer."""
        return self.least == self.most


@dataclass(slots=True)
class _Bound:
    """The effect on one target when the unknown rules are taken the one way."""

    effect: Effect
    rule: str | None


@dataclass(slots=True)
class _Found:
    """The rules about one target, and what each says."""

    rules: list[tuple[Rule, Outcome]] = field(default_factory=list[tuple["Rule", Outcome]])
    unknown: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The rules of which nobody can tell, and why."""


class Judge:
    """Decides about recorded calls under one policy, as `Policy.decide` would with all that it knew."""

    def __init__(self, policy: Policy) -> None:
        self._claim_names = policy.claim_names
        self._hierarchy = ScopeHierarchy(policy.scopes)
        self._index = RuleIndex()
        for rule in policy.rules:
            if rule.mode == "enforce":
                self._index.add(rule)

    def verdict(self, recorded: Recorded) -> Verdict:
        """Decide about a recorded call.

        Raises:
            NotReplayable: the journal does not say who called, or for what.
        """
        principal, message = recorded.actor.principal(), recorded.asked.message()
        held = self._hierarchy.held(principal.scopes)

        def facts(target: Target) -> Facts:
            known = (principal, held, recorded.context, self._claim_names, message)
            actor = recorded.actor
            return RecordedFacts(target, *known, membership=actor.membership, found_in=actor.found_in)

        found = [self._found(facts(target)) for target in dict.fromkeys(message.targets)]
        least = _worst(_bound(one, held, generous=False) for one in found)
        most = _worst(_bound(one, held, generous=True) for one in found)
        reasons = {reason for one in found for untold in one.unknown.values() for reason in untold}
        rule = least.rule if least.effect == most.effect else None
        return Verdict(least.effect, most.effect, rule, tuple(sorted(reasons)))

    def _found(self, facts: Facts) -> _Found:
        found = _Found()
        for rules in self._index.matching(facts.target):
            for rule in rules:
                outcome = outcome_of(rule, facts)
                found.rules.append((rule, outcome))
                if outcome is Outcome.ERROR and (untold := _untold(rule, facts)):
                    found.unknown[rule.id] = untold
        return found


def _untold(rule: Rule, facts: Facts) -> tuple[str, ...]:
    """What the journal would have to hold to tell what a rule says that cannot be evaluated."""
    problems = [problem for condition in rule.conditions for problem in _problems(condition, facts)]
    untold = tuple(str(problem) for problem in problems if isinstance(problem, NotKept))
    # With one condition that has no answer for sure, an allow rule allows nothing, whatever the others say.
    return () if rule.effect == "allow" and len(untold) < len(problems) else untold


def _problems(condition: Matcher, facts: Facts) -> tuple[Unevaluable, ...]:
    try:
        holds(condition, facts)
    except NoAnswers as several:
        return several.problems
    except Unevaluable as problem:
        return (problem,)
    return ()


def _bound(found: _Found, held: frozenset[str], *, generous: bool) -> _Bound:
    """The table of `policy/decide.py`, with the unknown rules taken the one way or the other."""
    for rule, outcome in found.rules:
        is_in = outcome is not Outcome.NO and not (generous and rule.id in found.unknown)
        if rule.effect == "deny" and is_in:
            return _Bound("deny", rule.id)
    matching = [
        rule
        for rule, outcome in found.rules
        if rule.effect == "allow" and (outcome is Outcome.MATCH or (generous and rule.id in found.unknown))
    ]
    for rule in matching:
        if held.issuperset(rule.scopes):
            return _Bound("allow", rule.id)
    return _Bound("step_up", matching[0].id) if matching else _Bound("deny", None)


def _worst(bounds: Iterable[_Bound]) -> _Bound:
    worst = _Bound("allow", None)
    for at, bound in enumerate(bounds):
        if at == 0 or RANK[bound.effect] < RANK[worst.effect]:
            worst = bound
    return worst
