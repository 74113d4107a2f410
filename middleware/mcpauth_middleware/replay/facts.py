"""The facts about a recorded call: those that a journal does not hold are not known, and not absent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mcpauth_middleware.policy.errors import Missing
from mcpauth_middleware.policy.facts import ClaimNames, Facts
from mcpauth_middleware.replay.errors import NotKept

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class RecordedFacts(Facts):
    """Facts of which some come from what the journal says of them itself."""

    membership: Mapping[str, object] = field(default_factory=dict[str, object])
    """What the policy of that time found: `groups` and `tenant`; None where the token said nothing."""
    found_in: ClaimNames = field(default_factory=ClaimNames)
    """Where it looked for them."""

    @property
    def now(self) -> float:
        """The moment, in epoch seconds."""
        if self.context.now is None:
            raise NotKept("when it was")
        return self.context.now

    def _claim(self, way: tuple[str, ...]) -> object:
        try:
            return Facts._claim(self, way)  # noqa: SLF001 (`super()` knows no class that has slots)
        except NotKept:
            for name, found in self.membership.items():
                if way == getattr(self.found_in, name):
                    return found if found is not None else self._missing(way)
            raise

    def _missing(self, way: tuple[str, ...]) -> object:
        raise Missing(f"the token has no claim {'.'.join(way)}")
