"""What a rule asks for besides its target: one small class for each key of a rule.

All of them must hold. Each answers whether it does, or raises `Unevaluable` when the fact it is about is
not known, or is not of the type it must have.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

from mcpauth_middleware.policy import functions
from mcpauth_middleware.policy.checks import members, patterns, scalar, scalars, texts
from mcpauth_middleware.policy.client_match import ClientMatch
from mcpauth_middleware.policy.conditions import compile_condition
from mcpauth_middleware.policy.conjunction import all_hold
from mcpauth_middleware.policy.errors import Missing, PolicyError
from mcpauth_middleware.policy.facts import DEFAULT_ANNOTATIONS
from mcpauth_middleware.policy.patterns import NameMatcher
from mcpauth_middleware.policy.time_window import TimeWindow
from mcpauth_middleware.policy.values import any_equal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mcpauth_middleware.policy.checks import Scalar
    from mcpauth_middleware.policy.facts import Facts
    from mcpauth_middleware.policy.rules import Rule


class Matcher(Protocol):
    """One condition of a rule."""

    @property
    def name(self) -> str:
        """The key of the rule."""
        ...

    @property
    def wanted(self) -> object:
        """What the rule asks for."""
        ...

    def holds(self, facts: Facts) -> bool:
        """Whether it is so.

        Raises:
            Unevaluable: nobody can tell.
        """
        ...

    def observed(self, facts: Facts) -> object:
        """The fact that was looked at.

        Raises:
            Unevaluable: it is not known.
        """
        ...


def matchers_of(rule: Rule) -> Iterator[Matcher]:
    """The conditions of a rule.

    Raises:
        PolicyError: one is wrong; the message names its key.
    """
    if rule.protocol:
        yield _Patterns("protocol", patterns("protocol", rule.protocol), lambda facts: facts.protocol)
    if rule.groups:
        yield _Shared("groups", texts("groups", rule.groups), lambda facts: facts.groups)
    if rule.tenant:
        yield _Shared("tenant", texts("tenant", rule.tenant), lambda facts: (facts.tenant,))
    if rule.client is not None:
        yield _Client(rule.client)
    if rule.claims:
        yield _Claims({key: scalars(f"claims.{key}", value) for key, value in members("claims", rule.claims)})
    if rule.tags:
        yield _Shared("tags", texts("tags", rule.tags), lambda facts: facts.tags)
    if rule.annotations:
        wanted = members("annotations", rule.annotations)
        yield _Annotations({key: _annotation(key, value) for key, value in wanted})
    if rule.ip:
        yield _Networks(texts("ip", rule.ip))
    if rule.time is not None:
        yield _Time(rule.time)
    if rule.when is not None:
        yield _when(rule.when)


@dataclass(frozen=True, slots=True)
class _Shared:
    """One of the wanted names is among those found."""

    name: str
    wanted: tuple[str, ...]
    found: Callable[[Facts], Sequence[str]]

    def holds(self, facts: Facts) -> bool:
        return not set(self.wanted).isdisjoint(self.found(facts))

    def observed(self, facts: Facts) -> object:
        return self.found(facts)


@dataclass(frozen=True, slots=True)
class _Patterns:
    """One of the patterns covers what is found."""

    name: str
    wanted: tuple[str, ...]
    found: Callable[[Facts], str]

    def holds(self, facts: Facts) -> bool:
        found = self.found(facts)
        return any(NameMatcher.of(pattern).matches(found) for pattern in self.wanted)

    def observed(self, facts: Facts) -> object:
        return self.found(facts)


class _Client:
    name = "client"

    def __init__(self, wanted: ClientMatch) -> None:
        if not isinstance(wanted, ClientMatch):
            raise PolicyError('client: must be a table, as in { host = ["claude.ai"] }')
        self._match = wanted
        self.wanted = wanted.asked
        self.holds = wanted.holds
        self.observed = wanted.observed


class _Time:
    name = "time"

    def __init__(self, wanted: TimeWindow) -> None:
        if not isinstance(wanted, TimeWindow):
            raise PolicyError('time: must be a table, as in { hours = "08:00-19:00" }')
        self.wanted = f"{wanted.days} {wanted.hours} {wanted.zone}"
        self.holds = wanted.holds
        self.observed = wanted.observed


@dataclass(frozen=True, slots=True)
class _Claims:
    """Each claim is one of the values, or is a list that holds one."""

    wanted: Mapping[str, tuple[Scalar, ...]]
    name = "claims"

    def holds(self, facts: Facts) -> bool:
        return all_hold(partial(self._holds, facts, *wanted) for wanted in self.wanted.items())

    def observed(self, facts: Facts) -> object:
        return {name: facts.principal.claims.get(name) for name in self.wanted}

    def _holds(self, facts: Facts, name: str, values: tuple[Scalar, ...]) -> bool:
        if name not in facts.principal.claims:
            raise Missing(f"the token has no claim {name}")
        found: object = facts.principal.claims[name]
        return any_equal(cast("list[object]", found) if isinstance(found, list) else [found], values)


@dataclass(frozen=True, slots=True)
class _Annotations:
    """The tool is annotated so; what it does not say is as MCP says."""

    wanted: Mapping[str, Scalar]
    name = "annotations"

    def holds(self, facts: Facts) -> bool:
        return all_hold(partial(self._holds, facts, *wanted) for wanted in self.wanted.items())

    def observed(self, facts: Facts) -> object:
        return {name: facts.annotations.get(name) for name in self.wanted}

    def _holds(self, facts: Facts, name: str, value: Scalar) -> bool:
        annotations = facts.annotations
        if name not in annotations:
            raise Missing(f"the tool has no annotation {name}")
        return any_equal([annotations[name]], [value])


class _Networks:
    """The request comes from one of the networks."""

    name = "ip"

    def __init__(self, wanted: tuple[str, ...]) -> None:
        self.wanted = wanted
        self._networks = tuple(_network(f"ip[{at}]", text) for at, text in enumerate(wanted))

    def holds(self, facts: Facts) -> bool:
        found = functions.address(facts.address)
        return any(found in network for network in self._networks)

    def observed(self, facts: Facts) -> object:
        return facts.address


def _annotation(key: str, value: object) -> Scalar:
    # Of another kind, it would have no answer for any tool.
    if key in DEFAULT_ANNOTATIONS and not isinstance(value, bool):
        raise PolicyError(f"annotations.{key}: must be true or false")
    return scalar(f"annotations.{key}", value)


def _network(key: str, text: str) -> functions.Network:
    try:
        return functions.network(text)
    except PolicyError as error:
        raise PolicyError(f"{key}: {error}") from None


def _when(text: object) -> Matcher:
    if not isinstance(text, str):
        raise PolicyError("when: must be a text, an expression")
    try:
        return compile_condition(text)
    except PolicyError as error:
        raise PolicyError(f"when: {error}") from None
