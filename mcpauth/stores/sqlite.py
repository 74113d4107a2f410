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
from typing import TYPE_CHECKING, Any

from mcpauth.oauth.store import Record, Records, StoreUnavailable, from_json, to_json
from mcpauth.stores.sqlite_file import connect
from mcpauth.stores.sqlite_writer import Rows, SqliteWriter

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

ADD = """
INSERT INTO records (kind, key, owner, record, expires_at) VALUES (:kind, :key, :owner, :record, :expires_at)
ON CONFLICT (kind, key) DO UPDATE
SET owner = excluded.owner, record = excluded.record, expires_at = excluded.expires_at
WHERE records.expires_at <= :now
"""
GET = """
SELECT record FROM records
WHERE kind = :kind AND key = :key AND (expires_at IS NULL OR expires_at > :now)
"""
TAKE = """
DELETE FROM records
WHERE kind = :kind AND key = :key AND (expires_at IS NULL OR expires_at > :now)
RETURNING record
"""
REPLACE = """
UPDATE records SET record = :new, expires_at = coalesce(:expires_at, expires_at)
WHERE kind = :kind AND key = :key AND record = :old AND (expires_at IS NULL OR expires_at > :now)
"""
LIST = """
SELECT key, record FROM records
WHERE kind = :kind AND (expires_at IS NULL OR expires_at > :now)
ORDER BY key
"""
LIST_OWNER = """
SELECT key, record FROM records
WHERE kind = :kind AND owner = :owner AND (expires_at IS NULL OR expires_at > :now)
ORDER BY key
"""


class SqliteStore:
    """Records in a file. Made by `open`."""

    def __init__(
        self, reader: sqlite3.Connection, writer: SqliteWriter, now: Callable[[], float] = time.time
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._now = now

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        now: Callable[[], float] = time.time,
        *,
        busy_timeout: timedelta = timedelta(seconds=5),
    ) -> SqliteStore:
        """Open the file, and make it (mode 0600: it holds the signing keys) when it is not there.

        `busy_timeout` is how long a change waits for another process that is writing.

        Raises:
            StoreUnavailable: it cannot be opened, is no database, or was written by a newer version.
        """
        reader, connection = await asyncio.to_thread(connect, Path(path), busy_timeout.total_seconds())
        return cls(reader, SqliteWriter(connection, now), now)

    async def add(
        self, kind: str, key: str, record: Record, *, expires_at: int | None = None, owner: str | None = None
    ) -> bool:
        """See `Store.add`."""
        values = {"record": to_json(record), "expires_at": expires_at, "owner": owner}
        return await self._writer.changes(ADD, self._parameters(kind, key, **values))

    async def get(self, kind: str, key: str) -> Record | None:
        """See `Store.get`."""
        rows = self._read(GET, self._parameters(kind, key))
        return from_json(rows[0][0]) if rows else None

    async def take(self, kind: str, key: str) -> Record | None:
        """See `Store.take`."""
        rows = await self._writer.rows(TAKE, self._parameters(kind, key))
        return from_json(rows[0][0]) if rows else None

    async def replace(
        self, kind: str, key: str, old: Record, new: Record, *, expires_at: int | None = None
    ) -> bool:
        """See `Store.replace`."""
        values = {"old": to_json(old), "new": to_json(new), "expires_at": expires_at}
        return await self._writer.changes(REPLACE, self._parameters(kind, key, **values))

    async def list(self, kind: str, owner: str | None = None) -> Records:
        """See `Store.list`."""
        statement = LIST if owner is None else LIST_OWNER
        rows = self._read(statement, {"kind": kind, "owner": owner, "now": self._now()})
        return [(key, from_json(record)) for key, record in rows]

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self._writer.aclose()
        self._reader.close()

    def _parameters(self, kind: str, key: str, **values: Any) -> dict[str, Any]:
        return {"kind": kind, "key": key, "now": self._now(), **values}

    def _read(self, statement: str, parameters: dict[str, Any]) -> Rows:
        # In the event loop's thread: a look-up by primary key takes microseconds, less than to hand it over.
        try:
            return self._reader.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable("the SQLite file could not be read") from error
