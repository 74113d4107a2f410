"""The tools of one server: learnt from the lists that pass through, kept for a while, never guessed.

A server may show each principal other tools, or the same tool with another definition, and one application
may hold several servers. So a definition counts only for those who were shown it and at the path where they
were, each for a while from then on: nobody is judged by what a server says of a tool to somebody else, or
another server of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from mcpauth_middleware.catalogue.definition import ToolDefinition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpauth_middleware.principal import Principal

LIFETIME_SECONDS: Final = 60.0
"""How long a definition is believed, when the server does not say that its tools have changed."""
MAX_DEFINITIONS: Final = 10_000
MAX_SHOWN: Final = 100_000
"""One for each tool and each principal who was shown it: a hundred tools for a thousand callers a minute."""

Who = tuple[str, str, str, str | None]


@dataclass(frozen=True, slots=True)
class _Shown:
    definition: ToolDefinition
    learnt_at: float


class Catalogue:
    """What each principal knows of each tool.

    Args:
        now: The clock, in seconds.
        lifetime: How long a definition is believed, in seconds.
        max_definitions: How many different ones are kept; beyond that the oldest are forgotten.
        max_shown: How many are kept of which principal was shown which.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        lifetime: float = LIFETIME_SECONDS,
        max_definitions: int = MAX_DEFINITIONS,
        max_shown: int = MAX_SHOWN,
    ) -> None:
        self._now = now
        self._lifetime = lifetime
        self._max_definitions = max_definitions
        self._max_shown = max_shown
        # In the order in which they were learnt.
        self._shown: OrderedDict[tuple[str, Who], _Shown] = OrderedDict()
        # Equal ones are one object, which goes with the last who was shown it.
        self._definitions: WeakValueDictionary[bytes, ToolDefinition] = WeakValueDictionary()

    def __len__(self) -> int:
        """How many different definitions are kept."""
        return len(self._definitions)

    def learn(self, item: Mapping[str, Any], who: Who) -> None:
        """Take in an entry of a `tools/list` result that was given to them."""
        digest = _digest(item)
        definition = self._definitions.get(digest) or ToolDefinition.of(item)
        if definition is None:
            return
        self._definitions[digest] = definition
        key = (definition.name, who)
        self._shown[key] = _Shown(definition, self._now())
        self._shown.move_to_end(key)
        self._make_room()

    def definition(self, name: str, who: Who) -> ToolDefinition | None:
        """What they were shown of a tool; None: nothing, or nothing that is still believed."""
        shown = self._shown.get((name, who))
        if shown is None or not 0 <= self._now() - shown.learnt_at < self._lifetime:
            return None
        return shown.definition

    def forget(self) -> None:
        """The server's tools have changed."""
        self._shown.clear()

    def _make_room(self) -> None:
        while self._shown and (
            len(self._shown) > self._max_shown or len(self._definitions) > self._max_definitions
        ):
            self._shown.popitem(last=False)


def who_is(principal: Principal, path: str) -> Who:
    """What a server can tell principals apart by, and what tells the servers of one application apart."""
    return (path, principal.issuer, principal.subject, principal.client_id)


def _digest(item: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(item, sort_keys=True).encode()).digest()
