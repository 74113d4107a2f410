"""What `mcpauth policy` prints: for people, and with `--json` for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mcpauth_middleware import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcpauth_middleware.policy.explain import Explanation
    from mcpauth_middleware.policy.rules import Rule


@dataclass(frozen=True, slots=True)
class RulesChanged:
    """How the rules of two policies differ."""

    added: tuple[Rule, ...]
    removed: tuple[Rule, ...]
    changed: tuple[tuple[Rule, Rule], ...]
    scopes: tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[str]]] | None
    claims: bool


def rules_changed(old: Policy, new: Policy) -> RulesChanged:
    """Compare two policies rule by rule; a rule is known by its id."""
    before, after = ({rule.id: rule for rule in one.rules} for one in (old, new))
    return RulesChanged(
        added=tuple(rule for name, rule in after.items() if name not in before),
        removed=tuple(rule for name, rule in before.items() if name not in after),
        changed=tuple(
            (rule, after[name]) for name, rule in before.items() if name in after and after[name] != rule
        ),
        scopes=None if _sorted(old.scopes) == _sorted(new.scopes) else (old.scopes, new.scopes),
        claims=old.claim_names != new.claim_names,
    )


def print_rules(changes: RulesChanged) -> None:
    """Print the rules that differ, as they stand in a file."""
    for sign, rules in (("+", changes.added), ("-", changes.removed)):
        for rule in rules:
            _print_rule(sign, rule)
    for old, new in changes.changed:
        _print_rule("-", old)
        _print_rule("+", new)
    if changes.scopes is not None:
        click.echo("The scope hierarchies differ.")
        before, after = changes.scopes
        _print_scopes("-", before, after)
        _print_scopes("+", after, before)
    if changes.claims:
        click.echo("Groups or tenant are held in other claims.")
    if rules_as_json(changes) == _NOTHING:
        click.echo("The rules are the same.")


def rules_as_json(changes: RulesChanged) -> dict[str, Any]:
    """The difference for programs."""
    return {
        "added": [_toml(rule) for rule in changes.added],
        "removed": [_toml(rule) for rule in changes.removed],
        "changed": [{"old": _toml(before), "new": _toml(after)} for before, after in changes.changed],
        "scopes": None if changes.scopes is None else {"old": changes.scopes[0], "new": changes.scopes[1]},
        "claims": changes.claims,
    }


_NOTHING: dict[str, Any] = {"added": [], "removed": [], "changed": [], "scopes": None, "claims": False}


def explanation_as_json(explanation: Explanation) -> dict[str, Any]:
    """An explanation for programs."""
    decision = explanation.decision
    return {
        "effect": decision.effect,
        "rule": decision.rule,
        "reason": decision.reason,
        "scopes": list(decision.scopes),
        "errors": list(decision.errors),
        "shadow": None if decision.shadow is None else decision.shadow.effect,
        "bundle": decision.bundle,
        "rules": [
            {
                "rule": one.rule,
                "effect": one.effect,
                "mode": one.mode,
                "target": {"kind": one.target.kind, "name": one.target.name},
                "outcome": one.outcome.value,
                "lacking": list(one.lacking),
                "conditions": [
                    {
                        "name": condition.name,
                        "wanted": condition.wanted,
                        "result": condition.result,
                        "observed": condition.observed,
                        "problem": condition.problem,
                    }
                    for condition in one.conditions
                ],
            }
            for one in explanation.rules
        ],
    }


def _print_rule(sign: str, rule: Rule) -> None:
    for line in _toml(rule).splitlines():
        click.echo(f"{sign} {line}")


def _print_scopes(sign: str, scopes: Mapping[str, Sequence[str]], other: Mapping[str, Sequence[str]]) -> None:
    for scope, implied in scopes.items():
        if sorted(implied) != sorted(other.get(scope, ())):
            click.echo(f"{sign} {json.dumps(scope)} = {json.dumps(list(implied))}")


def _toml(rule: Rule) -> str:
    alone = Policy()
    alone.add(rule)
    return alone.to_toml().partition("\n\n")[2]


def _sorted(scopes: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {name: sorted(implied) for name, implied in scopes.items() if implied}
