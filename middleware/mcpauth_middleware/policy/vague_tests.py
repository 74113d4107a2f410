"""Tests in a policy file that pass whatever the rules say: because of what they leave out, or of a name."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from mcpauth_middleware.policy.decide import Outcome
from mcpauth_middleware.policy.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcpauth_middleware.message.target import Target
    from mcpauth_middleware.policy.explain import Explanation
    from mcpauth_middleware.policy.policy import Policy

_ALIKE: Final = 0.9
"""How alike two names must be, from 0 to 1, for one to be a misspelling of the other."""


def vague_tests(policy: Policy) -> Iterator[Finding]:
    """Tests that expect a denial and get it for want of an answer, or of a rule."""
    for example in policy.tests:
        message = example.message()
        explanation = policy.explain(message, example.who(policy.claim_names), example.context())
        if example.expect != "deny" or explanation.decision.effect != "deny":
            continue
        yield from _untold(example.where, explanation)
        for target in message.targets if not explanation.rules else ():
            yield from _misspelt(example.where, policy, target)


def _untold(where: str, explanation: Explanation) -> Iterator[Finding]:
    decisive = {"deny_error": "deny", "no_rule": "allow"}.get(explanation.decision.reason)
    for rule in explanation.rules:
        if (rule.effect, rule.mode, rule.outcome) != (decisive, "enforce", Outcome.ERROR):
            continue
        untold = next((condition for condition in rule.conditions if condition.is_untold), None)
        if untold is not None:
            text = f"{where} is denied since {untold.problem}; tell it in the test"
            yield Finding("warning", "vague-test", rule.rule, text)


def _misspelt(where: str, policy: Policy, target: Target) -> Iterator[Finding]:
    names = {pattern for rule in policy.rules for kind, pattern in rule.patterns if kind == target.kind}
    for close in get_close_matches(target.name, names, n=1, cutoff=_ALIKE):
        text = f"{where}: no rule is about the {target.kind} {target.name!r}; did you mean {close}?"
        yield Finding("warning", "vague-test", None, text)
