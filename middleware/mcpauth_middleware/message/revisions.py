"""Every method of MCP revisions 2025-03-26, 2025-06-18, 2025-11-25 and 2026-07-28, and what each reaches for.

A method that is not in the table, or that only a server may send, reaches for `Target("method", name)`:
it is denied unless a rule names the method itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from mcpauth_middleware.message import targets
from mcpauth_middleware.message.target import ListKind, Target

MARCH_2025: Final = "2025-03-26"
JUNE_2025: Final = "2025-06-18"
NOVEMBER_2025: Final = "2025-11-25"
JULY_2026: Final = "2026-07-28"

# Revisions with a session and an `initialize`. A server takes any other value of the header for the
# stateless era, so that it can answer "unsupported" in that era's form; the gate must read such a
# message in the same way.
HANDSHAKE_REVISIONS: Final = frozenset({"2024-11-05", MARCH_2025, JUNE_2025, NOVEMBER_2025})

REVISIONS: Final = (MARCH_2025, JUNE_2025, NOVEMBER_2025, JULY_2026)
_HANDSHAKE: Final = (MARCH_2025, JUNE_2025, NOVEMBER_2025)

Mirrored = Literal["name", "uri", "taskId"]
TargetsOf = Callable[[Mapping[str, Any]], tuple[Target, ...]]


@dataclass(frozen=True, slots=True)
class Method:
    """One row: `targets` is None where the method itself is the target."""

    kind: Literal["request", "notification"]
    revisions: tuple[str, ...]
    targets: TargetsOf | None = targets.no_target
    lists: ListKind | None = None
    # The parameter that `Mcp-Name` repeats (2026-07-28, "Standard Request Headers"; of tasks, SEP-2663).
    mirrored: Mirrored | None = None


def _request(
    revisions: tuple[str, ...],
    targets_of: TargetsOf | None = targets.no_target,
    *,
    lists: ListKind | None = None,
    mirrored: Mirrored | None = None,
) -> Method:
    return Method("request", revisions, targets_of, lists, mirrored)


def _notification(revisions: tuple[str, ...], targets_of: TargetsOf | None = targets.no_target) -> Method:
    return Method("notification", revisions, targets_of)


METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        # Lifecycle
        "initialize": _request(_HANDSHAKE),
        "notifications/initialized": _notification(_HANDSHAKE),
        "server/discover": _request((JULY_2026,)),
        "ping": _request(_HANDSHAKE),
        "notifications/cancelled": _notification(REVISIONS),
        "notifications/progress": _notification(REVISIONS),
        # Tools
        "tools/list": _request(REVISIONS, lists="tools"),
        "tools/call": _request(REVISIONS, targets.tool, mirrored="name"),
        # Prompts
        "prompts/list": _request(REVISIONS, lists="prompts"),
        "prompts/get": _request(REVISIONS, targets.prompt, mirrored="name"),
        # Resources
        "resources/list": _request(REVISIONS, lists="resources"),
        "resources/templates/list": _request(REVISIONS, lists="resourceTemplates"),
        "resources/read": _request(REVISIONS, targets.resource, mirrored="uri"),
        "resources/subscribe": _request(_HANDSHAKE, targets.resource),
        "resources/unsubscribe": _request(_HANDSHAKE, targets.resource),
        "subscriptions/listen": _request((JULY_2026,), targets.subscriptions),
        # Utilities
        "completion/complete": _request(REVISIONS, targets.completion),
        "logging/setLevel": _request(_HANDSHAKE),
        # Tasks name neither the tool nor whose task it is: only a rule about the method can let them through.
        # In 2026-07-28 they are an extension (SEP-2663), which has `tasks/update` in place of two others.
        "tasks/get": _request((NOVEMBER_2025, JULY_2026), None, mirrored="taskId"),
        "tasks/result": _request((NOVEMBER_2025,), None),
        "tasks/cancel": _request((NOVEMBER_2025, JULY_2026), None, mirrored="taskId"),
        "tasks/list": _request((NOVEMBER_2025,), None),
        "tasks/update": _request((JULY_2026,), None, mirrored="taskId"),
        "notifications/tasks/status": _notification((NOVEMBER_2025,), None),
        "notifications/tasks": _notification((JULY_2026,), None),
        # What the client exposes, and what only a server sends
        "notifications/roots/list_changed": _notification(_HANDSHAKE),
        "roots/list": _request(REVISIONS, None),
        "sampling/createMessage": _request(REVISIONS, None),
        "elicitation/create": _request((JUNE_2025, NOVEMBER_2025, JULY_2026), None),
        "notifications/elicitation/complete": _notification((NOVEMBER_2025,), None),
        "notifications/message": _notification(REVISIONS, None),
        "notifications/tools/list_changed": _notification(REVISIONS, None),
        "notifications/prompts/list_changed": _notification(REVISIONS, None),
        "notifications/resources/list_changed": _notification(REVISIONS, None),
        "notifications/resources/updated": _notification(REVISIONS, None),
        "notifications/subscriptions/acknowledged": _notification((JULY_2026,), None),
    }
)


def targets_of(method: str, params: Mapping[str, Any]) -> tuple[Target, ...]:
    """What a message with this method and these parameters reaches for.

    Raises:
        MessageRefused: the parameters do not name it as the method's specification asks.
    """
    row = METHODS.get(method)
    if row is None or row.targets is None:
        return (Target("method", method),)
    return row.targets(params)
