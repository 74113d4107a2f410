"""Server-sent events, WHATWG HTML: split anywhere, joined again to the same bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpauth_middleware.message.events import EventSplitter, EventTooLargeError, event_data, with_event_data
from tests.middleware.gate_helpers import chunked

LINES = st.sampled_from(
    [
        b"data: x",
        b"data:x",
        b"data",
        b"data:",
        b"data:  two",
        b"id: 7",
        b"event: message",
        b"retry: 10",
        b": ping",
        b"other: y",
        b"",
        b"\xef\xbb\xbfdata: marked",
        b"datax: no",
        b"DATA: no",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
STREAMS = st.lists(st.tuples(LINES, ENDS), max_size=20).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


def split(chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    splitter = EventSplitter()
    events = [event for chunk in chunks for event in splitter.feed(chunk)]
    return events, splitter.rest()


def reference(stream: bytes) -> list[bytes]:
    """The data of each event, as the standard's own algorithm dispatches it, line by line."""
    dispatched: list[bytes] = []
    data: list[bytes] = []
    for line in stream.splitlines():
        if line == b"":
            if data:
                dispatched.append(b"\n".join(data))
            data = []
        elif line.removeprefix(b"\xef\xbb\xbf").split(b":")[0] == b"data":
            data.append(line.partition(b":")[2].removeprefix(b" "))
    return dispatched


@given(STREAMS, st.lists(st.integers(0, 400), max_size=10))
def test_any_chunking_gives_the_same_bytes_and_the_same_data(stream: bytes, cuts: list[int]) -> None:
    """Servers and proxies cut streams where they like, also within a CRLF."""
    events, rest = split(chunked(stream, cuts))
    assert b"".join(events) + rest == stream
    assert [data for event in events if (data := event_data(event)) is not None] == reference(stream)


@given(STREAMS)
def test_byte_by_byte_is_the_same_as_whole(stream: bytes) -> None:
    """The extreme chunking, which meets every border."""
    one_by_one, rest = split([bytes([byte]) for byte in stream])
    whole, whole_rest = split([stream])
    assert [event_data(event) for event in one_by_one if event_data(event)] == [
        event_data(event) for event in whole if event_data(event)
    ]
    assert b"".join(one_by_one) + rest == b"".join(whole) + whole_rest == stream


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_is_given_out_with_its_last_byte_and_not_later(end: bytes) -> None:
    """A client waits for it: nothing may wait for the next event to see where this one ends."""
    splitter = EventSplitter()
    assert splitter.feed(b"data: a" + end) == []
    assert splitter.feed(end) == [b"data: a" + end + end]


def test_a_carriage_return_at_the_end_of_a_chunk_may_have_its_line_feed_in_the_next() -> None:
    """CRLF is one line end."""
    events, rest = split([b"data: a\r", b"\ndata: b\r\n\r", b"\ndata: c\r\n\r\n"])
    assert [event_data(event) for event in events] == [b"a\nb", b"c"]
    assert rest == b""


def test_new_data_takes_the_place_of_all_data_lines_and_of_nothing_else() -> None:
    """`id:` is what a client resumes from, `retry:` how long it waits."""
    event = b": c\r\nid: 7\r\nevent: message\r\ndata: one\r\nretry: 5\r\ndata: two\r\nx: y\r\n\r\n"
    changed = with_event_data(event, b"{}")
    assert changed == b": c\r\nid: 7\r\nevent: message\r\nretry: 5\r\ndata: {}\r\nx: y\r\n\r\n"
    assert event_data(changed) == b"{}"


@given(STREAMS)
def test_the_new_data_is_what_a_client_reads(stream: bytes) -> None:
    """Whatever the event looked like."""
    for event in split([stream])[0]:
        if event_data(event) is not None:
            assert reference(with_event_data(event, b'{"a":1}')) == [b'{"a":1}']


def test_an_event_without_data_has_none() -> None:
    """A priming event has empty data, a comment has none."""
    assert event_data(b": ping\n\n") is None
    assert event_data(b"id: 1\ndata:\n\n") == b""
    assert event_data(b"data: a\n") == b"a"


@pytest.mark.parametrize("chunk", [1, 10, 1000])
def test_an_event_over_the_limit_is_an_error_and_is_not_kept(chunk: int) -> None:
    """Memory is bounded whatever the application sends."""
    splitter = EventSplitter(max_bytes=100)
    stream = b"data: " + b"x" * 500 + b"\n\n"
    chunks = [stream[start : start + chunk] for start in range(0, len(stream), chunk)]
    with pytest.raises(EventTooLargeError):
        list(map(splitter.feed, chunks))


def test_many_events_under_the_limit_pass_in_one_chunk() -> None:
    """The limit is for an event, not for a chunk."""
    splitter = EventSplitter(max_bytes=100)
    assert len(splitter.feed(b"data: x\n\n" * 1000)) == 1000


def test_a_large_event_in_small_chunks_is_searched_once() -> None:
    """8 MiB in 8 KiB chunks: searching from the start each time would take minutes."""
    splitter = EventSplitter()
    for _ in range(1024):
        assert splitter.feed(b"x" * 8192) == []
    assert len(splitter.feed(b"\n\n")) == 1
