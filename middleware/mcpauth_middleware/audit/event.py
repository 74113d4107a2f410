"""Audit events: one intent before a call runs, one outcome after it, one refusal for what never ran.

The two events of a call share `call`. An intent without an outcome means that the process died in
between: the call may have run. A client may send the same call twice; each has its own events.
"""

from __future__ import annotations

import os
from math import isfinite
from typing import TYPE_CHECKING, Final, Literal

from mcpauth_middleware.audit import description
from mcpauth_middleware.audit.description import Description
from mcpauth_middleware.audit.text import Event, string

if TYPE_CHECKING:
    from mcpauth_middleware.message.request import Message
    from mcpauth_middleware.policy.decide import Decision
    from mcpauth_middleware.policy.facts import ToolFacts
    from mcpauth_middleware.principal import Principal

Outcome = Literal["ok", "error", "refused", "aborted"]

VERSION: Final = 1

_TYPES: Final = {
    "initialize": "session.start",
    "server/discover": "discover",
    "ping": "ping",
    "logging/setLevel": "logging",
    "tools/call": "call",
    "tools/list": "list",
    "prompts/get": "prompt",
    "prompts/list": "list",
    "resources/read": "read",
    "resources/list": "list",
    "resources/templates/list": "list",
    "resources/subscribe": "subscribe",
    "resources/unsubscribe": "subscribe",
    "subscriptions/listen": "subscribe",
    "completion/complete": "complete",
}


class Intent(Event):
    """The event before a call, and what the one after it says again."""

    def __init__(self, kind: str, actor: str, identity: str, repeated: str, rest: str = "") -> None:
        self.call = call = _new_call()
        """By which its outcome, and what happens within it, refer to it."""
        self.text = (
            f'"v":{VERSION},"type":"{kind}","phase":"intent","call":"{call}","actor":{actor}{repeated}{rest}'
        )
        self.ends_as = f'"v":{VERSION},"type":"{kind}","phase":"outcome","call":"{call}","outcome":"'
        self.repeated = f'","actor":{identity}{repeated}'


def intent(
    message: Message,
    principal: Principal,
    decision: Decision,
    source: str | None,
    *,
    describe: Description | None = None,
    tool: ToolFacts | None = None,
    session: str | None = None,
    outer: str | None = None,
) -> Intent:
    """What is about to run. `source` is the address the request came from, `outer` the call within which the
    server does it by itself.
    """
    describe = Description() if describe is None else describe
    return Intent(
        _type(message),
        describe.actor(principal),
        description.identity(principal),
        _where(source, session, describe, outer) + description.asked(message),
        f'{_with_what(message, tool, describe)},"decision":{description.decision(decision)}',
    )


def stream_intent(
    kind: Literal["stream", "session.end"],
    principal: Principal,
    protocol: str,
    source: str | None,
    *,
    describe: Description | None = None,
    session: str | None = None,
) -> Intent:
    """A stream that is about to open (GET), or a session that is about to end (DELETE)."""
    describe = Description() if describe is None else describe
    where = _where(source, session, describe)
    return Intent(
        kind,
        describe.actor(principal),
        description.identity(principal),
        f'{where},"mcp":{{"protocol":{string(protocol)}}}',
    )


def catalogue_event(principal: Principal, protocol: str, outcome: Outcome) -> Event:
    """That the middleware itself asked the server for its tools, for a call that waited for it."""
    actor = description.identity(principal)
    mcp = f'{{"method":"tools/list","protocol":{string(protocol)}}}'
    return Event(f'{_alone("catalogue", outcome)},"actor":{actor},"mcp":{mcp}')


def outcome(
    intent: Intent,
    outcome: Outcome,
    *,
    status: int | None = None,
    duration_ms: float | None = None,
    reason: str | None = None,
) -> Event:
    """How the call of `intent` ended."""
    return Event(f"{intent.ends_as}{outcome}{intent.repeated}{_ending(status, duration_ms, reason)}")


def refusal(
    reason: str,
    *,
    status: int | None,
    source: str | None,
    principal: Principal | None = None,
    message: Message | None = None,
    decision: Decision | None = None,
    limit: str | None = None,
    duration_ms: float | None = None,
    describe: Description | None = None,
    tool: ToolFacts | None = None,
    session: str | None = None,
    outer: str | None = None,
) -> Event:
    """A request that never ran: its only event. What was not known yet when it was refused is not in it."""
    describe = Description() if describe is None else describe
    text = _alone("request" if message is None else _type(message), "refused")
    if principal is not None:
        text += f',"actor":{describe.actor(principal)}'
    text += _where(source, session, describe, outer)
    if message is not None:
        text += description.asked(message) + _with_what(message, tool, describe)
    if decision is not None:
        text += f',"decision":{description.decision(decision)}'
    if limit is not None:
        text += f',"limit":{string(limit)}'
    return Event(text + _ending(status, duration_ms, reason))


def _alone(kind: str, outcome: Outcome) -> str:
    """How an outcome begins that had no intent."""
    call = _new_call()
    return f'"v":{VERSION},"type":"{kind}","phase":"outcome","call":"{call}","outcome":"{outcome}"'


def _new_call() -> str:
    while True:
        try:
            return _unused_calls.pop()
        except IndexError:
            # Together: asking the system for each would cost more than the rest of an event.
            random = os.urandom(64 * _CALL_BYTES).hex()
            _unused_calls.extend(
                random[at : at + 2 * _CALL_BYTES] for at in range(0, len(random), 2 * _CALL_BYTES)
            )


_CALL_BYTES: Final = 16
_unused_calls: Final[list[str]] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unused_calls.clear)  # they are the parent's


def _type(message: Message) -> str:
    if message.method is None:
        return "response"
    if message.kind == "notification":
        return "notification"
    if message.method.startswith("tasks/"):
        return "task"
    return _TYPES.get(message.method, "unknown_method")


def _where(source: str | None, session: str | None, describe: Description, outer: str | None = None) -> str:
    text = "" if session is None else f',"session":"{describe.session(session)}"'
    if outer is not None:
        text = f',"within":"{outer}"{text}'
    return text if source is None else f'{text},"source":{{"ip":{string(source)}}}'


def _with_what(message: Message, tool: ToolFacts | None, describe: Description) -> str:
    text = "" if tool is None else f',"tool":{description.tool(tool)}'
    if message.arguments is None:
        return text
    return f'{text},"args":{describe.arguments(message, message.arguments)}'


def _ending(status: int | None, duration_ms: float | None, reason: str | None) -> str:
    text = "" if status is None else f',"http":{{"status":{status:d}}}'
    if duration_ms is not None:
        if not isfinite(duration_ms):
            raise ValueError("duration_ms: NaN and Infinity are not JSON")
        text += f',"duration_ms":{duration_ms:.3f}'
    return text if reason is None else f'{text},"reason":{string(reason)}'
