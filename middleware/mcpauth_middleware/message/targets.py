"""From the parameters of each method to what it reaches for.

One function a kind of method; `revisions.py` says which method uses which.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from mcpauth_middleware.message.lookalikes import Lookalikes
from mcpauth_middleware.message.refusal import INVALID_PARAMS, MessageRefused
from mcpauth_middleware.message.resource_uri import resource_uri_problem
from mcpauth_middleware.message.target import Target

MAX_NAME_LENGTH = 1024
# Each is decided on its own; a body could otherwise hold hundreds of thousands, or a thousand that are long.
MAX_SUBSCRIPTIONS = 1000
MAX_SUBSCRIBED_LENGTH = 256 * 1024

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_REF = Lookalikes(["type", "name", "uri"])
_SUBSCRIPTION_FILTER = Lookalikes(["resourceSubscriptions", "taskIds"])
# That lists have changed is told to everybody: nothing of them is.
_TOLD_TO_ALL = frozenset({"toolsListChanged", "promptsListChanged", "resourcesListChanged"})
# SEP-2663: each notification of a task holds all that is known of it, its result included.
_ASKED_BY = {"taskIds": "tasks/get"}
_MEMBER = re.compile(r"[\x21-\x7e]{1,64}")
FURTHER_SUBSCRIPTIONS = "subscriptions/listen/"
"""Before the name of a member that an extension adds to what can be subscribed to: a method for rules."""

Params = Mapping[str, Any]


def no_target(_params: Params) -> tuple[Target, ...]:
    """The method reaches for nothing that needs a rule."""
    return ()


def tool(params: Params) -> tuple[Target, ...]:
    """`params.name` is a tool."""
    return (Target("tool", _name(params, "params.name")),)


def prompt(params: Params) -> tuple[Target, ...]:
    """`params.name` is a prompt."""
    return (Target("prompt", _name(params, "params.name")),)


def resource(params: Params) -> tuple[Target, ...]:
    """`params.uri` is a resource."""
    return (Target("resource", _uri(params.get("uri"), "params.uri")),)


def completion(params: Params) -> tuple[Target, ...]:
    """`params.ref` is a prompt, a resource or a resource template whose arguments are completed."""
    ref = _object(params.get("ref"), "params.ref")
    _REF.refuse(ref)
    match ref.get("type"):
        case "ref/prompt":
            return (Target("prompt", _name(ref, "params.ref.name")),)
        case "ref/resource":
            return (Target("resource", _uri(ref.get("uri"), "params.ref.uri")),)
        case _:
            raise MessageRefused(INVALID_PARAMS, "params.ref.type must be ref/prompt or ref/resource")


def subscriptions(params: Params) -> tuple[Target, ...]:
    """`params.notifications.resourceSubscriptions` holds resources; `taskIds` asks for what `tasks/get` does.

    Of what else an extension lets ask for (2026-07-28, `SubscriptionFilter`) nothing is known but its name.
    """
    wanted = _object(params.get("notifications"), "params.notifications")
    _SUBSCRIPTION_FILTER.refuse(wanted)
    further = tuple(
        _further(member)
        for member, value in wanted.items()
        # Exactly: to Python, 0 is False as well.
        if member not in _TOLD_TO_ALL and member != "resourceSubscriptions" and not _is_left_out(value)
    )
    uris = wanted.get("resourceSubscriptions")
    if uris is None:
        return further
    if not isinstance(uris, list):
        raise MessageRefused(INVALID_PARAMS, "params.notifications.resourceSubscriptions must be an array")
    uris = cast("list[object]", uris)
    if len(uris) > MAX_SUBSCRIPTIONS:
        raise MessageRefused(INVALID_PARAMS, f"more than {MAX_SUBSCRIPTIONS} subscriptions in one request")
    if sum(len(uri) for uri in uris if isinstance(uri, str)) > MAX_SUBSCRIBED_LENGTH:
        raise MessageRefused(
            INVALID_PARAMS, f"more than {MAX_SUBSCRIBED_LENGTH} characters of subscriptions in one request"
        )
    where = "an entry of params.notifications.resourceSubscriptions"
    names = dict.fromkeys(_uri(uri, where) for uri in uris)
    return (*(Target("resource", name) for name in names), *further)


def _is_left_out(value: object) -> bool:
    return value is None or value is False


def _further(member: str) -> Target:
    if _MEMBER.fullmatch(member) is None:
        raise MessageRefused(
            INVALID_PARAMS, "the members of params.notifications must have short ASCII names"
        )
    return Target("method", _ASKED_BY.get(member, f"{FURTHER_SUBSCRIPTIONS}{member}"))


def _object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MessageRefused(INVALID_PARAMS, f"{where} must be an object")
    return cast("dict[str, Any]", value)


def _name(members: Mapping[str, Any], where: str) -> str:
    name = members.get("name")
    if not isinstance(name, str) or not name:
        raise MessageRefused(INVALID_PARAMS, f"{where} must be a non-empty string")
    if len(name) > MAX_NAME_LENGTH:
        raise MessageRefused(INVALID_PARAMS, f"{where} is longer than {MAX_NAME_LENGTH} characters")
    if not name.isprintable() and _CONTROL.search(name):
        raise MessageRefused(INVALID_PARAMS, f"{where} holds a control character")
    return name


def _uri(uri: object, where: str) -> str:
    if not isinstance(uri, str):
        raise MessageRefused(INVALID_PARAMS, f"{where} must be a string")
    problem = resource_uri_problem(uri)
    if problem is not None:
        raise MessageRefused(INVALID_PARAMS, f"{where} {problem}")
    return uri
