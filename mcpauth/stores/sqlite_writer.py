"""The one writer of a SQLite file: a thread that commits whatever has queued up as one transaction.

A commit waits for the disk, so one for many changes is what makes durable writing fast. Every change has its
own result all the same, and gets it only after the commit.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

from mcpauth.oauth.store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

MAX_BATCH = 256
SWEEP_SECONDS = 60
SWEEP_ROWS = 500
SWEEP = """
DELETE FROM records WHERE (kind, key) IN
(SELECT kind, key FROM records WHERE expires_at <= :now LIMIT :rows)
"""

Rows: TypeAlias = list[Any]


@dataclass(frozen=True, slots=True)
class _Done:
    """What a statement did: rows changed, and rows returned."""

    changed: int
    rows: Rows


@dataclass(frozen=True, slots=True)
class _Job:
    statement: str
    parameters: dict[str, Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[_Done]


class SqliteWriter:
    """Runs single statements, each atomic. Takes the connection over."""

    def __init__(self, connection: sqlite3.Connection, now: Callable[[], float]) -> None:
        self._connection = connection
        self._now = now
        self._swept_at = now()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        # A daemon: what was answered is on the disk, so an abrupt end of the process loses nothing.
        self._thread = threading.Thread(target=self._run, name="mcpauth-sqlite-writer", daemon=True)
        self._thread.start()

    async def changes(self, statement: str, parameters: dict[str, Any]) -> bool:
        """Whether the statement changed a row."""
        return (await self._submit(statement, parameters)).changed > 0

    async def rows(self, statement: str, parameters: dict[str, Any]) -> Rows:
        """The rows that the statement returned."""
        return (await self._submit(statement, parameters)).rows

    async def aclose(self) -> None:
        """Finish what is queued, and close the connection."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    async def _submit(self, statement: str, parameters: dict[str, Any]) -> _Done:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        loop = asyncio.get_running_loop()
        job = _Job(statement, parameters, loop, loop.create_future())
        self._queue.put(job)
        return await job.future

    # From here on in the writer's thread.

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch, going_on = self._next_batch()
            if batch:
                _deliver(batch, self._commit(batch))
            self._sweep()
        self._connection.close()

    def _next_batch(self) -> tuple[list[_Job], bool]:
        """Wait for a job and take all that came with it; False when there will be no more."""
        batch: list[_Job] = []
        while not batch or (len(batch) < MAX_BATCH and not self._queue.empty()):
            job = self._queue.get()
            if job is None:
                return batch, False
            batch.append(job)
        return batch, True

    def _commit(self, batch: Sequence[_Job]) -> Sequence[_Done | Exception]:
        """The results, in order. When the transaction as a whole fails, each is the same failure."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [self._result(job) for job in batch]
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - every caller is told, and the writer has to live on
            self._roll_back()
            return [_unavailable(error) for _ in batch]
        return results

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

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.rollback()

    def _sweep(self) -> None:
        """Remove expired rows, now and then and a few at a time; they were invisible already."""
        now = self._now()
        if now - self._swept_at < SWEEP_SECONDS:
            return
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


def _deliver(batch: Sequence[_Job], results: Sequence[_Done | Exception]) -> None:
    """Wake each event loop once, with all that is for it."""
    for loop in {job.loop for job in batch}:
        answers = [
            (job.future, result) for job, result in zip(batch, results, strict=True) if job.loop is loop
        ]
        try:
            loop.call_soon_threadsafe(_set, answers)
        except RuntimeError:
            logger.debug("nobody waits for these results any more")


def _set(answers: Sequence[tuple[asyncio.Future[_Done], _Done | Exception]]) -> None:
    for future, result in answers:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
