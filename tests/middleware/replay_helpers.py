"""What the tests of replay share: events as the middleware writes them, and journals of them."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from mcpauth_middleware.replay import Journal, lines_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def event(**members: Any) -> dict[str, Any]:
    """A call that was denied; what is given as None is left out."""
    whole: dict[str, Any] = {
        "ts": "2026-11-22T17:44:53.590Z",
        "v": 1,
        "type": "call",
        "phase": "outcome",
        "actor": {"iss": "i", "sub": "s", "client_id": None, "scopes": []},
        "mcp": {"method": "tools/call", "protocol": "2026-07-28", "name": "t", "kind": "tool"},
        "decision": {"effect": "deny", "rule": None},
        **members,
    }
    return {name: value for name, value in whole.items() if value is not None}


def read(events: Sequence[Mapping[str, Any]]) -> Journal:
    """A journal of these events."""
    return journal_of(*map(json.dumps, events))


def journal_of(*lines: str) -> Journal:
    """A journal of these lines."""
    return Journal(lines_of("audit.jsonl", io.BytesIO("\n".join(lines).encode())))
