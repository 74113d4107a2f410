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
from mcpauth_middleware.audit.text import Event, string, string_or_null

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
        call = _new_call()
        super().__init__(f'{_head(kind, "intent", call)},"actor":{actor}{repeated}{rest}')
        self.begun = (kind, call)
        self.repeated = f',"actor":{identity}{repeated}'


def intent(
    message: Message,
    principal: Principal,
    decision: Decision,
    source: str | None,
    *,
    describe: Description | None = None,
    tool: ToolFacts | None = None,
    session: str | None = None,
) -> Intent:
    """What is about to run. `source` is the address the request came from."""
    describe = Description() if describe is None else describe
    return Intent(
        _type(message),
        describe.actor(principal),
        description.identity(principal),
        _where(source, session, describe) + _what(message),
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
    head = _head("catalogue", "outcome", _new_call())
    return Event(f'{head},"outcome":"{outcome}","actor":{actor},"mcp":{mcp}')


def outcome(
    intent: Intent,
    outcome: Outcome,
    *,
    status: int | None = None,
    duration_ms: float | None = None,
    reason: str | None = None,
) -> Event:
    """How the call of `intent` ended."""
    kind, call = intent.begun
    ending = _ending(status, duration_ms, reason)
    return Event(f'{_head(kind, "outcome", call)},"outcome":"{outcome}"{intent.repeated}{ending}')


def refusal(
    reason: str,
    *,
    status: int,
    source: str | None,
    principal: Principal | None = None,
    message: Message | None = None,
    decision: Decision | None = None,
    limit: str | None = None,
    duration_ms: float | None = None,
    describe: Description | None = None,
    tool: ToolFacts | None = None,
    session: str | None = None,
) -> Event:
    """A request that never ran: its only event. What was not known yet when it was refused is not in it."""
    describe = Description() if describe is None else describe
    text = _head("request" if message is None else _type(message), "outcome", _new_call())
    text += ',"outcome":"refused"'
    if principal is not None:
        text += f',"actor":{describe.actor(principal)}'
    text += _where(source, session, describe)
    if message is not None:
        text += _what(message) + _with_what(message, tool, describe)
    if decision is not None:
        text += f',"decision":{description.decision(decision)}'
    if limit is not None:
        text += f',"limit":{string(limit)}'
    return Event(text + _ending(status, duration_ms, reason))


def _head(kind: str, phase: Literal["intent", "outcome"], call: str) -> str:
    return f'"v":{VERSION},"type":"{kind}","phase":"{phase}","call":"{call}"'


def _new_call() -> str:
    return os.urandom(16).hex()


def _type(message: Message) -> str:
    if message.method is None:
        return "response"
    if message.kind == "notification":
        return "notification"
    if message.method.startswith("tasks/"):
        return "task"
    return _TYPES.get(message.method, "unknown_method")


def _where(source: str | None, session: str | None, describe: Description) -> str:
    text = "" if session is None else f',"session":"{describe.session(session)}"'
    return text if source is None else f'{text},"source":{{"ip":{string(source)}}}'


def _what(message: Message) -> str:
    name, version = message.client
    text = f',"mcp":{description.mcp(message)}'
    if name is None:
        return text
    # What the client says of itself: nothing proves it.
    return f',"client":{{"name":{string(name)},"version":{string_or_null(version)}}}{text}'


def _with_what(message: Message, tool: ToolFacts | None, describe: Description) -> str:
    text = "" if tool is None else f',"tool":{description.tool(tool)}'
    if message.arguments is None:
        return text
    return f'{text},"args":{describe.arguments(message, message.arguments)}'


def _ending(status: int | None, duration_ms: float | None, reason: str | None) -> str:
    text = "" if status is None else f',"http":{{"status":{status:d}}}'
    if duration_ms is not None:
        text += f',"duration_ms":{_finite(round(duration_ms, 3))}'
    return text if reason is None else f'{text},"reason":{string(reason)}'


def _finite(number: float) -> float:
    if not isfinite(number):
        raise ValueError("NaN and Infinity are not JSON")
    return number
