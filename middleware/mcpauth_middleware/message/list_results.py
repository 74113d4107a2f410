"""The list results of MCP inside JSON-RPC messages: `tools`, `prompts`, `resources`, `resourceTemplates`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

from mcpauth_middleware.message import strict_json
from mcpauth_middleware.message.target import ListKind, Target, TargetKind

Visible = Callable[[ListKind, Mapping[str, Any]], bool]

# The kind of target that an entry is, and the member that names it.
_ENTRIES: Final[Mapping[ListKind, tuple[TargetKind, str]]] = MappingProxyType(
    {
        "tools": ("tool", "name"),
        "prompts": ("prompt", "name"),
        "resources": ("resource", "uri"),
        "resourceTemplates": ("resource", "uriTemplate"),
    }
)
# Or a letter that is written as an escape, or a NUL as in UTF-16, which some clients read: a member can have
# such a name without looking like it.
_LIST_MEMBER = re.compile(rb'"(?:tools|prompts|resources|resourceTemplates)"|\\u00[4-7]|\x00')


def list_item_target(kind: ListKind, item: Mapping[str, Any]) -> Target | None:
    """The target that an entry of a list stands for, or None for an entry without a name."""
    target_kind, member = _ENTRIES[kind]
    name = item.get(member)
    return Target(target_kind, name) if isinstance(name, str) else None


def may_hold_list(document: bytes | bytearray) -> bool:
    """Whether a list result can be in `document`: a cheap look that never says no to one."""
    return _LIST_MEMBER.search(document) is not None


def filter_document(document: bytes, visible: Visible) -> bytes:
    """A JSON-RPC message, or a batch of them, without the entries that are not visible.

    When nothing is hidden and nothing said about caching, the very same bytes.

    Raises:
        StrictJsonError: the document has no single reading, so that nobody can tell what a client would
            see in it.
    """
    value = strict_json.parse(document)
    messages = cast("list[object]", value) if isinstance(value, list) else [value]
    changes = [_filter_message(message, visible) for message in messages]
    if not any(changes):
        return document
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _filter_message(message: object, visible: Visible) -> bool:
    if not isinstance(message, dict):
        return False
    result: object = cast("dict[str, Any]", message).get("result")
    if not isinstance(result, dict):
        return False
    members = cast("dict[str, Any]", result)
    changed = False
    for kind in _ENTRIES:
        value: object = members.get(kind)
        if isinstance(value, list):
            entries = cast("list[object]", value)
            kept = [entry for entry in entries if _is_visible(kind, entry, visible)]
            changed |= len(kept) < len(entries)
            changed |= _make_private(members)
            members[kind] = kept
    return changed


def _is_visible(kind: ListKind, entry: object, visible: Visible) -> bool:
    if not isinstance(entry, dict):
        return False
    item = cast("dict[str, Any]", entry)
    return list_item_target(kind, item) is not None and visible(kind, item)


def _make_private(result: dict[str, Any]) -> bool:
    """Let no cache give one principal's list to another (2026-07-28, `CacheableResult`)."""
    if "cacheScope" not in result and "ttlMs" not in result:
        return False
    if result.get("cacheScope") == "private":
        return False
    result["cacheScope"] = "private"
    return True
