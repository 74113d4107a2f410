"""Reading a batch, JSON-RPC 2.0 §6: each member as strictly as alone, and the whole without ambiguity."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcpauth_middleware.message import MessageRefused, Target, is_batch, read_batch, read_message
from tests.middleware.gate_helpers import JSON_TYPE, REVISIONS, headers

MARCH = "2025-03-26"
CALL: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search"}}
PING: dict[str, Any] = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
READY: dict[str, Any] = {"jsonrpc": "2.0", "method": "notifications/initialized"}
RESPONSE: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "result": {}}


def batch(*members: object) -> bytes:
    return json.dumps(members).encode()


@pytest.mark.parametrize("version", [None, MARCH])
def test_a_batch_is_an_array_in_the_revision_that_has_batches(version: str | None) -> None:
    """MCP 2025-03-26, Batching: MUST support receiving; without the header it is that revision."""
    assert is_batch(b" \r\n\t[", headers(version))
    assert not is_batch(b"{}", headers(version))


@pytest.mark.parametrize("version", ["2024-11-05", *REVISIONS[1:], "2027-01-01"])
def test_every_other_revision_has_no_batches(version: str) -> None:
    """MCP 2025-06-18 removed them: the reader of single messages refuses the array."""
    assert not is_batch(batch(PING), headers(version))
    with pytest.raises(MessageRefused) as raised:
        read_message(batch(PING), headers(version, mcp_method="ping"))
    assert (raised.value.status, raised.value.code) == (400, -32600)


def test_each_member_is_read_as_if_it_came_alone() -> None:
    """Kind, targets and arguments of its own."""
    call, ping, ready = read_batch(batch(CALL, PING, READY), headers(None))
    assert call.message is not None
    assert call.message.targets == (Target("tool", "search"),)
    assert ping.message is not None
    assert (ping.message.kind, ping.message.id) == ("request", 2)
    assert ready.message is not None
    assert ready.message.kind == "notification"


def test_a_members_bytes_are_what_was_judged_written_again() -> None:
    """So that the server behind reads the very message the gate has read."""
    numbers = [1e22, -0.0, 0.1, 2**80, 1.5e-7]
    text = '\u00e9 \U0001f600 " \\ \u2028'
    sent = {**CALL, "params": {"name": "search", "arguments": {"n": numbers, "t": text}}}
    (member,) = read_batch(b" \n" + batch(sent), headers(None))
    assert json.loads(member.body) == sent
    again = read_message(member.body, headers(None))
    assert again == member.message


@pytest.mark.parametrize(
    ("member", "id_"),
    [
        (1, None),
        (None, None),
        ([PING], None),
        ({}, None),
        ({**PING, "jsonrpc": "1.0"}, None),
        ({**PING, "id": None}, None),
        ({**PING, "Method": "tools/call"}, None),
        ({**CALL, "id": 7, "params": {}}, 7),
        ({**CALL, "id": 7, "params": {"name": "a", "Name": "b"}}, 7),
        ({"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "a"}}, None),
    ],
)
def test_a_wrong_member_is_refused_by_itself(member: object, id_: int | None) -> None:
    """JSON-RPC 2.0 §6: the others are answered."""
    good, wrong = read_batch(batch(PING, member), headers(MARCH))
    assert good.message is not None
    assert wrong.message is None
    assert wrong.refused is not None
    assert wrong.refused.id == id_
    assert wrong.refused.code in (-32600, -32602)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[]", -32600),
        (b"[", -32700),
        (b'[{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}]', -32700),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":NaN}}]', -32700),
        (batch(PING, {"jsonrpc": "2.0", "id": 5, "method": "initialize", "params": {}}), -32600),
        (batch(PING, PING), -32600),
        (batch(PING, {**PING, "id": "2"}), -32600),
        (batch(RESPONSE, READY), -32600),
        (batch(*({**PING, "id": number} for number in range(21))), -32600),
    ],
    ids=[
        "empty",
        "not JSON",
        "duplicate keys",
        "NaN",
        "initialize",
        "one id twice",
        "one id as number and text",
        "responses with others",
        "too many",
    ],
)
def test_a_batch_that_is_wrong_as_a_whole_is_refused_as_a_whole(body: bytes, code: int) -> None:
    """Lifecycle: `initialize` MUST NOT be part of a batch; Transports: responses come by themselves."""
    with pytest.raises(MessageRefused) as raised:
        read_batch(body, headers(MARCH))
    assert (raised.value.code, raised.value.status) == (code, 400)


@pytest.mark.parametrize("name", ["mcp_method", "mcp_name", "mcp_param_region"])
def test_a_header_cannot_speak_for_a_batch(name: str) -> None:
    """Somebody on the way may believe it, and it can be true of one member at most."""
    with pytest.raises(MessageRefused) as raised:
        read_batch(batch(PING), headers(MARCH, **{name: "ping"}))
    assert raised.value.code == -32020


def test_the_content_type_is_asked_of_a_batch_too() -> None:
    """415."""
    with pytest.raises(MessageRefused) as raised:
        read_batch(batch(PING), [(b"content-type", b"text/plain")])
    assert raised.value.status == 415


def test_a_repeated_routing_header_leaves_a_batch_to_the_reader_that_refuses_it() -> None:
    """Which of two versions counts differs from server to server."""
    twice = [JSON_TYPE, (b"mcp-protocol-version", MARCH.encode()), (b"mcp-protocol-version", b"2026-07-28")]
    assert not is_batch(batch(PING), twice)
    with pytest.raises(MessageRefused):
        read_message(batch(PING), twice)


def test_the_number_of_members_is_an_option() -> None:
    """And a batch of exactly that many passes."""
    members = [{**PING, "id": number} for number in range(3)]
    assert len(read_batch(batch(*members), headers(None), limit=3)) == 3
    with pytest.raises(MessageRefused):
        read_batch(batch(*members), headers(None), limit=2)
