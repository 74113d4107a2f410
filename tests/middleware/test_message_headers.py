"""Headers against body: MCP 2026-07-28, Streamable HTTP, "Request Metadata" and "Server Validation"."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from mcpauth_middleware.message import MessageRefused, Target, check_stream_request, read_message
from tests.middleware.gate_helpers import (
    JSON_TYPE,
    META_VERSION,
    MODERN,
    NOVEMBER,
    Headers,
    body,
    headers,
    modern_params,
)

MISMATCH, INVALID_PARAMS, INVALID_REQUEST = -32020, -32602, -32600


def modern_call(name: str, *more: tuple[bytes, bytes]) -> Target:
    """Send a modern call of `name`, with the required headers but `Mcp-Name`, and these."""
    found: Headers = [*headers(MODERN, mcp_method="tools/call"), *more]
    return read_message(body("tools/call", modern_params({"name": name})), found).targets[0]


def refusal(document: bytes, found: Headers) -> MessageRefused:
    with pytest.raises(MessageRefused) as refused:
        read_message(document, found)
    return refused.value


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", {"name": "search"}, "search"),
        ("prompts/get", {"name": "greet"}, "greet"),
        ("resources/read", {"uri": "file:///a"}, "file:///a"),
    ],
)
def test_a_modern_request_needs_every_header(method: str, params: dict[str, Any], name: str) -> None:
    """A required standard header is missing: 400, -32020."""
    document = body(method, modern_params(params))
    complete = headers(MODERN, mcp_method=method, mcp_name=name)
    assert read_message(document, complete).method == method
    for missing in (b"mcp-method", b"mcp-name"):
        refused = refusal(document, [header for header in complete if header[0] != missing])
        assert (refused.status, refused.code, refused.id) == (400, MISMATCH, 1)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("tools/list", "search"),
        ("Tools/Call", "search"),
        ("tools/call ", "search"),
        ("", "search"),
        ("tools/call", "other"),
        ("tools/call", "Search"),
        ("tools/call", "search "),
        ("tools/call", ""),
    ],
)
def test_a_modern_request_whose_headers_differ_is_refused(method: str, name: str) -> None:
    """A header value does not match the body: 400, -32020; values are case-sensitive."""
    document = body("tools/call", modern_params({"name": "search"}))
    refused = refusal(document, headers(MODERN, mcp_method=method, mcp_name=name))
    assert (refused.status, refused.code) == (400, MISMATCH)


def test_a_modern_request_whose_version_differs_is_refused() -> None:
    """`MCP-Protocol-Version` MUST match `_meta`."""
    document = body("tools/list", modern_params(version="2026-07-29"))
    assert refusal(document, headers(MODERN, mcp_method="tools/list")).code == MISMATCH


@pytest.mark.parametrize("params", [None, {}, {"_meta": {}}, {"_meta": {"progressToken": 1}}])
def test_a_modern_request_without_its_envelope_is_refused(params: dict[str, Any] | None) -> None:
    """MCP 2026-07-28: the per-request fields are required; -32602, as the SDK answers."""
    assert (
        refusal(body("tools/list", params), headers(MODERN, mcp_method="tools/list")).code == INVALID_PARAMS
    )


@pytest.mark.parametrize("version", [None, "2025-03-26", NOVEMBER])
def test_a_modern_body_under_an_older_header_is_refused(version: str | None) -> None:
    """The header alone chooses the era in the SDK: whoever judged by the body would judge another message."""
    assert refusal(body("tools/list", modern_params()), headers(version)).code == MISMATCH


@pytest.mark.parametrize(
    "more",
    [
        {"mcp_method": "tools/list"},
        {"mcp_method": "tools/call", "mcp_name": "other"},
        {"mcp_name": "other"},
    ],
)
def test_on_older_revisions_a_header_that_lies_is_refused(more: dict[str, str]) -> None:
    """A 2025 server ignores these headers, so something on the way may have routed by a lie."""
    refused = refusal(body("tools/call", {"name": "search"}), headers(NOVEMBER, **more))
    assert (refused.status, refused.code) == (400, MISMATCH)


@pytest.mark.parametrize("more", [{}, {"mcp_method": "tools/call"}, {"mcp_name": "search"}])
def test_on_older_revisions_a_header_that_agrees_or_is_absent_passes(more: dict[str, str]) -> None:
    """Clients that speak both eras send them with old requests too."""
    found = headers(NOVEMBER, **more)
    assert read_message(body("tools/call", {"name": "search"}), found).targets == (Target("tool", "search"),)


def test_the_name_header_says_nothing_about_methods_that_have_none() -> None:
    """Required For: tools/call, resources/read, prompts/get. Extensions use it for names of their own."""
    found = headers(MODERN, mcp_method="tools/list", mcp_name="whatever")
    assert read_message(body("tools/list", modern_params()), found).targets == ()


def test_a_modern_notification_needs_no_headers_but_may_not_lie() -> None:
    """Header requirements for notification POSTs are not defined by this revision."""
    document = body("notifications/cancelled", {"requestId": 1}, id=...)
    assert read_message(document, headers(MODERN)).kind == "notification"
    assert refusal(document, headers(MODERN, mcp_method="tools/call")).code == MISMATCH


@pytest.mark.parametrize(
    "name",
    ["search", "W\u00e9rkzeug", " padded ", "a\tb", "\U0001f527", "=?base64?c2VhcmNo?=", "=?base64?", "a?="],
)
def test_a_name_may_be_sent_in_base64(name: str) -> None:
    """Value Encoding: `=?base64?...?=` of the UTF-8 bytes."""
    encoded = b"=?base64?" + base64.b64encode(name.encode()) + b"?="
    if "\t" in name:
        # No tool is called so: names hold no control character. The header is not what refuses it.
        with pytest.raises(MessageRefused, match="control character"):
            modern_call(name, (b"mcp-name", encoded))
    else:
        assert modern_call(name, (b"mcp-name", encoded)) == Target("tool", name)


@pytest.mark.parametrize(
    "value",
    [
        b"=?base64?c2VhcmNo",  # no end: taken literally, so it differs
        b"=?BASE64?c2VhcmNo?=",  # the markers are case-sensitive
        b"=?base64??=",
        b"=?base64?c2VhcmNo=?=",  # too much padding
        b"=?base64?c2Vhcm No?=",
        b"=?base64?c2VhcmN?=",  # too little padding
        b"=?base64?c2VhcmNp?=",  # another name
        b"=?base64?/w==?=",  # not UTF-8
        b"=?base64?c2VhcmNo\xe9?=",
        b"search\x00",
        b"search\x7f",
        b"s\xe9arch",
        "s\u00e9arch".encode(),
    ],
)
def test_a_name_that_is_encoded_wrongly_is_refused(value: bytes) -> None:
    """A header value contains invalid characters: 400, -32020."""
    with pytest.raises(MessageRefused) as refused:
        modern_call("search", (b"mcp-name", value))
    assert refused.value.code == MISMATCH


def test_base64_with_unused_bits_set_is_refused() -> None:
    """RFC 4648 §3.5: two spellings of one value would pass two different comparisons."""
    assert modern_call("a", (b"mcp-name", b"=?base64?YQ==?=")) == Target("tool", "a")
    with pytest.raises(MessageRefused):
        modern_call("a", (b"mcp-name", b"=?base64?YR==?="))


@pytest.mark.parametrize(
    "name",
    [
        b"mcp-method",
        b"mcp-name",
        b"mcp-protocol-version",
        b"mcp-session-id",
        b"mcp-param-region",
        b"content-type",
    ],
)
@pytest.mark.parametrize("second", [b"same", b"other"])
def test_a_routing_header_that_is_there_twice_is_refused(name: bytes, second: bytes) -> None:
    """Readers of the first copy and of the last would disagree; the SDK sees it on modern requests only."""
    values = {b"content-type": b"application/json", b"mcp-protocol-version": NOVEMBER.encode()}
    first = values.get(name, b"ping" if name == b"mcp-method" else b"same")
    found: Headers = [*([] if name == b"content-type" else [JSON_TYPE]), (name, first)]
    assert read_message(body("ping"), found).method == "ping"
    refused = refusal(body("ping"), [*found, (name.title(), first if second == b"same" else second)])
    assert (refused.status, refused.code) == (400, MISMATCH)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/jsonp",
        "application/json-rpc",
        "application/x-www-form-urlencoded",
        "text/plain; application/json",
        "application/json; charset=utf-16",
        "application/json; charset=utf-7",
        'application/json; charset="utf-8"; charset=latin-1',
        "application/json, text/plain",
        "multipart/form-data",
    ],
)
def test_another_content_type_is_refused(content_type: str) -> None:
    """RFC 9110 §15.5.16: 415."""
    refused = refusal(body("ping"), [(b"content-type", content_type.encode())] if content_type else [])
    assert (refused.status, refused.code) == (415, INVALID_REQUEST)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "x"])
def test_a_compressed_message_is_refused(encoding: str) -> None:
    """RFC 9110 §8.4, §15.5.16: what an inner layer would decompress is not what was judged."""
    refused = refusal(body("ping"), [JSON_TYPE, (b"content-encoding", encoding.encode())])
    assert (refused.status, refused.code) == (415, INVALID_REQUEST)
    assert read_message(body("ping"), [JSON_TYPE, (b"content-encoding", b"Identity")]).method == "ping"


@pytest.mark.parametrize("version", ["x" * 65, "2025-11-25\x00", "2025-11-2\u00e9"])
def test_a_version_that_no_revision_could_have_is_refused(version: str) -> None:
    """It would end up in journals."""
    refused = refusal(body("ping"), [JSON_TYPE, (b"mcp-protocol-version", version.encode())])
    assert refused.code == MISMATCH


def test_the_headers_of_a_stream_are_checked_without_a_body() -> None:
    """GET and DELETE of the older revisions."""
    assert check_stream_request([(b"accept", b"text/event-stream")]) == "2025-03-26"
    assert (
        check_stream_request([(b"MCP-Protocol-Version", b"2025-06-18"), (b"mcp-session-id", b"s")])
        == "2025-06-18"
    )
    with pytest.raises(MessageRefused):
        check_stream_request([(b"mcp-session-id", b"one"), (b"Mcp-Session-Id", b"two")])


def test_other_headers_may_be_there_twice() -> None:
    """RFC 9110 §5.3: lists."""
    found = [*headers(), (b"accept", b"application/json"), (b"accept", b"text/event-stream")]
    assert read_message(body("ping"), found).method == "ping"


def test_the_version_of_an_initialize_may_differ_from_the_header() -> None:
    """`protocolVersion` of `initialize` is an offer, not a fact; `_meta` is one."""
    assert (
        read_message(body("initialize", {"protocolVersion": "2025-06-18"}), headers(NOVEMBER)).method
        == "initialize"
    )
    meta = {"_meta": {META_VERSION: "2025-06-18"}}
    assert refusal(body("initialize", meta), headers(NOVEMBER)).code == MISMATCH
