"""The tools of one server: learnt from the lists that pass through, kept for a while, never guessed.

A server may show each principal other tools, or the same tool with another definition. One definition
serves for all as long as nobody was shown a different one; from then on each principal has its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mcpauth_middleware.catalogue.definition import ToolDefinition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpauth_middleware.principal import Principal

LIFETIME_SECONDS: Final = 60.0
"""How long a definition is believed, when the server does not say that its tools have changed."""
MAX_DEFINITIONS: Final = 10_000

Who = tuple[str, str, str | None]


@dataclass(slots=True)
class _Entry:
    definition: ToolDefinition
    shown_to: Who
    learnt_at: float


class Catalogue:
    """What is known of each tool.

    Args:
        now: The clock, in seconds.
        lifetime: How long a definition is believed, in seconds.
        max_definitions: How many are kept; beyond that the oldest are forgotten.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        lifetime: float = LIFETIME_SECONDS,
        max_definitions: int = MAX_DEFINITIONS,
    ) -> None:
        self._now = now
        self._lifetime = lifetime
        self._max_definitions = max_definitions
        # In the order in which they were learnt.
        self._shared: dict[str, _Entry] = {}
        self._own: dict[tuple[str, Who], _Entry] = {}
        self._differing: set[str] = set()

    def __len__(self) -> int:
        """How many definitions are kept."""
        return len(self._shared) + len(self._own)

    def learn(self, item: Mapping[str, Any], principal: Principal) -> None:
        """Take in an entry of a `tools/list` result that the server gave this principal."""
        name, who, now = item.get("name"), who_is(principal), self._now()
        if not isinstance(name, str):
            return
        known = self._shared.pop(name, None)
        if name in self._differing:
            self._keep_own(name, _entry(self._own.get((name, who)), item, who, now))
        elif known is None or self._is_old(known) or known.shown_to == who or known.definition.item == item:
            self._shared[name] = _entry(known, item, who, now)
        else:
            self._differing.add(name)
            self._keep_own(name, known)
            self._keep_own(name, _entry(None, item, who, now))
        self._make_room()

    def definition(self, name: str, principal: Principal) -> ToolDefinition | None:
        """What is known of a tool; None where nothing is, or nothing that is still believed."""
        own = name in self._differing
        entry = self._own.get((name, who_is(principal))) if own else self._shared.get(name)
        return None if entry is None or self._is_old(entry) else entry.definition

    def forget(self) -> None:
        """The server's tools have changed."""
        self._shared.clear()
        self._own.clear()
        self._differing.clear()

    def _keep_own(self, name: str, entry: _Entry) -> None:
        self._own.pop((name, entry.shown_to), None)
        self._own[name, entry.shown_to] = entry

    def _is_old(self, entry: _Entry) -> bool:
        return not 0 <= self._now() - entry.learnt_at < self._lifetime

    def _make_room(self) -> None:
        if len(self._differing) > self._max_definitions:
            self.forget()
        while len(self) > self._max_definitions:
            if self._own:
                del self._own[next(iter(self._own))]
            else:
                del self._shared[next(iter(self._shared))]


def who_is(principal: Principal) -> Who:
    """What a server can tell principals apart by."""
    return (principal.issuer, principal.subject, principal.client_id)


def _entry(known: _Entry | None, item: Mapping[str, Any], who: Who, now: float) -> _Entry:
    if known is not None and known.definition.item == item:
        return _Entry(known.definition, who, now)
    definition = ToolDefinition.of(item)
    if definition is None:
        raise ValueError("an entry without a name")
    return _Entry(definition, who, now)
