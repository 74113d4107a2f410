"""The one writer of a SQLite file: whatever has come together is one transaction, and one wait for the disk.

The statements of a transaction take microseconds each and are run where they arise, in the event loop's
thread; a thread does what waits for the disk, the commit. Every change has its own result all the same, and
gets it only after the commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

from mcpauth.oauth.store import StoreUnavailable
from mcpauth.stores.sqlite_file import is_busy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

MAX_BATCH = 64
"""So few that their statements hold up nobody else in the event loop."""
BUSY_PAUSE_SECONDS = 0.005
SWEEP_SECONDS = 60
SWEEP_ROWS = 500
SWEEP = """
DELETE FROM records WHERE (kind, key) IN
(SELECT kind, key FROM records WHERE expires_at <= :now LIMIT :rows)
"""

Rows: TypeAlias = list[Any]
Parameters: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Done:
    """What a statement did: rows changed, and rows returned."""

    changed: int
    rows: Rows


@dataclass(frozen=True, slots=True)
class _Job:
    statement: str
    parameters: Parameters
    future: asyncio.Future[_Done]


class SqliteWriter:
    """Runs single statements, each atomic, for the event loop in which it is made. Takes the connection over.

    The connection must not wait for locks itself: the event loop would wait with it. `busy_seconds` is how
    long a transaction is put off while another process is writing.
    """

    def __init__(
        self, connection: sqlite3.Connection, now: Callable[[], float], *, busy_seconds: float
    ) -> None:
        self._connection = connection
        self._now = now
        self._busy_seconds = busy_seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Job] = []
        self._is_at_work = False
        self._is_closed = False
        self._idle: asyncio.Future[None] | None = None
        self._swept_at = now()
        self._commits: SimpleQueue[tuple[list[_Job], list[_Done | Exception]] | None] = SimpleQueue()
        # A daemon: what was answered is on the disk, so an abrupt end of the process loses nothing.
        self._thread = threading.Thread(target=self._run, name="mcpauth-sqlite-writer", daemon=True)
        self._thread.start()

    async def changes(self, statement: str, parameters: Parameters) -> bool:
        """Whether the statement changed a row."""
        return (await self._submit(statement, parameters)).changed > 0

    async def rows(self, statement: str, parameters: Parameters) -> Rows:
        """The rows that the statement returned."""
        return (await self._submit(statement, parameters)).rows

    async def aclose(self) -> None:
        """Finish what has been submitted, and close the connection."""
        if not self._is_closed:
            self._is_closed = True
            if self._is_at_work:
                self._idle = self._loop.create_future()
                await self._idle
            self._commits.put(None)
        await asyncio.to_thread(self._thread.join)

    def _submit(self, statement: str, parameters: Parameters) -> asyncio.Future[_Done]:
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        future: asyncio.Future[_Done] = self._loop.create_future()
        self._waiting.append(_Job(statement, parameters, future))
        if not self._is_at_work:
            self._is_at_work = True
            # Not at once: what else this turn of the event loop has to write comes along.
            self._loop.call_soon(self._begin, time.monotonic() + self._busy_seconds)
        return future

    def _begin(self, deadline: float) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if is_busy(error) and time.monotonic() < deadline:
                self._loop.call_later(BUSY_PAUSE_SECONDS, self._begin, deadline)
            else:
                batch = self._next_batch()
                self._finish(batch, [_unavailable(error)] * len(batch))
            return
        batch = self._next_batch()
        try:
            results = [self._result(job) for job in batch]
        except sqlite3.Error as error:
            self._roll_back()
            self._finish(batch, [_unavailable(error)] * len(batch))
        else:
            self._commits.put((batch, results))

    def _next_batch(self) -> list[_Job]:
        batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        return batch

    def _result(self, job: _Job) -> _Done | Exception:
        try:
            cursor = self._connection.execute(job.statement, job.parameters)
            rows = cursor.fetchall()
            return _Done(cursor.rowcount, rows)
        except sqlite3.Error as error:
            if not self._connection.in_transaction:
                raise  # SQLite has rolled everything back (disk full, I/O error).
            return _unavailable(error)
        except Exception as error:  # noqa: BLE001 - a value that SQLite cannot take is its caller's, not the batch's
            return error

    def _finish(self, batch: Sequence[_Job], results: Sequence[_Done | Exception]) -> None:
        self._tell(batch, results)
        self._go_on()

    def _tell(self, batch: Sequence[_Job], results: Sequence[_Done | Exception]) -> None:
        for job, result in zip(batch, results, strict=True):
            if job.future.done():
                continue  # whoever waited gave up
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)

    def _go_on(self) -> None:
        """The connection is free."""
        if self._waiting:
            self._loop.call_soon(self._begin, time.monotonic() + self._busy_seconds)
            return
        self._is_at_work = False
        if self._idle is not None:
            self._idle.set_result(None)

    # From here on in the writer's thread, which has the connection while it commits.

    def _run(self) -> None:
        while (work := self._commits.get()) is not None:
            batch, results = work
            results = self._commit(results)
            if self._now() - self._swept_at < SWEEP_SECONDS:
                self._call(self._finish, batch, results)
            else:
                self._call(self._tell, batch, results)
                self._sweep()
                self._call(self._go_on)
        self._connection.close()

    def _call(self, callback: Callable[..., None], *arguments: object) -> None:
        # Nobody may be left to be told: the event loop has ended.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _commit(self, results: list[_Done | Exception]) -> list[_Done | Exception]:
        """The results; when the transaction as a whole fails, each is the same failure."""
        try:
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - every caller is told, and the writer has to live on
            self._roll_back()
            return [_unavailable(error)] * len(results)
        return results

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.rollback()

    def _sweep(self) -> None:
        """Remove expired rows, a few at a time; they were invisible already."""
        now = self._now()
        removed = 0
        try:
            removed = self._connection.execute(SWEEP, {"now": now, "rows": SWEEP_ROWS}).rowcount
        except sqlite3.Error:
            logger.warning("expired rows could not be removed", exc_info=True)
        if removed < SWEEP_ROWS:
            self._swept_at = now


def _unavailable(error: Exception) -> StoreUnavailable:
    unavailable = StoreUnavailable(f"the SQLite file could not be written: {error}")
    unavailable.__cause__ = error
    return unavailable
