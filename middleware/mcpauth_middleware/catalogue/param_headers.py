"""`x-mcp-header`: which arguments of a tool a client repeats as `Mcp-Param-*` (MCP 2026-07-28, Tools).

Where an annotation breaks a rule of the specification, the tool has none: clients must leave such a tool
out, so that nobody sends headers for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

KEY: Final = "x-mcp-header"

Path = tuple[str, ...]
Type = Literal["string", "integer", "boolean"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2
_TYPES: Final[Mapping[str, Type]] = {"string": "string", "integer": "integer", "boolean": "boolean"}

# JSON Schema 2020-12: where further schemas stand inside of one, by the form of the keyword's value.
_ONE: Final = (
    "items",
    "contains",
    "unevaluatedItems",
    "additionalProperties",
    "propertyNames",
    "unevaluatedProperties",
    "not",
    "if",
    "then",
    "else",
    "contentSchema",
)
_LIST: Final = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_MAP: Final = ("patternProperties", "dependentSchemas", "$defs", "definitions")


@dataclass(frozen=True, slots=True)
class ParamHeader:
    """One argument that is repeated in a header."""

    header: str
    """The name of the header, in lower case."""
    path: Path
    """The chain of `properties` that leads to the argument."""
    type: Type


def param_headers(schema: Mapping[str, Any]) -> tuple[ParamHeader, ...]:
    """What a schema declares; nothing when any of its annotations is not as the specification asks."""
    found: dict[str, ParamHeader] = {}
    for path, subschema in _subschemas(schema):
        if KEY not in subschema:
            continue
        declared = _declared(path, subschema)
        if declared is None or declared.header in found:
            return ()
        found[declared.header] = declared
    return tuple(found.values())


def _declared(path: Path | None, schema: Mapping[str, Any]) -> ParamHeader | None:
    name, kind = schema[KEY], schema.get("type")
    if not path or not isinstance(name, str) or not _TOKEN.fullmatch(name):
        return None
    if not isinstance(kind, str) or kind not in _TYPES:
        return None
    return ParamHeader(f"mcp-param-{name.lower()}", path, _TYPES[kind])


def _subschemas(root: Mapping[str, Any]) -> Iterator[tuple[Path | None, Mapping[str, Any]]]:
    """Every schema in `root`, with the chain of `properties` to it; None where anything else leads to it."""
    waiting: list[tuple[Path | None, object]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if not isinstance(node, Mapping):
            continue
        schema = cast("Mapping[str, Any]", node)
        yield path, schema
        for name, inner in _members(schema.get("properties")):
            waiting.append((None if path is None else (*path, name), inner))
        waiting += [(None, inner) for inner in _elsewhere(schema)]


def _elsewhere(schema: Mapping[str, Any]) -> Iterator[object]:
    for key in _ONE:
        yield schema.get(key)
    for key in _LIST:
        value = schema.get(key)
        if isinstance(value, list):
            yield from cast("list[object]", value)
    for key in _MAP:
        for _, inner in _members(schema.get(key)):
            yield inner


def _members(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from cast("Mapping[str, object]", value).items()
