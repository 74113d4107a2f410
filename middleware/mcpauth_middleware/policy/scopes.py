"""Scopes (RFC 6749 §3.3), and which of them imply others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from mcpauth_middleware.policy.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")

NOT_A_SCOPE = "is not a scope: visible ASCII without space, quote and backslash"


def is_scope(name: object) -> bool:
    """Whether `name` is a scope-token of RFC 6749 §3.3: visible ASCII without `"` and backslash."""
    return isinstance(name, str) and _SCOPE_TOKEN.fullmatch(name) is not None


class ScopeHierarchy:
    """Broader scopes and what each of them implies, directly or through others.

    Raises:
        PolicyError: a name is no scope, or a scope implies itself.
    """

    def __init__(self, implies: Mapping[str, Sequence[str]] | None = None) -> None:
        implies = {} if implies is None else implies
        for scope, implied in implies.items():
            _check_names(scope, implied)
        self._closures: dict[str, frozenset[str]] = {}
        for scope in implies:
            self._close(scope, implies, path=[])

    @property
    def names(self) -> frozenset[str]:
        """Every scope the hierarchy speaks of."""
        return frozenset(name for closure in self._closures.values() for name in closure)

    def held(self, scopes: Collection[str]) -> frozenset[str]:
        """`scopes` and all they imply."""
        if not self._closures:
            return frozenset(scopes)
        return frozenset(scopes).union(
            *(self._closures[scope] for scope in scopes if scope in self._closures),
        )

    def satisfies(self, held: Collection[str], needed: Collection[str]) -> bool:
        """Whether whoever holds `held` has everything that is `needed`."""
        return self.held(held).issuperset(needed)

    def _close(self, scope: str, implies: Mapping[str, Sequence[str]], path: list[str]) -> frozenset[str]:
        if scope in path:
            cycle = " -> ".join([*path[path.index(scope) :], scope])
            raise PolicyError(f"scopes: a scope cannot imply itself: {cycle}")
        if scope not in self._closures:
            deeper = [self._close(implied, implies, [*path, scope]) for implied in implies.get(scope, ())]
            self._closures[scope] = frozenset({scope}).union(*deeper)
        return self._closures[scope]


def _check_names(scope: str, implied: object) -> None:
    if not is_scope(scope):
        raise PolicyError(f"scopes.{scope!r}: {NOT_A_SCOPE}")
    if isinstance(implied, str) or not isinstance(implied, (list, tuple)):
        raise PolicyError(f'scopes.{scope}: must be a list of scopes, as in ["{scope}:read"]')
    for position, name in enumerate(cast("Sequence[object]", implied)):
        if not is_scope(name):
            raise PolicyError(f"scopes.{scope}[{position}]: {NOT_A_SCOPE}")
