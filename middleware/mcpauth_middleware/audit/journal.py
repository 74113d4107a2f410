"""The audit journal: one JSON object a line, numbered without gaps, in a file that only this process writes.

An event counts as recorded once the operating system has it: it survives the end of the process, not of the
machine. Taking a line is a matter of microseconds for a file, far less than handing it to a thread, so it is
written where it arises. Where writing may take its time, one thread does it, and only those wait that wait
for their record: standard output, a file while another thread writes to it, and a file whose disk was slow a
moment ago.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mcpauth_middleware.audit.journal_file import JournalError, JournalFile, LineFile, StandardOutput
from mcpauth_middleware.audit.sink import KEPT
from mcpauth_middleware.audit.text import members_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

SLOW_SECONDS: Final = 0.1
"""A write that takes longer holds up more than the call it is about."""
PATIENCE_SECONDS: Final = 10.0
"""So long after a slow write lines go through the thread."""

_NUMBERED: Final = frozenset({"id", "seq", "ts"})
"""What the journal says itself, whatever an event says of it."""
PARTS_AT_ONCE: Final = 64
"""Ids for so many events are drawn together: asking the system for each costs more than writing it down."""
_PART_BYTES: Final = 10
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 0x3] for digit in "0123456789abcdef"}
"""The two bits of the variant in place of a hexadecimal digit's upper two."""
_Result: TypeAlias = "tuple[asyncio.Future[None], Exception | None]"


class AuditJournal:
    """Appends events to `path`, or to standard output for "-", adding `id`, `seq` and `ts`.

    Raises:
        JournalError: the path is a link, no regular file, open to others, in use, or holds something else.
        OSError: it cannot be opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        now: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = os.urandom,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file: LineFile = StandardOutput() if path == "-" else JournalFile(os.fspath(path))
        self._now = now
        self._token_bytes = token_bytes
        self._monotonic = monotonic
        self._writing = threading.Lock()
        """Held while a line gets its number and is written."""
        self._inline_from = -inf if self._file.is_prompt else inf
        """When lines may be written where they arise, by `monotonic`."""
        self._random_parts: list[str] = []
        self._process = _process
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._is_closed = False

    def record(self, event: Mapping[str, Any]) -> Awaitable[None]:
        """Write the event now (`KEPT`), or when what this returns is awaited.

        Raises:
            OSError: it could not be written, as on a full disk. The journal goes on with the next event.
            TypeError, ValueError: it holds what JSON does not.
        """
        if not _NUMBERED.isdisjoint(event):
            event = {name: value for name, value in event.items() if name not in _NUMBERED}
        return self.record_text(members_of(event))

    def record_text(self, members: str) -> Awaitable[None]:
        """The same for an event that is JSON already, but for the braces around it and its number.

        Raises:
            OSError: it could not be written.
        """
        if self._is_closed:
            raise JournalError("the journal is closed")
        if self._process is not _process:
            # The lock and the numbers belong to the parent.
            raise JournalError("the journal was opened before this process forked; open one in each worker")
        started = self._monotonic()
        if started < self._inline_from or not self._writing.acquire(False):  # noqa: FBT003 (a keyword costs)
            return self._record_in_thread(members)
        try:
            self._write(members)
        finally:
            self._writing.release()
            ended = self._monotonic()
            if ended - started > SLOW_SECONDS:
                self._inline_from = ended + PATIENCE_SECONDS
        return KEPT

    async def aclose(self) -> None:
        """Write what is still waiting, and close the file."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._writer is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._writer.join)
        with self._writing:
            self._file.close()

    async def _record_in_thread(self, members: str) -> None:
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_all, name="mcpauth-audit", daemon=True)
            self._writer.start()
        loop = asyncio.get_running_loop()
        entry = _Entry(members, loop, loop.create_future())
        self._queue.put(entry)
        await entry.written

    def _write_all(self) -> None:
        is_last = False
        while not is_last:
            entries, is_last = self._next_batch()
            self._write_batch(entries)

    def _next_batch(self) -> tuple[list[_Entry], bool]:
        """Wait for an entry and take those behind it; None, which comes last of all, ends the journal."""
        entries: list[_Entry] = []
        while not entries or not self._queue.empty():
            entry = self._queue.get()
            if entry is None:
                return entries, True
            entries.append(entry)
        return entries, False

    def _write_batch(self, entries: list[_Entry]) -> None:
        # Waking a loop costs more than writing a line, so all that waited together are woken together.
        results: dict[asyncio.AbstractEventLoop, list[_Result]] = {}
        for entry in entries:
            result = (entry.written, self._try_to_write(entry.members))
            results.setdefault(entry.loop, []).append(result)
        for loop, settled in results.items():
            # The loop may be gone by now, and nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, settled)

    def _try_to_write(self, members: str) -> Exception | None:
        try:
            with self._writing:
                self._write(members)
        except Exception as error:  # noqa: BLE001 (raised where the event is waited for)
            return error
        return None

    def _write(self, members: str) -> None:
        if not self._random_parts:
            self._random_parts = _random_parts(self._token_bytes(PARTS_AT_ONCE * _PART_BYTES))
        file, (begun, moment) = self._file, _moment(int(self._now() * 1000))
        seq, random, comma = file.last_seq + 1, self._random_parts.pop(), "," if members else ""
        line = f'{{"id":"{begun}{random}","seq":{seq},"ts":"{moment}"{comma}{members}}}\n'
        file.append(line.encode("ascii"))
        # Only now: a line that was not written leaves no gap.
        file.last_seq = seq


def _after_fork() -> None:
    global _process
    _process = object()


_process = object()
"""Another one in each process."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True, slots=True)
class _Entry:
    members: str
    loop: asyncio.AbstractEventLoop
    written: asyncio.Future[None]


def _settle(results: list[_Result]) -> None:
    for written, error in results:
        if written.done():
            continue  # whoever waited was cancelled
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)


@lru_cache(4)
def _moment(milliseconds: int) -> tuple[str, str]:
    """How the ids of a moment begin, and the moment in RFC 3339, UTC. A call is often over within it."""
    time = f"{milliseconds:012x}"
    second, millisecond = divmod(milliseconds, 1000)
    return f"{time[:8]}-{time[8:]}-7", f"{_second(second)}.{millisecond:03d}Z"


def _random_parts(random: bytes) -> list[str]:
    """How UUIDs of version 7 end (RFC 9562 §5.7), after the moment by which they sort."""
    parts = [random[start : start + _PART_BYTES].hex() for start in range(0, len(random), _PART_BYTES)]
    return [f"{part[1:4]}-{_VARIANT[part[4]]}{part[5:8]}-{part[8:]}" for part in parts]


@lru_cache(4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
