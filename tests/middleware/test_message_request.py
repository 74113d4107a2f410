"""Reading a message, JSON-RPC 2.0 and MCP: what well-behaved clients send is read as they meant it."""

from __future__ import annotations

from typing import Any

import pytest

from mcpauth_middleware.message import MessageRefused, Target, read_message
from tests.middleware.gate_helpers import (
    JSON_TYPE,
    META_CLIENT,
    MODERN,
    REVISIONS,
    body,
    call,
    headers,
    modern_params,
    read,
)


@pytest.mark.parametrize("version", REVISIONS)
def test_a_tool_call_is_read_with_its_name_and_arguments(version: str) -> None:
    """MCP tools: `tools/call`."""
    message = call("search", {"q": "x", "Name": "other"}, version=version)
    assert message.kind == "request"
    assert message.method == "tools/call"
    assert message.targets == (Target("tool", "search"),)
    assert message.arguments == {"q": "x", "Name": "other"}
    assert message.protocol_version == version


def test_without_the_version_header_a_message_is_of_the_revision_that_had_none() -> None:
    """MCP 2025-06-18, Protocol Version Header: assume 2025-03-26."""
    message = read_message(body("ping"), headers(None))
    assert message.protocol_version == "2025-03-26"
    assert not message.modern


@pytest.mark.parametrize("version", ["2024-11-05", *REVISIONS[:3]])
def test_revisions_with_a_handshake_are_not_modern(version: str) -> None:
    """What the SDK routes to its session transport."""
    assert not read_message(body("ping"), headers(version)).modern


@pytest.mark.parametrize(
    "version", ["2026-07-28", "2027-01-01", "1.0", "draft", "", "2025-03-26, 2026-07-28"]
)
def test_any_other_version_is_read_as_the_stateless_era_reads_it(version: str) -> None:
    """The SDK routes every value it does not know to the modern entry, which answers what it supports."""
    found = [*headers(version), (b"mcp-method", b"tools/list")]
    message = read_message(body("tools/list", modern_params(version=version)), found)
    assert message.modern
    assert message.protocol_version == version


@pytest.mark.parametrize("id_", [0, 1, -7, 10**60, "", "a", "550e8400-e29b-41d4-a716-446655440000"])
def test_integers_and_strings_are_ids(id_: object) -> None:
    """JSON-RPC 2.0 §4; MCP: not null."""
    assert read_message(body("ping", id=id_), headers()).id == id_


def test_a_message_without_an_id_is_a_notification() -> None:
    """JSON-RPC 2.0 §4.1."""
    message = read("notifications/initialized", id=...)
    assert message.kind == "notification"
    assert message.id is None


@pytest.mark.parametrize(
    "members",
    [
        b'"id":1,"result":{}',
        b'"id":"a","result":{"content":[]}',
        b'"id":1,"error":{"code":-1,"message":"no"}',
        b'"id":null,"error":{"code":-32700,"message":"no"}',
        b'"error":{"code":-32700,"message":"no"}',
    ],
)
def test_answers_to_the_server_are_read_on_older_revisions(members: bytes) -> None:
    """MCP 2025-11-25: a client answers sampling, elicitation and roots by POST."""
    message = read_message(b'{"jsonrpc":"2.0",' + members + b"}", headers())
    assert message.kind == "response"
    assert message.method is None
    assert message.targets == ()


def test_the_client_says_who_it_is_in_initialize() -> None:
    """MCP 2025-11-25: `clientInfo` of `initialize`."""
    params = {"protocolVersion": "2025-11-25", "clientInfo": {"name": "inspector", "version": "2.12"}}
    assert read("initialize", params).client == ("inspector", "2.12")
    assert read("ping", params).client == (None, None)


def test_the_client_says_who_it_is_in_each_modern_request() -> None:
    """MCP 2026-07-28: per-request `_meta`."""
    params = modern_params()
    params["_meta"][META_CLIENT] = {"name": "claude", "version": "9"}
    found = [*headers(MODERN), (b"mcp-method", b"tools/list")]
    assert read_message(body("tools/list", params), found).client == ("claude", "9")


@pytest.mark.parametrize(
    "info", [None, [], "x", {"name": 1, "version": {}}, {"name": "x" * 300, "version": []}]
)
def test_a_client_that_describes_itself_oddly_is_nobody(info: object) -> None:
    """It decides nothing, so it is not worth a refusal."""
    assert read("initialize", {"clientInfo": info}).client == (None, None)


def test_mcp_remote_may_send_the_method_header_without_a_version() -> None:
    """mcp-remote 0.15 sends `Mcp-Method` with a 2025 `initialize` and no `MCP-Protocol-Version`."""
    message = read_message(body("initialize", {}), headers(None, mcp_method="initialize"))
    assert message.method == "initialize"


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON ; charset=UTF-8", 'application/json;charset="utf-8"'],
)
def test_json_in_utf_8_is_the_content_type(content_type: str) -> None:
    """RFC 8259 §8.1; RFC 9110 §8.3.1: names and the charset are case-insensitive."""
    assert read_message(body("ping"), [(b"Content-Type", content_type.encode())]).method == "ping"


@pytest.mark.parametrize("arguments", [{}, {"arguments": None}])
def test_a_call_needs_no_arguments(arguments: dict[str, Any]) -> None:
    """MCP tools: `arguments` is optional."""
    assert read("tools/call", {"name": "search", **arguments}).arguments is None


def test_parameters_are_optional() -> None:
    """JSON-RPC 2.0 §4.2."""
    assert read_message(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', [JSON_TYPE]).params == {}


def test_a_completion_reaches_for_what_its_reference_names() -> None:
    """MCP completion: `ref/prompt` and `ref/resource`, whose URI may be a template."""
    ref = {"type": "ref/resource", "uri": "file:///srv/{+path}"}
    assert read("completion/complete", {"ref": ref}).targets == (Target("resource", "file:///srv/{+path}"),)


@pytest.mark.parametrize(
    "wanted", [{}, {"toolsListChanged": True}, {"resourceSubscriptions": None}, {"resourceSubscriptions": []}]
)
def test_listening_for_list_changes_reaches_for_no_resource(wanted: dict[str, Any]) -> None:
    """MCP 2026-07-28: `subscriptions/listen`."""
    assert read("subscriptions/listen", {"notifications": wanted}, version=MODERN).targets == ()


@pytest.mark.parametrize("ids", [["one"], [], "one", {"one": True}])
def test_listening_to_tasks_reaches_for_what_asking_for_them_does(ids: object) -> None:
    """SEP-2663: a notification holds the whole task, its result included."""
    wanted = {"notifications": {"taskIds": ids, "resourceSubscriptions": ["file:///a"]}}
    assert read("subscriptions/listen", wanted, version=MODERN).targets == (
        Target("resource", "file:///a"),
        Target("method", "tasks/get"),
    )
    for spelling in ("task_ids", "TaskIds"):
        with pytest.raises(MessageRefused, match="another spelling"):
            read("subscriptions/listen", {"notifications": {spelling: ids}}, version=MODERN)


@pytest.mark.parametrize("asked", [["a"], [], {}, True, "a", "", 1, 0, 0.0])
def test_what_an_extension_lets_listen_to_needs_a_rule_of_its_own(asked: object) -> None:
    """MCP 2026-07-28, `SubscriptionFilter`: extensions add members, and nobody can tell what they bring."""
    wanted = {"toolsListChanged": True, "jobIds": asked, "otherIds": None, "more": False}
    assert read("subscriptions/listen", {"notifications": wanted}, version=MODERN).targets == (
        Target("method", "subscriptions/listen/jobIds"),
    )


@pytest.mark.parametrize("member", ["", "a b", "\n", "\u00fc", "x" * 65])
def test_such_a_member_has_a_name_for_a_rule(member: str) -> None:
    with pytest.raises(MessageRefused, match="short ASCII names"):
        read("subscriptions/listen", {"notifications": {member: ["a"]}}, version=MODERN)


@pytest.mark.parametrize(
    "name", ["search", "files.read", "a/b", "Werkzeug f\u00fcr alles", "\U0001f527", "=?base64?", "x" * 1024]
)
def test_a_name_may_be_any_text(name: str) -> None:
    """MCP tools: the characters of names are a SHOULD."""
    assert call(name).targets == (Target("tool", name),)
