"""What is wrong with a policy that loads: rules that can never matter, and names nobody uses."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from mcpauth_middleware.message.target import Target
from mcpauth_middleware.policy.finding import Finding
from mcpauth_middleware.policy.index import RuleIndex
from mcpauth_middleware.policy.rule_table import CONDITIONS
from mcpauth_middleware.policy.rules import Rule
from mcpauth_middleware.policy.slips import slips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mcpauth_middleware.message.target import TargetKind
    from mcpauth_middleware.policy.scopes import ScopeHierarchy

# Stands for "any characters" when a pattern is itself matched: no name holds it.
_ANY: Final = "\x00"


def lint(rules: Sequence[Rule], hierarchy: ScopeHierarchy) -> list[Finding]:
    """Everything that is wrong with these rules."""
    active = [rule for rule in rules if rule.mode != "off"]
    return [
        *_nothing_enforced(rules),
        *_duplicates(active),
        *_unreachable(active),
        *_overridden(active, hierarchy),
        *_redundant_patterns(active),
        *_unused_scopes(active, hierarchy),
        *_self_asserted(active),
        *(slip for rule in active for slip in slips(rule)),
    ]


def _nothing_enforced(rules: Sequence[Rule]) -> Iterator[Finding]:
    if rules and not any(rule.mode == "enforce" and rule.effect == "allow" for rule in rules):
        yield Finding("error", "nothing-enforced", None, "no allow rule is enforced, so everything is denied")


def _duplicates(rules: Sequence[Rule]) -> Iterator[Finding]:
    seen: dict[Rule, str] = {}
    for rule in rules:
        first = seen.setdefault(replace(rule, id="x"), rule.id)
        if first != rule.id:
            yield Finding("warning", "duplicate", rule.id, f'says the same as "{first}"; remove one')


def _unreachable(rules: Sequence[Rule]) -> Iterator[Finding]:
    """Allow rules about nothing that is not always denied."""
    denies = _index(rule for rule in rules if rule.effect == "deny" and rule.mode == "enforce")
    for rule in rules:
        if rule.effect != "allow":
            continue
        holds = partial(_holds_with, rule=rule)
        covers = [_covering(denies, kind, pattern, rule, holds) for kind, pattern in rule.patterns]
        dead = [(pattern, cover) for (_, pattern), cover in zip(rule.patterns, covers, strict=True) if cover]
        if dead and len(dead) == len(covers):
            by = ", ".join(sorted({cover.id for _, cover in dead}))
            yield Finding("error", "unreachable", rule.id, f"can allow nothing: {by} always denies it")
        else:
            for pattern, cover in dead:
                yield Finding(
                    "warning", "unreachable", rule.id, f"{pattern!r} is always denied by {cover.id}"
                )


def _overridden(rules: Sequence[Rule], hierarchy: ScopeHierarchy) -> Iterator[Finding]:
    """Allow rules whose scopes or conditions mean nothing, since another allows the same without them."""
    broad = _index(rule for rule in rules if rule.effect == "allow" and rule.mode == "enforce")
    for rule in rules:
        if rule.effect != "allow" or not (rule.scopes or rule.conditions):
            continue
        held = hierarchy.held(rule.scopes)

        def is_enough(cover: Rule, rule: Rule = rule, held: frozenset[str] = held) -> bool:
            # Whoever fits the rule fits the other one, which asks for less.
            return held.issuperset(cover.scopes) and _holds_with(cover, rule) and _asks_less(cover, rule)

        for kind, pattern in rule.patterns:
            cover = _covering(broad, kind, pattern, rule, is_enough)
            if cover is not None:
                text = f"{pattern!r} is allowed for less by {cover.id}; this keeps nobody out"
                yield Finding("warning", "overridden", rule.id, text)


def _redundant_patterns(rules: Sequence[Rule]) -> Iterator[Finding]:
    for rule in rules:
        patterns = list(dict.fromkeys(rule.patterns))
        if len(patterns) != len(list(rule.patterns)):
            yield Finding("warning", "redundant-pattern", rule.id, "names a pattern twice")
        alone = [_only(str(number), kind, pattern) for number, (kind, pattern) in enumerate(patterns)]
        index = _index(alone)
        for itself, (kind, pattern) in zip(alone, patterns, strict=True):
            if _covering(index, kind, pattern, itself) is not None:
                text = f"{pattern!r} is covered by another pattern of the rule"
                yield Finding("warning", "redundant-pattern", rule.id, text)


def _unused_scopes(rules: Sequence[Rule], hierarchy: ScopeHierarchy) -> Iterator[Finding]:
    required = {scope for rule in rules for scope in rule.scopes}
    for scope in sorted(hierarchy.names):
        if required.isdisjoint(hierarchy.held([scope])):
            text = f"no rule requires the scope {scope} of the hierarchy, or what it implies"
            yield Finding("warning", "unused-scope", None, text)


def _self_asserted(rules: Sequence[Rule]) -> Iterator[Finding]:
    for rule in rules:
        if rule.client is not None and (rule.client.name or rule.client.version):
            text = "client.name and client.version prove nothing; use client.id or host to keep others out"
            yield Finding("warning", "self-asserted", rule.id, text)


def _index(rules: Iterator[Rule] | Sequence[Rule]) -> RuleIndex:
    index = RuleIndex()
    for rule in rules:
        index.add(rule)
    return index


def _covering(
    index: RuleIndex, kind: TargetKind, pattern: str, but: Rule, fits: Callable[[Rule], bool] = bool
) -> Rule | None:
    """A rule that fits, other than `but`, one of whose patterns matches all that `pattern` matches.

    A `*` that is read as a character which no pattern holds can only be matched by another `*`, and that
    matches whatever stands in its place.
    """
    if "%" in pattern:
        return None
    found: set[str] | None = None
    by_id: dict[str, Rule] = {}
    for name in _instances(kind, pattern):
        allows, denies = index.matching(Target(kind, name))
        matching = {rule.id: rule for rule in (*allows, *denies) if rule.id != but.id and fits(rule)}
        by_id |= matching
        found = set(matching) if found is None else found & set(matching)
        if not found:
            return None
    return by_id[min(found)] if found else None


def _instances(kind: TargetKind, pattern: str) -> Iterator[str]:
    if kind != "resource":
        yield pattern.replace("*", _ANY)
        return
    segments = pattern.split("/")
    for count in range(5):
        if count == 0 and segments[-1] == "**":
            continue
        parts: list[str] = []
        for segment in segments:
            parts += [_ANY] * count if segment == "**" else [segment.replace("*", _ANY)]
        yield "/".join(parts)


def _holds_with(cover: Rule, rule: Rule) -> bool:
    """Whether all conditions of the one hold where those of the other do: it has none but these."""
    asked = [key for key in CONDITIONS if key != "mode" and getattr(cover, key)]
    return all(getattr(cover, key) == getattr(rule, key) for key in asked)


def _asks_less(cover: Rule, rule: Rule) -> bool:
    return set(cover.scopes) != set(rule.scopes) or len(cover.conditions) < len(rule.conditions)


def _only(rule_id: str, kind: TargetKind, pattern: str) -> Rule:
    by_kind: dict[TargetKind, tuple[str, ...]] = {kind: (pattern,)}
    return Rule(
        rule_id,
        "allow",
        tools=by_kind.get("tool", ()),
        prompts=by_kind.get("prompt", ()),
        resources=by_kind.get("resource", ()),
        methods=by_kind.get("method", ()),
    )
