"""One entry of a `tools/list` result, and what policies and checks may know from it.

Nothing is guessed: a tag that nobody lists is not the same as a tool that lists its tags without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from mcpauth_middleware.catalogue.param_headers import ParamHeader, param_headers
from mcpauth_middleware.policy.facts import ToolFacts

# FastMCP 2 wrote its own under `_fastmcp`.
_FASTMCP_KEYS = ("fastmcp", "_fastmcp")


@dataclass(frozen=True, slots=True, weakref_slot=True)
class ToolDefinition:
    """A tool as the server describes it."""

    name: str
    item: Mapping[str, Any] = field(repr=False, hash=False)
    """The entry itself."""
    facts: ToolFacts
    input_schema: Mapping[str, Any] | None = field(repr=False, hash=False)
    param_headers: tuple[ParamHeader, ...]
    version: str | None = None
    """Which of its versions is listed, on a server that keeps several of a tool (FastMCP)."""

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> ToolDefinition | None:
        """The definition in an entry; None when the entry has no name."""
        name = item.get("name")
        if not isinstance(name, str):
            return None
        schema = _object(item.get("inputSchema"))
        return cls(
            name=name,
            item=item,
            facts=ToolFacts(tags=_tags(item), annotations=_object(item.get("annotations", {}))),
            input_schema=schema,
            param_headers=() if schema is None else param_headers(schema),
            version=asked_version(item),
        )


def asked_version(holder: Mapping[str, Any]) -> str | None:
    """The version of a tool that the `_meta` of an entry, or of a call, names; "" for one that is none."""
    for key in _FASTMCP_KEYS:
        members = _object((_object(holder.get("_meta")) or {}).get(key))
        if members is not None and "version" in members:
            version = members["version"]
            return version if isinstance(version, str) else ""
    return None


def _tags(item: Mapping[str, Any]) -> frozenset[str] | None:
    """The tags, from `_meta.tags` and FastMCP's own place; None where neither is there, or one is odd."""
    meta = _object(item.get("_meta")) or {}
    places = [meta, *(_object(meta.get(key)) for key in _FASTMCP_KEYS)]
    lists = [place["tags"] for place in places if place is not None and "tags" in place]
    found: set[str] = set()
    for tags in lists:
        if not isinstance(tags, list):
            return None
        for tag in cast("list[object]", tags):
            if not isinstance(tag, str):
                return None
            found.add(tag)
    return frozenset(found) if lists else None


def _object(value: object) -> Mapping[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, Mapping) else None
