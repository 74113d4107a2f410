"""Why a decision is as it is: every rule about the target, condition by condition."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from mcpauth_middleware.policy.conditions import When
from mcpauth_middleware.policy.decide import outcome_of
from mcpauth_middleware.policy.errors import ArgumentsUnknown, NoAnswers, NotKnown, Unevaluable
from mcpauth_middleware.policy.shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcpauth_middleware.message.target import Target
    from mcpauth_middleware.policy.decide import Decision, Outcome
    from mcpauth_middleware.policy.facts import Facts
    from mcpauth_middleware.policy.rules import Effect, Mode, Rule


@dataclass(frozen=True, slots=True)
class ConditionExplained:
    """One condition of a rule; a `when` is told part by part."""

    name: str
    wanted: str
    result: Literal["held", "failed", "error"]
    observed: str
    """What was found instead or as well, shortened, and without what sounds like a secret."""
    problem: str | None = None
    """Why it could not be evaluated."""
    is_untold: bool = False
    """Whether that is because a fact is not known."""


@dataclass(frozen=True, slots=True)
class RuleExplained:
    """One rule about the target."""

    rule: str
    effect: Effect
    mode: Mode
    target: Target
    outcome: Outcome
    lacking: tuple[str, ...]
    """The scopes it needs that are not held."""
    conditions: tuple[ConditionExplained, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, and what each rule about the message's targets had to say."""

    decision: Decision
    rules: tuple[RuleExplained, ...]

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def explain_rule(rule: Rule, facts: Facts) -> RuleExplained:
    """What one rule about the target says, and why."""
    return RuleExplained(
        rule.id,
        rule.effect,
        rule.mode,
        facts.target,
        outcome_of(rule, facts),
        tuple(sorted(set(rule.scopes) - facts.held)),
        tuple(_conditions(rule, facts)),
    )


def _conditions(rule: Rule, facts: Facts) -> Iterator[ConditionExplained]:
    for condition in rule.conditions:
        if isinstance(condition, When):
            for part in condition.parts:
                part_holds = partial(condition.part_holds, part, facts)
                yield _explained("when", part.text, part_holds, partial(part.observed, facts))
        else:
            holds, observed = partial(condition.holds, facts), partial(condition.observed, facts)
            yield _explained(condition.name, shown(condition.wanted), holds, observed)


def _explained(
    name: str, wanted: str, holds: Callable[[], bool], observed: Callable[[], object]
) -> ConditionExplained:
    problem: str | None = None
    is_untold = False
    result: Literal["held", "failed", "error"]
    try:
        result = "held" if holds() else "failed"
    except Unevaluable as error:
        result, problem = "error", str(error)
        problems = error.problems if isinstance(error, NoAnswers) else (error,)
        is_untold = any(isinstance(one, NotKnown) for one in problems)
    except Exception:  # noqa: BLE001  as in a decision, which has logged it
        result, problem = "error", "evaluating it failed"
    return ConditionExplained(name, wanted, result, _observed(name, observed), problem, is_untold)


def _observed(name: str, observed: Callable[[], object]) -> str:
    try:
        found = observed()
    except ArgumentsUnknown:
        return "nothing is called yet"
    except Unevaluable as error:
        return str(error)
    except Exception:  # noqa: BLE001  an explanation must not fail where the decision did not
        return "unknown"
    if not isinstance(found, dict):
        return shown(found, name)
    members: dict[str, object] = found  # pyright: ignore[reportUnknownVariableType]
    return ", ".join(
        f"{key}: {value}" if isinstance(value, Unevaluable) else f"{key} is {shown(value, key)}"
        for key, value in members.items()
    )


def _lines(explanation: Explanation) -> Iterator[str]:
    decision = explanation.decision
    yield _told(decision)
    if decision.shadow is not None:
        yield f"with the rules in shadow mode: {_told(decision.shadow)}"
    for rule in explanation.rules:
        mode = "" if rule.mode == "enforce" else f" [{rule.mode}]"
        yield f"  {rule.effect} {rule.rule}{mode}: {rule.outcome.value}"
        if rule.lacking:
            yield f"    scopes missing: {', '.join(rule.lacking)}"
        for condition in rule.conditions:
            yield f"    {condition.result}: {condition.name}: {condition.wanted}"
            yield f"      {condition.observed}" + (f" ({condition.problem})" if condition.problem else "")


def _told(decision: Decision) -> str:
    by = f" by {decision.rule}" if decision.rule is not None else ""
    return f"{decision.effect} ({decision.reason}){by}"
