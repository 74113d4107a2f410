"""List results on their way out: what may not be used is not seen, and everything else keeps its bytes."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpauth_middleware.message import ListFilter, Target, list_item_target
from mcpauth_middleware.message.events import EventSplitter, event_data
from tests.middleware.gate_helpers import chunked

if TYPE_CHECKING:
    from mcpauth_middleware.message.target import ListKind

pytestmark = pytest.mark.anyio

JSON_HEADERS = [(b"content-type", b"application/json")]
SSE_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
]


@dataclass
class Client:
    """What reached the client."""

    messages: list[MutableMapping[str, Any]] = field(default_factory=list[MutableMapping[str, Any]])

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])

    @property
    def is_complete(self) -> bool:
        return not self.messages[-1].get("more_body", False)


def visible(kind: ListKind, item: Mapping[str, Any]) -> bool:
    target = list_item_target(kind, item)
    return target is not None and "secret" not in target.name


async def exchange(
    chunks: list[bytes],
    *,
    headers: list[tuple[bytes, bytes]],
    lists: ListKind | None = "tools",
    stream: bool = False,
    status: int = 200,
    max_bytes: int = 1 << 20,
) -> Client:
    """Send a response through the filter."""
    client = Client()
    send = ListFilter(client, visible=visible, lists=lists, stream=stream, request_id=7, max_bytes=max_bytes)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for number, chunk in enumerate(chunks, start=1):
        await send({"type": "http.response.body", "body": chunk, "more_body": number < len(chunks)})
    return client


def result(kind: str = "tools", names: tuple[str, ...] = ("open", "secret"), **members: object) -> bytes:
    key = {"resources": "uri", "resourceTemplates": "uriTemplate"}.get(kind, "name")
    entries = [{key: name, "title": name.upper()} for name in names]
    return json.dumps({"jsonrpc": "2.0", "id": 7, "result": {kind: entries, **members}}).encode()


def event(data: bytes, *, id: bytes = b"1") -> bytes:  # noqa: A002
    return b"id: " + id + b"\r\nevent: message\r\nretry: 100\r\ndata: " + data + b"\r\n\r\n"


def in_parts(body: bytes, size: int) -> list[bytes]:
    return chunked(body, range(0, len(body), size))


ERROR = {
    "jsonrpc": "2.0",
    "id": 7,
    "error": {"code": -32603, "message": "The list could not be filtered for this caller"},
}


@pytest.mark.parametrize("kind", ["tools", "prompts", "resources", "resourceTemplates"])
async def test_an_entry_that_may_not_be_used_is_not_listed(kind: ListKind) -> None:
    """Filtered by the same decision as its use; the length is that of what is sent."""
    document = result(kind, nextCursor="more", ttlMs=5, cacheScope="public", _meta={"a": 1})
    client = await exchange(
        [document], lists=kind, headers=[*JSON_HEADERS, (b"content-length", b"%d" % len(document))]
    )
    shown = json.loads(client.body)["result"]
    assert [next(iter(entry.values())) for entry in shown[kind]] == ["open"]
    assert shown["nextCursor"] == "more"
    assert shown["cacheScope"] == "private"
    assert (shown["ttlMs"], shown["_meta"]) == (5, {"a": 1})
    assert client.headers[b"content-length"] == b"%d" % len(client.body)
    assert client.headers[b"content-type"] == b"application/json"


async def test_a_list_in_which_everything_may_be_used_keeps_its_bytes() -> None:
    """Nothing is rewritten that need not be."""
    document = (
        b'{ "jsonrpc":"2.0", "id":7,\n "result":{"tools":[{"name":"open","x":1.10}],"cacheScope":"private"} }'
    )
    client = await exchange(
        chunked(document, [5, 50]), headers=[*JSON_HEADERS, (b"content-length", b"93"), (b"etag", b"x")]
    )
    assert client.body == document
    assert client.headers[b"content-length"] == b"93"
    assert client.headers[b"etag"] == b"x"


async def test_a_whole_list_for_one_principal_is_not_cached_for_another() -> None:
    """MCP 2026-07-28, `CacheableResult`: the next principal may see less."""
    client = await exchange([result(names=("open",), ttlMs=9, cacheScope="public")], headers=JSON_HEADERS)
    assert json.loads(client.body)["result"]["cacheScope"] == "private"
    client = await exchange([result(names=("open",), ttlMs=9)], headers=JSON_HEADERS)
    assert json.loads(client.body)["result"]["cacheScope"] == "private"


@pytest.mark.parametrize(
    "entry", [{}, {"name": 1}, {"name": None}, {"title": "open"}, "open", None, ["open"]]
)
async def test_an_entry_without_a_name_is_hidden(entry: object) -> None:
    """Nobody can have allowed it."""
    document = json.dumps(
        {"jsonrpc": "2.0", "id": 7, "result": {"tools": [entry, {"name": "open"}]}}
    ).encode()
    client = await exchange([document], headers=JSON_HEADERS)
    assert json.loads(client.body)["result"]["tools"] == [{"name": "open"}]


@pytest.mark.parametrize(
    "document",
    [
        b'{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"Method not found"}}',
        b'{"jsonrpc":"2.0","id":7,"result":{}}',
        b'{"jsonrpc":"2.0","id":7,"result":{"tools":null}}',
        b'{"jsonrpc":"2.0","id":7,"result":{"tools":[]}}',
        b'{"jsonrpc":"2.0","id":7,"result":[{"name":"x"}]}',
        b"[1]",
        b"",
    ],
)
async def test_an_answer_that_is_no_list_passes(document: bytes) -> None:
    """Errors are the application's own."""
    client = await exchange([document], headers=JSON_HEADERS)
    assert client.body == document


async def test_a_batch_of_answers_is_filtered_too() -> None:
    """MCP 2025-03-26 lets a server answer with a batch."""
    client = await exchange([b"[" + result() + b"," + result("prompts") + b"]"], headers=JSON_HEADERS)
    assert b"secret" not in client.body


async def test_only_the_list_s_own_event_of_a_stream_is_changed() -> None:
    """`id:`, `retry:`, comments, notifications and pings keep their bytes."""
    note = event(b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"secret"}}', id=b"1")
    ping = b": ping\r\n\r\n"
    client = await exchange(
        [note + ping + event(result(), id=b"2")], headers=[*SSE_HEADERS, (b"content-length", b"9")]
    )
    head, changed = client.body[: len(note + ping)], client.body[len(note + ping) :]
    assert head == note + ping
    assert changed.startswith(b"id: 2\r\nevent: message\r\nretry: 100\r\ndata: {")
    assert changed.endswith(b"\r\n\r\n")
    assert b"secret" not in changed
    assert b"content-length" not in client.headers
    assert client.headers[b"cache-control"] == b"no-cache, no-transform"


@given(cuts=st.lists(st.integers(0, 500), max_size=8), end=st.sampled_from([b"\n", b"\r", b"\r\n"]))
def test_a_filtered_stream_is_the_same_however_it_is_cut(cuts: list[int], end: bytes) -> None:
    """Events split over any chunk borders."""
    stream = (b": hi\n\nid: 1\nevent: message\ndata: " + result() + b"\n\ndata: {}\n\n").replace(b"\n", end)

    async def run() -> None:
        whole = await exchange([stream], headers=SSE_HEADERS)
        parts = await exchange(chunked(stream, cuts), headers=SSE_HEADERS)
        assert parts.body == whole.body
        assert b"secret" not in parts.body
        assert parts.is_complete

    anyio.run(run)


async def test_an_event_is_passed_on_as_soon_as_it_is_whole() -> None:
    """A stream is never buffered whole."""
    client = Client()
    send = ListFilter(client, visible=visible, lists="tools", stream=False)
    await send({"type": "http.response.start", "status": 200, "headers": SSE_HEADERS})
    assert client.status == 200
    await send({"type": "http.response.body", "body": b": ping\n\ndata: {", "more_body": True})
    assert client.body == b": ping\n\n"
    await send({"type": "http.response.body", "body": b"}\n", "more_body": True})
    assert len(client.messages) == 2
    await send({"type": "http.response.body", "body": b"\n", "more_body": True})
    assert client.body == b": ping\n\ndata: {}\n\n"
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    assert client.is_complete


async def test_a_list_in_an_event_that_was_never_ended_is_filtered_too() -> None:
    """The standard drops it, but not every client does."""
    client = await exchange([b"data: " + result() + b"\n"], headers=SSE_HEADERS)
    assert b"secret" not in client.body


async def test_a_list_over_several_data_lines_is_filtered() -> None:
    """The lines of one event are joined with newlines."""
    spread = b"\n".join(
        b"data: " + line for line in json.dumps(json.loads(result()), indent=1).encode().splitlines()
    )
    client = await exchange([b"id: 1\n" + spread + b"\n\n"], headers=SSE_HEADERS)
    assert client.body.startswith(b"id: 1\ndata: {")
    assert b"secret" not in client.body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("headers", [JSON_HEADERS, SSE_HEADERS])
async def test_a_response_that_is_no_list_keeps_its_bytes(
    headers: list[tuple[bytes, bytes]], *, stream: bool
) -> None:
    """Where no list was asked for, neither duplicate keys nor what is no JSON is the filter's matter."""
    body = b'data: {"id": 7, "result": {"content": [], "content": [NaN]}}\n\n: ping\n\nid: 4\ndata:\n\nrest'
    client = await exchange(in_parts(body, 11), headers=headers, lists=None, stream=stream)
    assert client.body == body
    assert client.is_complete


@pytest.mark.parametrize("kind", ["tools", "prompts", "resources", "resourceTemplates"])
@pytest.mark.parametrize("headers", [JSON_HEADERS, SSE_HEADERS])
async def test_a_list_that_nobody_asked_for_is_filtered(
    kind: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """A server sends an answer to whichever request has its id."""
    escaped = result(kind).replace(f'"{kind}"'.encode(), f'"\\u{ord(kind[0]):04x}{kind[1:]}"'.encode())
    for listed in (result(kind), escaped):
        body = listed if headers is JSON_HEADERS else event(listed)
        client = await exchange([body], headers=headers, lists=None)
        assert b"open" in client.body
        assert b"secret" not in client.body


async def test_a_list_that_nobody_asked_for_is_withheld_where_it_cannot_be_read() -> None:
    """Compressed, with more than one reading, or in another encoding, which some JSON parsers guess."""
    gzipped = [*JSON_HEADERS, (b"content-encoding", b"gzip")]
    twice = result().replace(b'"id": 7', b'"id": 7, "id": 7')
    wide = result().decode().encode("utf-16-le")
    for headers, body in ((gzipped, gzip.compress(result())), (JSON_HEADERS, twice), (JSON_HEADERS, wide)):
        client = await exchange([body], headers=headers, lists=None)
        assert json.loads(client.body) == ERROR


async def test_an_old_stream_may_replay_a_list_and_it_is_filtered_by_shape() -> None:
    """MCP 2025-11-25, Resumability: the event store holds what was sent before filtering."""
    other = event(b'{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"text","text":"secret"}]}}', id=b"1")
    request = event(b'{"jsonrpc":"2.0","id":"s","method":"roots/list"}', id=b"2")
    priming = b"id: 0\r\ndata: \r\n\r\n"
    replayed = b"".join(
        event(result(kind), id=b"9") for kind in ("tools", "prompts", "resources", "resourceTemplates")
    )
    client = await exchange(
        [priming + other + request + replayed], headers=SSE_HEADERS, lists=None, stream=True
    )
    untouched = priming + other + request
    assert client.body.startswith(untouched)
    assert b"secret" not in client.body[len(untouched) :]
    assert client.body.count(b"id: 9\r\n") == 4


async def test_a_stream_passes_what_a_strict_parser_would_refuse_if_no_list_can_be_in_it() -> None:
    """A tool's deep result on a long stream is none of the filter's business."""
    deep = event(b'{"jsonrpc":"2.0","id":3,"result":{"structuredContent":' + b"[" * 80 + b"]" * 80 + b"}}")
    client = await exchange([deep], headers=SSE_HEADERS, lists=None, stream=True)
    assert client.body == deep


UNREADABLE = {
    "broken JSON": b'{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"secret"}]',
    "no JSON": b"secret tools",
    "UTF-16": result().decode().encode("utf-16"),
    "the list twice": b'{"id":7,"result":{"tools":[{"name":"secret"}],"tools":[]}}',
    "the result twice": b'{"id":7,"result":{"tools":[{"name":"secret"}]},"result":{}}',
    "NaN": b'{"id":7,"result":{"tools":[{"name":"secret","x":NaN}]}}',
    "too deep": b'{"id":7,"result":{"tools":[{"name":"secret","x":' + b"[" * 80 + b"]" * 80 + b"}]}}",
}


@pytest.mark.parametrize("document", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_a_list_that_cannot_be_read_is_withheld(
    document: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Never passed on unfiltered: a client may be able to read what the filter is not."""
    with caplog.at_level(logging.WARNING):
        client = await exchange(chunked(document, [9]), headers=JSON_HEADERS)
    assert (client.status, json.loads(client.body)) == (200, ERROR)
    assert client.headers[b"content-length"] == b"%d" % len(client.body)
    assert "withheld" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("document", [data for name, data in UNREADABLE.items() if name != "UTF-16"])
async def test_an_event_that_cannot_be_read_is_withheld_and_the_stream_goes_on(document: bytes) -> None:
    """On the stream of a POST the error answers the request; on an old stream it is emptied."""
    stream = event(document, id=b"5") + event(b'{"jsonrpc":"2.0","method":"notifications/x"}', id=b"6")
    client = await exchange([stream], headers=SSE_HEADERS)
    assert b"secret" not in client.body
    assert json.dumps(ERROR).encode() in client.body
    assert b"id: 5\r\n" in client.body
    assert b"notifications/x" in client.body
    if b'"tools"' in document:
        client = await exchange([stream], headers=SSE_HEADERS, lists=None, stream=True)
        assert b"secret" not in client.body
        assert b"id: 5\r\nevent: message\r\nretry: 100\r\ndata: \r\n\r\n" in client.body
        assert b"notifications/x" in client.body


@pytest.mark.parametrize("headers", [JSON_HEADERS, SSE_HEADERS])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_compressed_response_is_withheld(headers: list[tuple[bytes, bytes]], stream: bool) -> None:
    """RFC 9110 §8.4: it cannot be read here, but at the client it can."""
    client = await exchange(
        [gzip.compress(result()), b"more"],
        headers=[*headers, (b"content-encoding", b"gzip")],
        lists=None if stream else "tools",
        stream=stream,
    )
    assert client.status == (502 if stream else 200)
    assert json.loads(client.body)["error"] == ERROR["error"]
    assert b"content-encoding" not in client.headers
    assert client.is_complete


async def test_a_second_encoding_header_does_not_hide_the_first() -> None:
    """RFC 9110 §5.3: the copies of a list header are one list."""
    twice = [*JSON_HEADERS, (b"content-encoding", b"identity"), (b"Content-Encoding", b"br")]
    assert json.loads((await exchange([result()], headers=twice)).body) == ERROR


@pytest.mark.parametrize("content_type", [b"text/plain", b"application/octet-stream", b""])
async def test_a_list_of_another_content_type_is_read_as_json_or_withheld(content_type: bytes) -> None:
    """What a client makes of the type is its own affair."""
    headers = [(b"content-type", content_type)] if content_type else []
    assert b"secret" not in (await exchange([result()], headers=headers)).body
    assert json.loads((await exchange([b"secret"], headers=headers)).body) == ERROR


@pytest.mark.parametrize("status", [202, 400, 401, 404, 429, 500])
async def test_an_http_error_passes_untouched(status: int) -> None:
    """A result is in a success only; the text of an error is the application's."""
    body = b"" if status == 202 else b"not json"
    client = await exchange([body], headers=[(b"content-type", b"text/plain")], status=status)
    assert (client.status, client.body) == (status, body)


async def test_a_document_over_the_limit_is_withheld() -> None:
    """Memory is bounded whatever the application sends."""
    client = await exchange([b"x" * 600, b"x" * 600, b"x"], headers=JSON_HEADERS, max_bytes=1000)
    assert json.loads(client.body) == ERROR
    assert client.is_complete


async def test_an_event_over_the_limit_ends_the_answer_to_a_list_request() -> None:
    """Neither passed on nor kept; what comes after it is not sent either."""
    client = await exchange(
        [b": ping\n\n", b"data: " + b"x" * 2000, event(result())], headers=SSE_HEADERS, max_bytes=1000
    )
    assert client.body.startswith(b": ping\n\n")
    assert b"xxx" not in client.body
    assert b"open" not in client.body
    assert json.dumps(ERROR).encode() in client.body
    assert client.is_complete


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("size", [1, 7, 900, 5000])
async def test_a_large_event_that_is_no_list_passes_in_parts(size: int, *, stream: bool) -> None:
    """Nobody waits for its end; those around it are read as ever."""
    large = event(b'{"jsonrpc":"2.0","id":7,"result":{"content":"' + b"x" * 3000 + b'"}}')
    chunks = in_parts(event(result()) + large + event(result()), size)
    client = await exchange(chunks, headers=SSE_HEADERS, lists=None, stream=stream, max_bytes=1000)
    assert large in client.body
    assert client.body.count(b"open") == 2
    assert b"secret" not in client.body
    assert client.is_complete
    # So much is ever held: the limit, one more chunk, and an event beside it.
    held = 1000 + size + len(event(result()))
    assert max(len(message["body"]) for message in client.messages[1:]) <= held


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("size", [1, 7, 900, 5000])
async def test_a_large_event_ends_where_a_list_shows_in_it(size: int, *, stream: bool) -> None:
    """Before the first of its entries; what comes after it is not sent either."""
    late = b'{"id":7,"jsonrpc":"2.0","_meta":"' + b"x" * 3000 + b'","result":{"tools":[{"name":"open"}]}}'
    chunks = in_parts(event(late) + event(b"{}"), size)
    client = await exchange(chunks, headers=SSE_HEADERS, lists=None, stream=stream, max_bytes=1000)
    assert b"open" not in client.body
    assert b"{}" not in client.body
    assert client.is_complete
    # For the call that waits, the error is an event of its own.
    data = [event_data(each) for each in EventSplitter().feed(client.body)]
    assert stream or json.loads(data[-1] or b"") == ERROR


@pytest.mark.parametrize("size", [1, 7, 900, 5000])
async def test_a_large_document_passes_until_a_list_shows_in_it(size: int) -> None:
    """As events do."""
    plain = b'{"jsonrpc":"2.0","id":7,"result":{"content":"' + b"x" * 3000 + b'"}}'
    late = b'{"id":7,"jsonrpc":"2.0","_meta":"' + b"x" * 3000 + b'","result":{"tools":[{"name":"open"}]}}'
    passed, cut = [
        await exchange(
            in_parts(body, size),
            headers=[*JSON_HEADERS, (b"content-length", b"%d" % len(body))],
            lists=None,
            max_bytes=1000,
        )
        for body in (plain, late)
    ]
    # A server would fail on a body that is shorter than announced.
    assert cut.headers.get(b"content-length") in (None, b"%d" % len(cut.body))
    assert passed.body == plain
    assert b"open" not in cut.body
    assert passed.is_complete
    assert cut.is_complete


async def test_a_file_sent_past_the_body_is_withheld() -> None:
    """ASGI extension "path send": the server would read the list from disk."""
    client = Client()
    send = ListFilter(client, visible=visible, lists="tools", stream=False, request_id=7)
    await send({"type": "http.response.start", "status": 200, "headers": JSON_HEADERS})
    await send({"type": "http.response.pathsend", "path": "/srv/tools.json"})
    assert json.loads(client.body) == ERROR


def test_an_entry_stands_for_the_target_of_its_use() -> None:
    """`sees` and `decide` speak of the same names."""
    assert list_item_target("tools", {"name": "a", "title": "b"}) == Target("tool", "a")
    assert list_item_target("prompts", {"name": "a"}) == Target("prompt", "a")
    assert list_item_target("resources", {"uri": "file:///a", "name": "b"}) == Target("resource", "file:///a")
    assert list_item_target("resourceTemplates", {"uriTemplate": "file:///{a}"}) == Target(
        "resource", "file:///{a}"
    )
    assert list_item_target("resources", {"name": "b"}) is None
