"""The file of the SQLite store: made, prepared, and opened for one reader and one writer."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING

from mcpauth.oauth.store import StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
OLDEST_SQLITE = (3, 35)  # DELETE ... RETURNING
OPENING_PAUSE_SECONDS = 0.02
PRIMARY_CODE = 0xFF  # of an extended SQLite result code

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    owner TEXT,
    record TEXT NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_by_owner ON records (kind, owner) WHERE owner IS NOT NULL;
CREATE INDEX IF NOT EXISTS records_by_expiry ON records (expires_at) WHERE expires_at IS NOT NULL;
"""


def connect(path: Path, busy_seconds: float) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """A connection to read and one to write, to a file with the tables in it.

    Neither waits for a lock from then on, which would be in the event loop's thread: what finds the file
    locked is tried again (`is_busy`).

    Raises:
        StoreUnavailable: the file cannot be opened, is no database, or was written by a newer version.
    """
    try:
        # SQLite gives its -wal and -shm files the mode of the file itself.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        writer = _connection(path, busy_seconds)
        try:
            _prepare_patiently(writer, busy_seconds)
            writer.execute("PRAGMA busy_timeout = 0")
            reader = _connection(path, 0)
        except BaseException:
            writer.close()
            raise
    except FileNotFoundError as error:
        raise StoreUnavailable(f"{path}: its folder does not exist; make it") from error
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"{path}: cannot be opened as a SQLite database ({error})") from error
    return reader, writer


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection had the file locked; errors that are not SQLite's own have no code."""
    return getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE == sqlite3.SQLITE_BUSY


def _connection(path: Path, busy_seconds: float) -> sqlite3.Connection:
    # Transactions are begun and ended by hand. One thread at a time uses a connection, not always the same.
    return sqlite3.connect(
        path.absolute(), timeout=busy_seconds, isolation_level=None, check_same_thread=False
    )


def _prepare_patiently(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Prepare, also beside other processes that start: the change to WAL does not itself wait for a lock."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            return _prepare(connection)
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            _roll_back(connection)
        time.sleep(OPENING_PAUSE_SECONDS)


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.rollback()


def _prepare(connection: sqlite3.Connection) -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise sqlite3.NotSupportedError(
            f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or later is needed"
        )
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL: an answer is sent only after its change would survive a power cut; NORMAL could lose the last.
    connection.execute("PRAGMA synchronous = FULL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise sqlite3.DatabaseError("written by a newer version of this program")
    if version < SCHEMA_VERSION:
        connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
