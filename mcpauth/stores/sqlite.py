"""A store in one SQLite file: durable, without a server, and shared by several processes of one machine.

Write-ahead logging lets readers and the one writer work at the same time. Every change goes through
`SqliteWriter` and is one SQL statement, so that SQLite itself decides who of two callers was first, within a
process and between processes.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from mcpauth.oauth.store import Record, Records, StoreUnavailable, from_json, to_json
from mcpauth.stores.sqlite_file import connect, is_busy
from mcpauth.stores.sqlite_writer import BUSY_PAUSE_SECONDS, Parameters, Rows, SqliteWriter

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

DEFAULT_BUSY = timedelta(seconds=5)
PAGE_ROWS = 500
"""So few that reading them holds up nobody else in the event loop."""

ADD = """
INSERT INTO records (kind, key, owner, record, expires_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (kind, key) DO UPDATE
SET owner = excluded.owner, record = excluded.record, expires_at = excluded.expires_at
WHERE records.expires_at <= ?
"""
GET = """
SELECT record FROM records
WHERE kind = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)
"""
TAKE = """
DELETE FROM records
WHERE kind = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)
RETURNING record
"""
REPLACE = """
UPDATE records SET record = ?, expires_at = coalesce(?, expires_at)
WHERE kind = ? AND key = ? AND record = ? AND (expires_at IS NULL OR expires_at > ?)
"""
LIST = """
SELECT key, record FROM records
WHERE kind = ? AND key >= ? AND (expires_at IS NULL OR expires_at > ?)
ORDER BY key LIMIT ?
"""
LIST_OWNER = """
SELECT key, record FROM records
WHERE kind = ? AND owner = ? AND (expires_at IS NULL OR expires_at > ?)
ORDER BY key
"""


class SqliteStore:
    """Records in a file, for one event loop. Made by `open`."""

    def __init__(
        self,
        reader: sqlite3.Connection,
        writer: SqliteWriter,
        now: Callable[[], float] = time.time,
        *,
        busy_seconds: float = DEFAULT_BUSY.total_seconds(),
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._now = now
        self._busy_seconds = busy_seconds

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        now: Callable[[], float] = time.time,
        *,
        busy_timeout: timedelta = DEFAULT_BUSY,
    ) -> SqliteStore:
        """Open the file, and make it (mode 0600: it holds the signing keys) when it is not there.

        `busy_timeout` is how long a change waits for another process that is writing. A reader waits for
        nobody but a process that recovers the log after a crash.

        Raises:
            StoreUnavailable: it cannot be opened, is no database, or was written by a newer version.
        """
        busy_seconds = busy_timeout.total_seconds()
        reader, connection = await asyncio.to_thread(connect, Path(path), busy_seconds)
        writer = SqliteWriter(connection, now, busy_seconds=busy_seconds)
        return cls(reader, writer, now, busy_seconds=busy_seconds)

    async def add(
        self, kind: str, key: str, record: Record, *, expires_at: int | None = None, owner: str | None = None
    ) -> bool:
        """See `Store.add`."""
        return await self._writer.changes(ADD, (kind, key, owner, to_json(record), expires_at, self._now()))

    async def get(self, kind: str, key: str) -> Record | None:
        """See `Store.get`."""
        parameters = (kind, key, self._now())
        try:
            rows: Rows = self._reader.execute(GET, parameters).fetchall()
        except sqlite3.Error as error:
            rows = await self._read_again(GET, parameters, error)
        return from_json(rows[0][0]) if rows else None

    async def take(self, kind: str, key: str) -> Record | None:
        """See `Store.take`."""
        rows = await self._writer.rows(TAKE, (kind, key, self._now()))
        return from_json(rows[0][0]) if rows else None

    async def replace(
        self, kind: str, key: str, old: Record, new: Record, *, expires_at: int | None = None
    ) -> bool:
        """See `Store.replace`."""
        return await self._writer.changes(
            REPLACE, (to_json(new), expires_at, kind, key, to_json(old), self._now())
        )

    async def list(self, kind: str, owner: str | None = None) -> Records:
        """See `Store.list`. What changes meanwhile may be in it or not: all of a kind is read in pages."""
        if owner is not None:
            return _records(await self._read(LIST_OWNER, (kind, owner, self._now())))
        found: Records = []
        start = ""
        while page := _records(await self._read(LIST, (kind, start, self._now(), PAGE_ROWS))):
            found += page
            if len(page) < PAGE_ROWS:
                break
            start = page[-1][0] + "\0"  # the very next key
            await asyncio.sleep(0)
        return found

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self._writer.aclose()
        self._reader.close()

    async def _read(self, statement: str, parameters: Parameters) -> Rows:
        try:
            return self._reader.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            return await self._read_again(statement, parameters, error)

    # Readers are in the event loop's thread: a look-up takes microseconds, less than to hand it over.
    async def _read_again(self, statement: str, parameters: Parameters, error: sqlite3.Error) -> Rows:
        """Try again until the file is not locked any more, while others go on."""
        deadline = time.monotonic() + self._busy_seconds
        while is_busy(error) and time.monotonic() < deadline:
            await asyncio.sleep(BUSY_PAUSE_SECONDS)
            try:
                return self._reader.execute(statement, parameters).fetchall()
            except sqlite3.Error as another:
                error = another
        raise StoreUnavailable("the SQLite file could not be read") from error


def _records(rows: Rows) -> Records:
    return [(key, from_json(record)) for key, record in rows]
