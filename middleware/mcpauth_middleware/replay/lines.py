"""The lines of a file, none of which is longer than memory has room for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

MAX_LINE_BYTES: Final = 4 * 1024 * 1024
"""Many times the longest event, and as much as the journal itself looks through for its last one."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line, and where it stands."""

    file: str
    number: int
    """From 1 on."""
    text: bytes | None
    """None: it is longer than `MAX_LINE_BYTES`."""

    def __str__(self) -> str:
        return f"{self.file} line {self.number}"


def lines_of(name: str, file: IO[bytes]) -> Iterator[Line]:
    """The lines of a file. Only a line feed ends one, as only that ends an event."""
    for number in count(1):
        text = file.readline(MAX_LINE_BYTES + 1)
        if not text:
            return
        is_long = len(text) > MAX_LINE_BYTES
        yield Line(name, number, None if is_long else text)
        while is_long and text and not text.endswith(b"\n"):
            text = file.readline(MAX_LINE_BYTES)
