"""The decision: deny overrides, an allow needs its scopes, everything else is denied.

Each rule about the target and all of its conditions give one of three outcomes: it matches, it does
not, or it cannot be evaluated. The first line that is true decides:

| of the rules about the target            | decision              |
|------------------------------------------|-----------------------|
| a deny rule matches                      | deny, `denied`        |
| a deny rule cannot be evaluated          | deny, `deny_error`    |
| an allow rule matches, its scopes held   | allow, `allowed`      |
| an allow rule matches, lacking scopes    | step up, `scope`      |
| none, or allows that cannot be evaluated | deny, `no_rule`       |

A rule does not match as soon as one of its conditions does not hold; otherwise it cannot be evaluated
as soon as one of them cannot. In a list, where there are no arguments yet, a condition that reads them
counts as held in an allow rule and as failed in a deny rule: what could be allowed is shown.

The order of rules decides nothing but which of several equal ones is named. A message with several
targets gets the worst of their decisions, and a missing scope is told only when every other target would
let it pass. Rules in shadow mode decide nothing: what the decision would be with them is in `shadow`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Literal

from mcpauth_middleware.policy.errors import ArgumentsUnknown, Unevaluable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcpauth_middleware.policy.facts import Facts
    from mcpauth_middleware.policy.matchers import Matcher
    from mcpauth_middleware.policy.rules import Rule

_logger = logging.getLogger(__name__)


class Outcome(Enum):
    """What one rule says about one target."""

    MATCH = "match"
    NO = "no"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy says about one message, and why.

    `rule` is the id of the rule that decided, None when none did. `scopes` are all the scopes that the
    message needs under the rules that let it pass, sorted: with `step_up` what a client must ask for,
    those it holds included. `errors` are the rules that could not be evaluated, as far as the decision
    looked at them. `shadow` is the decision with the rules in shadow mode, None when none of them is
    about the message. `bundle` is the hash of the policy that decided.
    """

    effect: Literal["allow", "deny", "step_up"]
    rule: str | None
    reason: Literal["allowed", "no_target", "no_rule", "denied", "deny_error", "scope"]
    scopes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    shadow: Decision | None = None
    bundle: str = field(default="", compare=False)

    def __hash__(self) -> int:
        """Equal ones have the same. What one rule decides differs in little else."""
        return hash((self.rule, self.reason, self.scopes))


_WORST_FIRST = ("denied", "deny_error", "no_rule", "scope", "allowed")


def decide_target(
    allows: Sequence[Rule],
    denies: Sequence[Rule],
    held: frozenset[str],
    outcome: Callable[[Rule], Outcome],
    bundle: str = "",
) -> Decision:
    """Decide by the rules about one target; `held` are the principal's scopes and all they imply."""
    errors: list[str] = []
    for rule in denies:
        match outcome(rule):
            case Outcome.MATCH:
                return Decision("deny", rule.id, "denied", errors=tuple(errors), bundle=bundle)
            case Outcome.ERROR:
                errors.append(rule.id)
            case Outcome.NO:
                pass
    if errors:
        return Decision("deny", errors[0], "deny_error", errors=tuple(errors), bundle=bundle)
    # First the rule that lacks least; of equals, the order stays.
    for rule in sorted(allows, key=lambda allow: _lacking(allow, held)) if len(allows) > 1 else allows:
        match outcome(rule):
            case Outcome.MATCH:
                scopes = tuple(sorted(set(rule.scopes)))
                if not held.issuperset(scopes):
                    return Decision("step_up", rule.id, "scope", scopes, tuple(errors), bundle=bundle)
                return Decision("allow", rule.id, "allowed", scopes, tuple(errors), bundle=bundle)
            case Outcome.ERROR:
                errors.append(rule.id)
            case Outcome.NO:
                pass
    return Decision("deny", None, "no_rule", errors=tuple(errors), bundle=bundle)


def decide_all(decisions: Sequence[Decision], bundle: str = "") -> Decision:
    """One decision for a message from those about its targets."""
    if not decisions:
        return Decision("allow", None, "no_target", bundle=bundle)
    if len(decisions) == 1:
        return decisions[0]
    enforced = _worst(decisions, bundle)
    if all(decision.shadow is None for decision in decisions):
        return enforced
    shadow = _worst([decision.shadow or decision for decision in decisions], bundle)
    return _with_shadow(enforced, shadow)


def decide_with_shadow(
    allows: Sequence[Rule],
    denies: Sequence[Rule],
    held: frozenset[str],
    outcome: Callable[[Rule], Outcome],
    bundle: str = "",
) -> Decision:
    """The decision of the rules that are enforced, with that of all rules beside it where some are not."""
    decision = decide_target(allows, denies, held, outcome, bundle)
    for rule in (*allows, *denies):
        if rule.mode != "enforce":
            enforced = decide_target(_enforced(allows), _enforced(denies), held, outcome, bundle)
            return _with_shadow(enforced, decision)
    return decision


def outcome_of(rule: Rule, facts: Facts) -> Outcome:
    """What a rule about the target says, given the facts."""
    found = Outcome.MATCH
    for condition in rule.conditions:
        try:
            if not holds(condition, facts):
                return Outcome.NO
        except ArgumentsUnknown:
            if rule.effect == "deny":
                return Outcome.NO
        except Unevaluable:
            found = Outcome.ERROR
    return found


def holds(condition: Matcher, facts: Facts) -> bool:
    """Whether a condition holds.

    Raises:
        Unevaluable: it cannot be evaluated, for whatever reason.
    """
    try:
        return condition.holds(facts)
    except Unevaluable:
        raise
    except Exception:
        # Of a look-up that was passed in, or a mistake of ours: neither may switch a deny rule off.
        _logger.exception("A condition could not be evaluated: %s", condition.name)
        raise Unevaluable("evaluating it failed; the log says more") from None


def _lacking(rule: Rule, held: frozenset[str]) -> int:
    return len(set(rule.scopes) - held)


def _enforced(rules: Sequence[Rule]) -> list[Rule]:
    return [rule for rule in rules if rule.mode == "enforce"]


def _worst(decisions: Sequence[Decision], bundle: str) -> Decision:
    worst = min(decisions, key=lambda decision: _WORST_FIRST.index(decision.reason))
    errors = tuple(dict.fromkeys(error for decision in decisions for error in decision.errors))
    scopes: tuple[str, ...] = ()
    if worst.effect != "deny":
        scopes = tuple(sorted({scope for decision in decisions for scope in decision.scopes}))
    return Decision(worst.effect, worst.rule, worst.reason, scopes, errors, bundle=bundle)


def _with_shadow(enforced: Decision, shadow: Decision) -> Decision:
    return Decision(
        enforced.effect,
        enforced.rule,
        enforced.reason,
        enforced.scopes,
        enforced.errors,
        shadow,
        enforced.bundle,
    )
