"""What one decision sees of the catalogue, and what it would have needed to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth_middleware.catalogue.definition import asked_version

if TYPE_CHECKING:
    from mcpauth_middleware.catalogue.catalogue import Catalogue, Who
    from mcpauth_middleware.catalogue.definition import ToolDefinition
    from mcpauth_middleware.message import Message
    from mcpauth_middleware.policy.facts import ToolFacts


class CatalogueView:
    """The catalogue for one message of `who`; `unknown` are the tools it could not tell of."""

    def __init__(self, catalogue: Catalogue, who: Who, message: Message | None = None) -> None:
        self._catalogue = catalogue
        self._who = who
        self._message = message
        self.unknown: set[str] = set()

    def definition(self, name: str) -> ToolDefinition | None:
        """The definition of the very tool that would run; None where it is not known."""
        found = self._catalogue.definition(name, self._who)
        if found is None:
            self.unknown.add(name)
        elif self._message is not None:
            version = asked_version(self._message.params)
            if version is not None and version != found.version:
                return None  # the list speaks of another version than the call
        return found

    def tool_facts(self, name: str) -> ToolFacts | None:
        """What a policy may know of the tool."""
        found = self.definition(name)
        return None if found is None else found.facts
