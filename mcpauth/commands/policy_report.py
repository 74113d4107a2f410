"""What `mcpauth policy` prints: for people, and with `--json` for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mcpauth.pages.text import shown
from mcpauth_middleware import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcpauth_middleware.policy.explain import Explanation
    from mcpauth_middleware.policy.rules import Rule
    from mcpauth_middleware.replay import Compared, Journal
    from mcpauth_middleware.replay.compare import Change
    from mcpauth_middleware.replay.verdict import Verdict

_LONGEST = 300
_HEADINGS: Mapping[Change, str] = {
    "wider": "Calls that would be allowed further:",
    "narrower": "Calls that would be allowed less:",
    "unknown": "Calls of which the journal does not tell:",
}


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
    for before, after in changes.changed:
        _print_rule("-", before)
        _print_rule("+", after)
    if changes.scopes is not None:
        click.echo("The scope hierarchies differ.")
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


def print_calls(calls: Sequence[Compared], journal: Journal) -> None:
    """Print every call that would be decided otherwise, or of which nobody can tell."""
    for change, heading in _HEADINGS.items():
        found = [call for call in calls if call.change == change]
        if found:
            click.echo(heading)
        for call in found:
            click.echo(f"  {_line(str(call.recorded))}: {_verdict(call.old)} -> {_verdict(call.new)}")
            for missing in call.new.unknown or call.old.unknown:
                click.echo(f"    {_line(missing)}")
    if journal.incomplete:
        click.echo("Calls of which the journal does not say enough to decide again:")
    for event, missing in journal.incomplete:
        click.echo(f"  seq {event.get('seq', '-')} {_line(str(event.get('ts', '-')))}: lacks {missing}")
    count = {change: sum(call.change == change for call in calls) for change in ("wider", "narrower", "same")}
    unknown = sum(call.change == "unknown" for call in calls) + len(journal.incomplete)
    click.echo(
        f"{len(calls) + len(journal.incomplete)} calls: {count['same']} as before, {count['wider']} allowed"
        f" further, {count['narrower']} allowed less, {unknown} unknown."
    )
    if journal.unreadable:
        click.echo(f"{journal.unreadable} lines are no events.", err=True)


def calls_as_json(calls: Sequence[Compared], journal: Journal) -> dict[str, Any]:
    """The calls for programs."""
    return {
        "calls": len(calls) + len(journal.incomplete),
        "same": sum(call.change == "same" for call in calls),
        **{change: [_call(call) for call in calls if call.change == change] for change in _HEADINGS},
        "incomplete": [{**_place(event), "lacks": missing} for event, missing in journal.incomplete],
        "unreadable": journal.unreadable,
    }


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


def _call(call: Compared) -> dict[str, Any]:
    event = call.recorded.event
    return {
        **_place(event),
        "actor": event.get("actor"),
        "mcp": event.get("mcp"),
        "old": _verdict_as_json(call.old),
        "new": _verdict_as_json(call.new),
    }


def _place(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: event.get(name) for name in ("id", "seq", "ts")}


def _verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "least": verdict.least,
        "most": verdict.most,
        "rule": verdict.rule,
        "unknown": list(verdict.unknown),
    }


def _verdict(verdict: Verdict) -> str:
    effect = verdict.least if verdict.is_certain else f"{verdict.least} or {verdict.most}"
    return effect + (f" ({_line(verdict.rule)})" if verdict.rule is not None else "")


def _print_rule(sign: str, rule: Rule) -> None:
    for line in _toml(rule).splitlines():
        click.echo(f"{sign} {line}")


def _toml(rule: Rule) -> str:
    alone = Policy()
    alone.add(rule)
    return alone.to_toml().partition("\n\n")[2]


def _sorted(scopes: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {name: sorted(implied) for name, implied in scopes.items() if implied}


def _line(text: str) -> str:
    """Names come from strangers: what could move the cursor or reverse the line is taken out."""
    return shown(text, _LONGEST)
