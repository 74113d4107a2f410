"""Rules by what they match, so that a decision looks at few of them however many there are."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from mcpauth_middleware.policy.decide import Outcome, decide_with_shadow
from mcpauth_middleware.policy.patterns import Pattern, readings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcpauth_middleware.message.target import Target, TargetKind
    from mcpauth_middleware.policy.decide import Decision
    from mcpauth_middleware.policy.rules import Rule

_Entry = tuple[int, "Rule", Pattern]


_REMEMBERED: Final = 4096
"""Names come from callers, so what is kept about them is bounded."""
_LONGEST_REMEMBERED: Final = 512


class RuleIndex:
    """Finds the rules about a target, in the order in which they were added."""

    def __init__(self) -> None:
        self._size = 0
        self._remembered = lru_cache(_REMEMBERED)(self._decide)
        self._exact: dict[tuple[TargetKind, str], list[_Entry]] = {}
        self._prefixed: dict[tuple[TargetKind, str], list[_Entry]] = {}
        self._lengths: dict[TargetKind, list[int]] = {}

    def add(self, rule: Rule) -> None:
        """Add a rule under each of its patterns."""
        for kind, text in rule.patterns:
            pattern = Pattern(kind, text)
            for prefix, is_whole in pattern.keys:
                where = self._exact if is_whole else self._prefixed
                where.setdefault((kind, prefix), []).append((self._size, rule, pattern))
                if not is_whole and len(prefix) not in self._lengths.setdefault(kind, []):
                    self._lengths[kind].append(len(prefix))
        self._size += 1

    def decision(self, target: Target, held: frozenset[str], bundle: str) -> Decision | None:
        """The decision about a target, where it hangs on nothing but the scopes that are held.

        None where a rule about the target has a condition: only who knows the message can decide.
        """
        if len(target.name) > _LONGEST_REMEMBERED:
            return self._decide(target, held, bundle, self._size)
        # With the size, so that nothing is remembered over a rule that another thread adds meanwhile.
        return self._remembered(target, held, bundle, self._size)

    def _decide(self, target: Target, held: frozenset[str], bundle: str, _size: int) -> Decision | None:
        allows, denies = self.matching(target)
        if any(rule.conditions for rule in (*allows, *denies)):
            return None
        return decide_with_shadow(allows, denies, held, lambda _: Outcome.MATCH, bundle)

    def matching(self, target: Target) -> tuple[list[Rule], list[Rule]]:
        """The allow rules and the deny rules about a target."""
        names = readings(target.kind, target.name)
        allows: dict[int, Rule] = {}
        denies: dict[int, Rule] = {}
        for order, rule, pattern in self.candidates(target.kind, names.every):
            if rule.effect == "allow":
                if pattern.allows(names):
                    allows[order] = rule
            elif pattern.matches_any(names.every):
                denies[order] = rule
        return _in_order(allows), _in_order(denies)

    def candidates(self, kind: TargetKind, names: Iterable[str]) -> Iterator[_Entry]:
        """The patterns that can match at all: those that are the name, or begin as it does."""
        for name in names:
            yield from self._exact.get((kind, name), ())
            for length in self._lengths.get(kind, ()):
                if length <= len(name):
                    yield from self._prefixed.get((kind, name[:length]), ())


def _in_order(rules: dict[int, Rule]) -> list[Rule]:
    return [rules[order] for order in sorted(rules)] if len(rules) > 1 else list(rules.values())
