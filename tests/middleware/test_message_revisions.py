"""The one table of methods, held against the MCP SDK's own tables of each revision."""

from __future__ import annotations

from typing import Any

import pytest
from mcp_types import methods as sdk

from mcpauth_middleware.message import MessageRefused, Target
from mcpauth_middleware.message.request import Message, read_message
from mcpauth_middleware.message.revisions import METHODS, targets_of
from tests.middleware.gate_helpers import MODERN, REVISIONS, body, headers, modern_params, read

PARAMS: dict[str, dict[str, Any]] = {
    "tools/call": {"name": "search"},
    "prompts/get": {"name": "greet"},
    "resources/read": {"uri": "file:///a"},
    "resources/subscribe": {"uri": "file:///a"},
    "resources/unsubscribe": {"uri": "file:///a"},
    "completion/complete": {
        "ref": {"type": "ref/prompt", "name": "greet"},
        "argument": {"name": "a", "value": "b"},
    },
    "subscriptions/listen": {
        "notifications": {"resourceSubscriptions": ["file:///a", "file:///b", "file:///a"]}
    },
}
TARGETS: dict[str, tuple[Target, ...]] = {
    "tools/call": (Target("tool", "search"),),
    "prompts/get": (Target("prompt", "greet"),),
    "resources/read": (Target("resource", "file:///a"),),
    "resources/subscribe": (Target("resource", "file:///a"),),
    "resources/unsubscribe": (Target("resource", "file:///a"),),
    "completion/complete": (Target("prompt", "greet"),),
    "subscriptions/listen": (Target("resource", "file:///a"), Target("resource", "file:///b")),
}
LISTS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
ROWS = sorted({(method, version) for method, version in sdk.CLIENT_REQUESTS if version in REVISIONS})
NOTIFICATIONS = sorted(key for key in sdk.CLIENT_NOTIFICATIONS if key[1] in REVISIONS)
FROM_CLIENTS = {name for name, _ in [*sdk.CLIENT_REQUESTS, *sdk.CLIENT_NOTIFICATIONS]}
FROM_SERVERS = {name for name, _ in [*sdk.SERVER_REQUESTS, *sdk.SERVER_NOTIFICATIONS]}


@pytest.mark.parametrize(("method", "version"), ROWS)
def test_every_request_of_every_revision_reaches_for_what_the_specification_says(
    method: str, version: str
) -> None:
    """MCP, each revision's schema: the union of client requests."""
    row = METHODS[method]
    assert row.kind == "request"
    assert version in row.revisions
    message = read(method, PARAMS.get(method), version=version)
    expected = (Target("method", method),) if method.startswith("tasks/") else TARGETS.get(method, ())
    assert message.kind == "request"
    assert message.targets == expected
    assert message.lists == LISTS.get(method)
    assert message.modern == (version == "2026-07-28")


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
def test_a_task_of_the_extension_is_named_in_the_header_as_in_the_body(method: str) -> None:
    """SEP-2663, "Routing Headers": `Mcp-Name` is the `taskId`, by which others on the way route."""

    def sent(**more: str) -> Message:
        params = modern_params({"taskId": "mine"})
        return read_message(body(method, params), headers(MODERN, mcp_method=method, **more))

    assert sent(mcp_name="mine").targets == (Target("method", method),)
    for lie in ({"mcp_name": "another's"}, {}):
        with pytest.raises(MessageRefused) as refused:
            sent(**lie)
        assert refused.value.code == -32020


@pytest.mark.parametrize("version", REVISIONS)
def test_no_request_is_said_to_be_of_a_revision_that_has_it_not(version: str) -> None:
    """MCP, each revision's schema: the union of client requests."""
    ours = {name for name, row in METHODS.items() if row.kind == "request" and version in row.revisions}
    from_server = {name for name, of in sdk.SERVER_REQUESTS if of == version}
    # In 2026-07-28 a server asks within its results; the SDK leaves the tasks of 2025-11-25 out.
    asked = (
        {"sampling/createMessage", "roots/list", "elicitation/create"}
        if version == "2026-07-28"
        else set[str]()
    )
    theirs = {name for name, of in sdk.CLIENT_REQUESTS if of == version} | from_server | asked
    assert {name for name in ours if not name.startswith("tasks/")} == theirs


@pytest.mark.parametrize(("method", "version"), NOTIFICATIONS)
def test_every_notification_of_a_client_is_known_and_needs_no_rule(method: str, version: str) -> None:
    """MCP, each revision's schema: the union of client notifications."""
    message = read(method, version=version, id=...)
    assert message.kind == "notification"
    assert message.targets == ()
    assert version in METHODS[method].revisions


@pytest.mark.parametrize("method", sorted(FROM_SERVERS - FROM_CLIENTS))
def test_what_only_a_server_may_send_needs_a_rule_when_a_client_sends_it(method: str) -> None:
    """Default deny: no rule about tools, prompts or resources speaks of it."""
    message = read(method, id=... if method.startswith("notifications/") else 1)
    assert message.targets == (Target("method", method),)


@pytest.mark.parametrize(
    ("method", "id_"),
    [
        ("tasks/get", 1),
        ("tasks/list", 1),
        ("tools/delete", 1),
        ("Tools/Call", 1),
        ("tools/call/", 1),
        ("rpc.discover", 1),
        ("notifications/unheard_of", ...),
    ],
)
def test_a_method_that_is_not_in_the_table_is_its_own_target(method: str, id_: object) -> None:
    """Default deny: it is allowed only by a rule that names the method."""
    assert read(method, {"name": "search"}, id=id_).targets == (Target("method", method),)


@pytest.mark.parametrize("method", [name for name, row in METHODS.items() if row.lists is not None])
def test_lists_need_no_rule_since_their_entries_are_decided_on(method: str) -> None:
    """Each entry of the result is filtered by the same decision as its use."""
    assert targets_of(method, {}) == ()
