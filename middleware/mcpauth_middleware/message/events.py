"""Server-sent events (WHATWG HTML, "Server-sent events"), split without being changed.

An event is kept as the bytes it came in, blank line included, so that joining all events gives the
stream again: `id:`, `retry:`, `event:`, comments and each line's own ending survive, also those this
module does not know.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_EVENT_BYTES = 16 * 1024 * 1024

# A line ends with CRLF, LF or CR; an event ends where a line end follows a line end. The first must not
# take the CR of a CRLF for a line end of its own.
EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventPieces:
    """Cuts a stream into whole events, and one that is larger than `max_bytes` into what has come of it.

    So no more than that, and a chunk, is ever held.
    """

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._is_within = False

    def feed(self, chunk: bytes) -> list[Piece]:
        """Take the next bytes and return what is complete, or too large to wait for."""
        # What was searched before holds no end, except that its last line end may be the first half of one.
        position = max(0, len(self._buffer) - 2)
        self._buffer += chunk
        pieces: list[Piece] = []
        while (end := EVENT_END.search(self._buffer, position)) is not None:
            pieces.append(self._cut(end.end(), ends_event=True))
            position = 0
        # The last bytes may be the first half of what ends the event.
        if (self._is_within or len(self._buffer) > self._max_bytes) and len(self._buffer) > 2:
            pieces.append(self._cut(len(self._buffer) - 2, ends_event=False))
        return pieces

    def rest(self) -> Piece:
        """Return what no blank line has ended."""
        return self._cut(len(self._buffer), ends_event=True)

    def _cut(self, end: int, *, ends_event: bool) -> Piece:
        is_whole = not self._is_within and ends_event and end <= self._max_bytes
        self._is_within = not ends_event
        piece = Piece(bytes(self._buffer[:end]), is_whole=is_whole)
        del self._buffer[:end]
        return piece


class Piece(NamedTuple):
    """An event, or where it is not whole, a part of one."""

    text: bytes
    is_whole: bool


class EventTooLargeError(Exception):
    """An event is larger than its reader is ready to hold."""


class EventSplitter:
    """Cuts a stream, fed in chunks of any size, into whole events."""

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._pieces = EventPieces(max_bytes)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes and return the events they complete.

        Raises:
            EventTooLargeError: an event, whole or not, is larger than `max_bytes`.
        """
        return [_whole(piece) for piece in self._pieces.feed(chunk)]

    def rest(self) -> bytes:
        """Return what no blank line has ended; clients that follow the standard ignore it, some do not.

        Raises:
            EventTooLargeError: it is larger than `max_bytes`.
        """
        return _whole(self._pieces.rest())


def _whole(piece: Piece) -> bytes:
    if not piece.is_whole:
        raise EventTooLargeError
    return piece.text


def event_data(event: bytes) -> bytes | None:
    """The `data` of an event, its lines joined; None when it has none, as a comment or a bare `retry:`."""
    lines = [value for line in event.splitlines() if (value := _data_value(line)) is not None]
    return b"\n".join(lines) if lines else None


def with_event_data(event: bytes, data: bytes) -> bytes:
    """The same event with `data`, which is one line, in place of its own."""
    kept: list[bytes] = []
    placed = False
    # From the end: in the place of the last data line the new one is followed by what that was followed
    # by. In an earlier place, a CR before a removed line could meet the LF of a blank line and become
    # one line end.
    for line in reversed(event.splitlines(keepends=True)):
        text = line.rstrip(b"\r\n")
        if _data_value(text) is None:
            kept.append(line)
        elif not placed:
            kept.append(b"data: " + data + line[len(text) :])
            placed = True
    return b"".join(reversed(kept))


def _data_value(line: bytes) -> bytes | None:
    name, _, value = line.removeprefix(_BYTE_ORDER_MARK).partition(b":")
    return value.removeprefix(b" ") if name == b"data" else None
