"""The hostile corpus: messages that two readers would read differently are refused, and never a crash."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import SubscriptionsListenRequestParams

from mcpauth_middleware.message import MessageRefused, read_message
from tests.middleware.gate_helpers import JSON_TYPE, MODERN, body, headers, modern_params

PARSE, REQUEST, PARAMS = -32700, -32600, -32602
CALL = b'"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}'

ENVELOPES = {
    "nothing": (b"", PARSE),
    "no JSON": (b"<xml/>", PARSE),
    "UTF-16": (body("ping").decode().encode("utf-16"), PARSE),
    "a byte order mark": (b"\xef\xbb\xbf" + body("ping"), PARSE),
    "the method twice": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}', PARSE),
    "the method twice, escaped": (
        rb'{"jsonrpc":"2.0","id":1,"method":"ping","\u006dethod":"tools/call"}',
        PARSE,
    ),
    "the name twice": (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}',
        PARSE,
    ),
    "the parameters twice": (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"params":{}}',
        PARSE,
    ),
    "NaN in the arguments": (b"{" + CALL[:-1] + b',"arguments":{"limit":NaN}}}', PARSE),
    "a huge number": (b"{" + CALL[:-1] + b',"arguments":{"limit":1e400}}}', PARAMS),
    "a deep argument": (
        b"{" + CALL[:-1] + b',"arguments":' + b'{"a":' * 70 + b"1" + b"}" * 71 + b"}",
        PARAMS,
    ),
    "a lone surrogate": (
        rb'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\ud800"}}',
        PARSE,
    ),
    "a batch": (b"[{" + CALL + b"}]", REQUEST),
    "an empty batch": (b"[]", REQUEST),
    "a string": (b'"ping"', REQUEST),
    "a number": (b"1", REQUEST),
    "null": (b"null", REQUEST),
    "no version": (b'{"id":1,"method":"ping"}', REQUEST),
    "another version": (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', REQUEST),
    "a number for a version": (b'{"jsonrpc":2.0,"id":1,"method":"ping"}', REQUEST),
    "neither method nor answer": (b'{"jsonrpc":"2.0","id":1}', REQUEST),
    "result and error": (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', REQUEST),
    "method and result": (b"{" + CALL + b',"result":{}}', REQUEST),
    "method and error": (b"{" + CALL + b',"error":null}', REQUEST),
    "a null method beside a result": (b'{"jsonrpc":"2.0","id":1,"method":null,"result":{}}', REQUEST),
    "a result for nobody": (b'{"jsonrpc":"2.0","result":{}}', REQUEST),
    "a result for null": (b'{"jsonrpc":"2.0","id":null,"result":{}}', REQUEST),
    "a list for a method": (b'{"jsonrpc":"2.0","id":1,"method":["tools/call"]}', REQUEST),
    "an empty method": (b'{"jsonrpc":"2.0","id":1,"method":""}', REQUEST),
    "a method with a space": (b'{"jsonrpc":"2.0","id":1,"method":"tools/call "}', REQUEST),
    "a method with a newline": (b'{"jsonrpc":"2.0","id":1,"method":"tools/call\\n"}', REQUEST),
    "a method with a NUL": (b'{"jsonrpc":"2.0","id":1,"method":"tools/call\\u0000"}', REQUEST),
    "a fullwidth method": ('{"jsonrpc":"2.0","id":1,"method":"tools\uff0fcall"}'.encode(), REQUEST),
    "a very long method": (body("m" * 257), REQUEST),
    "parameters as a list": (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["a"]}', PARAMS),
    "null parameters": (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":null}', PARAMS),
    "parameters as a string": (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"a"}', PARAMS),
    "_meta as a list": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":[]}}', PARAMS),
}


@pytest.mark.parametrize(("document", "code"), ENVELOPES.values(), ids=ENVELOPES.keys())
def test_an_envelope_with_two_readings_is_refused(document: bytes, code: int) -> None:
    """JSON-RPC 2.0 §4 to §6: 400, and the codes of §5.1."""
    with pytest.raises(MessageRefused) as refused:
        read_message(document, [JSON_TYPE])
    assert (refused.value.status, refused.value.code) == (400, code)


@pytest.mark.parametrize("id_", [None, True, False, 1.0, 1.5, [], {}, [1], {"a": 1}, "x" * 257])
def test_an_id_that_is_no_id_is_refused(id_: object) -> None:
    """JSON-RPC 2.0 §4: a string or a number; MCP: no null; a fraction SHOULD NOT be."""
    with pytest.raises(MessageRefused) as refused:
        read_message(body("ping", id=id_), [JSON_TYPE])
    assert refused.value.code == REQUEST
    assert refused.value.id is None


SPELLINGS: dict[str, dict[str, Any]] = {
    "Method": {"Method": "tools/list"},
    "METHOD": {"METHOD": "tools/list"},
    "Params": {"Params": {"name": "b"}},
    "PARAMS": {"PARAMS": {"name": "b"}},
    "method_": {"method_": "tools/list"},
    "fullwidth method": {"\uff4dethod": "tools/list"},
    "params with a long s": {"param\u017f": {"name": "b"}},
    "ID": {"ID": 2},
    "Id": {"Id": 2},
    "JSONRPC": {"JSONRPC": "2.0"},
    "Result": {"Result": {}},
    "Error": {"Error": {}},
}


@pytest.mark.parametrize("extra", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_second_spelling_of_an_envelope_member_is_refused(extra: dict[str, Any]) -> None:
    """Go's encoding/json matches keys without regard to case, U+017F and U+212A included."""
    with pytest.raises(MessageRefused) as refused:
        read_message(body("tools/call", {"name": "a"}, **extra), [JSON_TYPE])
    assert refused.value.code == REQUEST


@pytest.mark.parametrize(
    "key",
    ["Name", "NAME", "name_", "_name", "n\uff41me", "URI", "Uri", "Arguments", "_Meta", "meta", "_META"],
)
def test_a_second_spelling_of_a_routing_parameter_is_refused(key: str) -> None:
    """The same readers, one level down."""
    with pytest.raises(MessageRefused) as refused:
        read_message(body("tools/call", {"name": "a", key: "b"}), [JSON_TYPE])
    assert (refused.value.code, refused.value.id) == (REQUEST, 1)


@pytest.mark.parametrize("where", ["envelope", "parameters"])
def test_a_name_that_takes_long_to_normalize_is_refused(where: str) -> None:
    """Unicode's canonical ordering: the marks of a name of four megabytes would be sorted for hours."""
    name = "a" + "\u0300\u0316" * 1_000_000
    message = (
        body("tools/call", {"name": "a"}, **{name: 1})
        if where == "envelope"
        else body("tools/call", {"name": "a", name: 1})
    )
    with pytest.raises(MessageRefused, match="a name of more than 64 characters") as refused:
        read_message(message, [JSON_TYPE])
    assert (refused.value.status, refused.value.code) == (400, REQUEST)


def test_long_names_in_ascii_and_short_ones_of_other_scripts_pass() -> None:
    """Nobody takes them for a name of the protocol."""
    read = read_message(
        body("tools/call", {"name": "a", "x" * 1000: 1, "имя": 2, "e\u0301" * 32: 3}), [JSON_TYPE]
    )
    assert len(read.params) == 4


def test_a_hundred_thousand_members_are_not_looked_at_one_by_one() -> None:
    """Each name is normalized."""
    with pytest.raises(MessageRefused, match="more than 1000 members"):
        read_message(body("tools/call", {"name": "a", **dict.fromkeys(map(str, range(1000)))}), [JSON_TYPE])
    read = read_message(
        body("tools/call", {"name": "a", "arguments": dict.fromkeys(map(str, range(2000)))}), [JSON_TYPE]
    )
    assert len(read.arguments or {}) == 2000


def test_the_sdk_s_own_names_cannot_smuggle_a_subscription() -> None:
    """The SDK for Python accepts the snake_case name of a member, which a gate may miss."""
    smuggled = {"notifications": {"resource_subscriptions": ["file:///etc/passwd"]}}
    read_by_the_sdk = SubscriptionsListenRequestParams.model_validate(smuggled)
    assert read_by_the_sdk.notifications.resource_subscriptions == ["file:///etc/passwd"]
    with pytest.raises(MessageRefused):
        read_message(
            body("subscriptions/listen", modern_params(smuggled)),
            headers(MODERN, mcp_method="subscriptions/listen"),
        )


def test_a_thousand_subscriptions_are_not_a_thousand_long_ones() -> None:
    """Each is decided on its own, by every rule about it."""
    asked = {
        "notifications": {
            "resourceSubscriptions": [f"file:///{number}/" + "a/" * 200 for number in range(1000)]
        }
    }
    with pytest.raises(MessageRefused, match="characters of subscriptions"):
        read_message(
            body("subscriptions/listen", modern_params(asked)),
            headers(MODERN, mcp_method="subscriptions/listen"),
        )


@pytest.mark.parametrize("ref", [{"Name": "b"}, {"Type": "ref/resource"}, {"URI": "file:///b"}])
def test_a_second_spelling_inside_of_a_reference_is_refused(ref: dict[str, str]) -> None:
    """The target of `completion/complete` is in there."""
    params = {"ref": {"type": "ref/prompt", "name": "a", **ref}}
    with pytest.raises(MessageRefused):
        read_message(body("completion/complete", params), [JSON_TYPE])


TARGETLESS: list[tuple[str, Any]] = [
    ("tools/call", {}),
    ("tools/call", {"name": None}),
    ("tools/call", {"name": ""}),
    ("tools/call", {"name": 1}),
    ("tools/call", {"name": ["search"]}),
    ("tools/call", {"name": {"search": 1}}),
    ("tools/call", {"name": "a\u0000"}),
    ("tools/call", {"name": "a\nb"}),
    ("tools/call", {"name": "a\u0085"}),
    ("tools/call", {"name": "x" * 1025}),
    ("tools/call", {"name": "a", "arguments": []}),
    ("tools/call", {"name": "a", "arguments": "{}"}),
    ("prompts/get", {}),
    ("prompts/get", {"name": False}),
    ("prompts/get", {"name": "a", "arguments": 1}),
    ("resources/read", {}),
    ("resources/read", {"name": "file:///a"}),
    ("resources/read", {"uri": ["file:///a"]}),
    ("resources/read", {"uri": ""}),
    ("resources/read", {"uri": "file:///srv/../etc"}),
    ("resources/read", {"uri": "file:///" + "x" * 9000}),
    ("resources/subscribe", {"uri": None}),
    ("resources/unsubscribe", {}),
    ("completion/complete", {}),
    ("completion/complete", {"ref": "greet"}),
    ("completion/complete", {"ref": {"name": "greet"}}),
    ("completion/complete", {"ref": {"type": "ref/tool", "name": "greet"}}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "uri": "file:///a"}}),
    ("completion/complete", {"ref": {"type": "ref/resource", "name": "greet"}}),
    ("completion/complete", {"ref": {"type": ["ref/prompt"], "name": "greet"}}),
    ("subscriptions/listen", {}),
    ("subscriptions/listen", {"notifications": []}),
    ("subscriptions/listen", {"notifications": {"resourceSubscriptions": "file:///a"}}),
    ("subscriptions/listen", {"notifications": {"resourceSubscriptions": {"file:///a": True}}}),
    ("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["file:///a", 1]}}),
    (
        "subscriptions/listen",
        {"notifications": {"resourceSubscriptions": [f"file:///{n}" for n in range(1001)]}},
    ),
]


@pytest.mark.parametrize(("method", "params"), TARGETLESS)
def test_a_target_that_is_missing_or_no_text_is_refused(method: str, params: dict[str, Any]) -> None:
    """A decision needs the one thing it is about; the server's own conversion of types must not choose it."""
    with pytest.raises(MessageRefused) as refused:
        read_message(body(method, params), [JSON_TYPE])
    assert (refused.value.status, refused.value.code, refused.value.id) == (400, PARAMS, 1)


@pytest.mark.parametrize(
    "method", ["tools/call", "resources/read", "initialize", "tools/list", "subscriptions/listen"]
)
def test_a_request_without_an_id_is_refused(method: str) -> None:
    """A server may run it all the same, and nobody would see the refusal of a notification."""
    with pytest.raises(MessageRefused) as refused:
        read_message(body(method, {"name": "a", "uri": "file:///a"}, id=...), [JSON_TYPE])
    assert refused.value.code == REQUEST


def test_a_notification_with_an_id_is_refused() -> None:
    """JSON-RPC 2.0 §4.1."""
    with pytest.raises(MessageRefused):
        read_message(body("notifications/cancelled", {"requestId": 1}, id=1), [JSON_TYPE])


def test_a_modern_client_has_nothing_to_answer() -> None:
    """MCP 2026-07-28, Sending Messages: the client MUST NOT send responses."""
    with pytest.raises(MessageRefused) as refused:
        read_message(b'{"jsonrpc":"2.0","id":1,"result":{}}', headers(MODERN))
    assert refused.value.code == REQUEST


def test_a_refusal_holds_nothing_of_the_message() -> None:
    """It is sent, logged and audited."""
    canary = "canary-1f0c"
    for document, found in [
        (body("tools/call", {"name": canary + "\n"}), [JSON_TYPE]),
        (body("tools/call", {"name": canary, "Name": canary}), [JSON_TYPE]),
        (body(canary + " "), [JSON_TYPE]),
        (body("resources/read", {"uri": f"file:///../{canary}"}), [JSON_TYPE]),
        (f'{{"{canary}":1,"{canary}":2}}'.encode(), [JSON_TYPE]),
        (body("ping"), [(b"content-type", canary.encode())]),
        (body("ping"), headers(mcp_method=canary)),
    ]:
        with pytest.raises(MessageRefused) as refused:
            read_message(document, found)
        assert canary not in refused.value.message
        assert canary not in str(refused.value)


HOSTILE_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["2.0", "tools/call", "resources/read", "ref/prompt", "file:///a", MODERN]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "jsonrpc",
                    "id",
                    "method",
                    "params",
                    "result",
                    "error",
                    "name",
                    "uri",
                    "arguments",
                    "ref",
                    "type",
                    "notifications",
                    "resourceSubscriptions",
                    "_meta",
                    "clientInfo",
                    "io.modelcontextprotocol/protocolVersion",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


@given(
    HOSTILE_JSON,
    st.lists(
        st.tuples(
            st.sampled_from(
                [b"mcp-method", b"mcp-name", b"mcp-protocol-version", b"content-type", b"mcp-session-id"]
            ),
            st.binary(max_size=8) | st.sampled_from([MODERN.encode(), b"application/json", b"=?base64?!?="]),
        ),
        max_size=5,
    ),
)
def test_whatever_comes_is_read_or_refused(value: object, found: list[tuple[bytes, bytes]]) -> None:
    """Hostile input never gives another exception, and a refusal is always a client error."""
    with_type = found if any(name == b"content-type" for name, _ in found) else [*found, JSON_TYPE]
    if isinstance(value, dict):
        value = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", **cast("dict[str, Any]", value)}
    message, status = None, 400
    try:
        message = read_message(json.dumps(value).encode(), with_type)
    except MessageRefused as refused:
        status = refused.status
    assert 400 <= status < 500
    if message is not None and message.method == "tools/call":
        assert len(message.targets) == 1
