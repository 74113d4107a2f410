"""Audit events: one intent before a call runs, one outcome after it, one refusal for what never ran.

The two events of a call share `call`. An intent without an outcome means that the process died in
between: the call may have run. A client may send the same call twice; each has its own events.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Literal

from mcpauth_middleware.audit import description
from mcpauth_middleware.audit.description import Description

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth_middleware.message.request import Message
    from mcpauth_middleware.policy.decide import Decision
    from mcpauth_middleware.policy.facts import ToolFacts
    from mcpauth_middleware.principal import Principal

Event = dict[str, Any]
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
_REPEATED: Final = ("client", "mcp", "session", "source")
_IDENTITY: Final = ("iss", "sub", "client_id")


def intent(
    message: Message,
    principal: Principal,
    decision: Decision,
    source: str | None,
    *,
    describe: Description | None = None,
    tool: ToolFacts | None = None,
    session: str | None = None,
) -> Event:
    """What is about to run. `source` is the address the request came from."""
    describe = Description() if describe is None else describe
    event = _event(_type(message), "intent", _new_call())
    _add_who_and_where(event, principal, source, session, describe)
    _add_what(event, message, tool, describe)
    event["decision"] = description.decision(decision)
    return event


def stream_intent(
    kind: Literal["stream", "session.end"],
    principal: Principal,
    protocol: str,
    source: str | None,
    *,
    describe: Description | None = None,
    session: str | None = None,
) -> Event:
    """A stream that is about to open (GET), or a session that is about to end (DELETE)."""
    describe = Description() if describe is None else describe
    event = _event(kind, "intent", _new_call())
    _add_who_and_where(event, principal, source, session, describe)
    event["mcp"] = {"protocol": protocol}
    return event


def catalogue_event(principal: Principal, protocol: str, outcome: Outcome) -> Event:
    """That the middleware itself asked the server for its tools, for a call that waited for it."""
    event = _event("catalogue", "outcome", _new_call())
    event |= {"outcome": outcome, "actor": description.identity(principal)}
    return event | {"mcp": {"method": "tools/list", "protocol": protocol}}


def outcome(
    intent: Mapping[str, Any],
    outcome: Outcome,
    *,
    status: int | None = None,
    duration_ms: float | None = None,
    reason: str | None = None,
) -> Event:
    """How the call of `intent` ended."""
    event = _event(intent["type"], "outcome", intent["call"])
    event["outcome"] = outcome
    if "actor" in intent:
        actor = intent["actor"]
        event["actor"] = {name: actor[name] for name in _IDENTITY}
    for name in _REPEATED:
        if name in intent:
            event[name] = intent[name]
    _add_ending(event, status, duration_ms, reason)
    return event


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
    event = _event("request" if message is None else _type(message), "outcome", _new_call())
    event["outcome"] = "refused"
    _add_who_and_where(event, principal, source, session, describe)
    if message is not None:
        _add_what(event, message, tool, describe)
    if decision is not None:
        event["decision"] = description.decision(decision)
    if limit is not None:
        event["limit"] = limit
    _add_ending(event, status, duration_ms, reason)
    return event


def _event(kind: str, phase: Literal["intent", "outcome"], call: str) -> Event:
    return {"v": VERSION, "type": kind, "phase": phase, "call": call}


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


def _add_who_and_where(
    event: Event, principal: Principal | None, source: str | None, session: str | None, describe: Description
) -> None:
    if principal is not None:
        event["actor"] = describe.actor(principal)
    if session is not None:
        event["session"] = describe.session(session)
    if source is not None:
        event["source"] = {"ip": source}


def _add_what(event: Event, message: Message, tool: ToolFacts | None, describe: Description) -> None:
    name, version = message.client
    if name is not None:
        # What the client says of itself: nothing proves it.
        event["client"] = {"name": name, "version": version}
    event["mcp"] = description.mcp(message)
    if tool is not None:
        event["tool"] = description.tool(tool)
    if message.arguments is not None:
        event["args"] = describe.arguments(message)


def _add_ending(event: Event, status: int | None, duration_ms: float | None, reason: str | None) -> None:
    if status is not None:
        event["http"] = {"status": status}
    if duration_ms is not None:
        event["duration_ms"] = round(duration_ms, 3)
    if reason is not None:
        event["reason"] = reason
