"""How large arguments may be for a check against a JSON Schema to take bounded time.

`jsonschema` looks for the members that were evaluated in a list, and so takes quadratic time in their
number; and it matches names with the patterns of `patternProperties` however long they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from mcpauth_middleware.catalogue.patterns import MAX_TEXT_LENGTH, longest_text

MAX_MEMBERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class ArgumentBounds:
    """What each object and each list in the arguments may be."""

    name_length: int
    items: int | None

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> ArgumentBounds:
        """The bounds that a schema needs; what only looks like a keyword counts as well."""
        objects = [node for node in _nodes(schema) if isinstance(node, Mapping)]
        patterns = [
            pattern
            for node in objects
            if isinstance(by_name := node.get("patternProperties"), Mapping)
            for pattern in cast("Mapping[str, object]", by_name)
        ]
        return cls(
            name_length=min(map(longest_text, patterns), default=MAX_TEXT_LENGTH),
            items=MAX_MEMBERS if any("unevaluatedItems" in node for node in objects) else None,
        )

    def problem(self, arguments: Mapping[str, Any]) -> str | None:
        """Say what is too large, or return None."""
        for node in _nodes(arguments):
            if isinstance(node, Mapping):
                if len(node) > MAX_MEMBERS:
                    return f"arguments: an object has more than {MAX_MEMBERS} members"
                if any(len(name) > self.name_length for name in node):
                    return f"arguments: a member has a name of more than {self.name_length} characters"
            elif self.items is not None and len(node) > self.items:
                return f"arguments: a list has more than {self.items} items"
        return None


def _nodes(root: object) -> Iterator[Mapping[str, object] | list[object]]:
    """Every object and every list in a JSON value."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            members = cast("Mapping[str, object]", node)
            yield members
            waiting.extend(members.values())
        elif isinstance(node, list):
            items = cast("list[object]", node)
            yield items
            waiting.extend(items)
