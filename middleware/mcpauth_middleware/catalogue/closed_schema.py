"""JSON Schema (2020-12 and draft 7) made strict: what a schema does not name, it does not allow.

JSON Schema lets an object have members that nobody described, unless it says otherwise. Here it is the
other way round: such members are allowed only where the schema itself speaks of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

_SPEAKS_OF_OTHERS = frozenset({"additionalProperties", "unevaluatedProperties", "patternProperties"})
_SCHEMA_MAPS = frozenset({"properties", "$defs", "definitions"})
_SCHEMA_LISTS = frozenset({"prefixItems", "items"})
# Each branch is all that the object may be, unless the schema around them has members of its own.
_ALTERNATIVES = frozenset({"anyOf", "oneOf"})
# Where several schemas describe one object together: none of them knows the members of the others.
_TOGETHER = frozenset({"allOf", "anyOf", "oneOf", "if", "then", "else", "not", "dependentSchemas"})


def closed(schema: Mapping[str, Any], *, keyword: str = "unevaluatedProperties") -> dict[str, Any]:
    """A copy of a tool's `inputSchema` that refuses members it does not name; `keyword` says how."""
    shared = frozenset(_references_in_parts(schema, inside=False))
    strict = _closed(schema, keyword, shared, "#")
    if _SPEAKS_OF_OTHERS.isdisjoint(schema):
        strict[keyword] = False
    return strict


def _closed(schema: Mapping[str, Any], keyword: str, shared: frozenset[str], where: str) -> dict[str, Any]:
    strict: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _SCHEMA_MAPS and isinstance(value, Mapping):
            inner = cast("Mapping[str, object]", value)
            strict[key] = {
                name: _child(one, keyword, shared, f"{where}/{key}/{name}") for name, one in inner.items()
            }
        elif key in _SCHEMA_LISTS or (key in _ALTERNATIVES and "properties" not in schema):
            strict[key] = _children(value, keyword, shared, f"{where}/{key}")
        else:
            strict[key] = value
    if "properties" in schema and _SPEAKS_OF_OTHERS.isdisjoint(schema) and where not in shared:
        strict[keyword] = False
    return strict


def _children(value: object, keyword: str, shared: frozenset[str], where: str) -> object:
    if isinstance(value, list):
        return [_child(one, keyword, shared, where) for one in cast("list[object]", value)]
    return _child(value, keyword, shared, where)


def _child(value: object, keyword: str, shared: frozenset[str], where: str) -> object:
    if not isinstance(value, Mapping):
        return value
    return _closed(cast("Mapping[str, Any]", value), keyword, shared, where)


def _references_in_parts(node: object, *, inside: bool) -> Iterator[str]:
    """The targets of each `$ref` that is only one of the schemas of an object."""
    if isinstance(node, list):
        for one in cast("list[object]", node):
            yield from _references_in_parts(one, inside=inside)
    elif isinstance(node, Mapping):
        members = cast("Mapping[str, object]", node)
        reference = members.get("$ref")
        if isinstance(reference, str) and (inside or "properties" in members):
            yield reference
        for key, value in members.items():
            # In a plain choice each branch stands alone.
            part = key in _TOGETHER and not (key in _ALTERNATIVES and "properties" not in members)
            yield from _references_in_parts(value, inside=part)
