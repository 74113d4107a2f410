"""The audit journal: one JSON object a line, numbered without gaps, in a file that only this process writes.

Lines are written by one thread, so that a slow disk holds up the calls that wait for their record and
nothing else. An event counts as recorded once the operating system has it: it survives the end of the
process, not of the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import secrets
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from mcpauth_middleware.audit.journal_file import JournalError, JournalFile, LineFile, StandardOutput
from mcpauth_middleware.audit.sink import line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._file: LineFile = StandardOutput() if path == "-" else JournalFile(os.fspath(path))
        self._now = now
        self._token_bytes = token_bytes
        self._process = os.getpid()
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._is_closed = False

    async def record(self, event: Mapping[str, Any]) -> None:
        """Write the event, and return when it is written.

        Raises:
            OSError: it could not be written, as on a full disk. The journal goes on with the next event.
            TypeError, ValueError: it holds what JSON does not.
        """
        if self._is_closed:
            raise JournalError("the journal is closed")
        if os.getpid() != self._process:
            # The lock and the numbers belong to the parent.
            raise JournalError("the journal was opened before this process forked; open one in each worker")
        self._start()
        loop = asyncio.get_running_loop()
        entry = _Entry(event, loop, loop.create_future())
        self._queue.put(entry)
        await entry.written

    async def aclose(self) -> None:
        """Write what is still waiting, and close the file."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._writer is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._writer.join)
        self._file.close()

    def _start(self) -> None:
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_all, name="mcpauth-audit", daemon=True)
            self._writer.start()

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
            result = (entry.written, self._try_to_write(entry.event))
            results.setdefault(entry.loop, []).append(result)
        for loop, settled in results.items():
            # The loop may be gone by now, and nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, settled)

    def _try_to_write(self, event: Mapping[str, Any]) -> Exception | None:
        try:
            self._write(event)
        except Exception as error:  # noqa: BLE001 (raised where the event is waited for)
            return error
        return None

    def _write(self, event: Mapping[str, Any]) -> None:
        now = self._now()
        seq = self._file.last_seq + 1
        numbered = {"id": _event_id(now, self._token_bytes(10)), "seq": seq, "ts": _timestamp(now)}
        others = {key: value for key, value in event.items() if key not in numbered}
        self._file.append(line({**numbered, **others}).encode() + b"\n")
        # Only now: a line that was not written leaves no gap.
        self._file.last_seq = seq


@dataclass(frozen=True, slots=True)
class _Entry:
    event: Mapping[str, Any]
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


def _event_id(now: float, random: bytes) -> str:
    """A UUID of version 7 (RFC 9562 §5.7): ids sort by time."""
    value = int(now * 1000) << 80 | int.from_bytes(random)
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


def _timestamp(now: float) -> str:
    """The moment in RFC 3339, UTC, with milliseconds."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
