"""The store in a SQLite file keeps the contract, survives, is shared, and says so when it cannot."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mcpauth.oauth.store import StoreUnavailable
from mcpauth.stores.sqlite import PAGE_ROWS, SqliteStore
from mcpauth.stores.sqlite_file import SCHEMA
from mcpauth.stores.sqlite_writer import BUSY_PAUSE_SECONDS, MAX_BATCH, SWEEP_SECONDS, SqliteWriter
from tests.authorization_server.core_helpers import START, Clock
from tests.authorization_server.store_contract import StoreContract

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path


def rows_in(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        (count,) = connection.execute("SELECT count(*) FROM records").fetchone()
    finally:
        connection.close()
    assert isinstance(count, int)
    return count


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "mcpauth.db"

    @pytest.fixture
    async def store(self, path: Path, clock: Clock) -> AsyncGenerator[SqliteStore]:
        store = await SqliteStore.open(path, clock)
        yield store
        await store.aclose()

    async def test_records_survive_closing(self, store: SqliteStore, path: Path, clock: Clock) -> None:
        await store.add("k", "1", {"a": 1}, expires_at=START + 10, owner="o")
        await store.aclose()
        again = await SqliteStore.open(path, clock)
        assert await again.list("k", "o") == [("1", {"a": 1})]
        clock.advance(10)
        assert await again.get("k", "1") is None
        await again.aclose()

    async def test_others_have_their_turn_while_many_records_are_listed(self, store: SqliteStore) -> None:
        """Whoever lists a hundred thousand grants keeps nobody else waiting for it."""
        await asyncio.gather(*(store.add("k", str(number), {}) for number in range(5 * PAGE_ROWS)))
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        waiting = asyncio.create_task(others())
        assert len(await store.list("k")) == 5 * PAGE_ROWS
        waiting.cancel()
        assert turns >= 4

    async def test_an_answer_comes_only_after_the_change_is_in_the_file(
        self, store: SqliteStore, path: Path
    ) -> None:
        """Another connection sees it at once, without the first one closing."""
        await store.add("k", "1", {})
        assert rows_in(path) == 1
        await store.take("k", "1")
        assert rows_in(path) == 0

    async def test_two_handles_on_one_file_see_and_exclude_each_other(
        self, store: SqliteStore, path: Path, clock: Clock
    ) -> None:
        other = await SqliteStore.open(path, clock)
        assert await store.add("k", "1", {"from": "store"})
        assert not await other.add("k", "1", {"from": "other"})
        assert await other.get("k", "1") == {"from": "store"}
        takers = [handle.take("k", "1") for handle in (store, other) for _ in range(10)]
        assert sorted(map(bool, await asyncio.gather(*takers))) == [False] * 19 + [True]
        await other.aclose()

    async def test_many_handles_opened_at_once_agree_on_one_file(self, tmp_path: Path, clock: Clock) -> None:
        """Several processes start together: none fails over who makes the file."""
        path = tmp_path / "new.db"
        stores = await asyncio.gather(*(SqliteStore.open(path, clock) for _ in range(16)))
        added = await asyncio.gather(*(each.add("k", "1", {}) for each in stores))
        assert added.count(True) == 1
        await asyncio.gather(*(each.aclose() for each in stores))

    async def test_changes_that_queue_up_get_each_their_own_result(self, store: SqliteStore) -> None:
        answers = await asyncio.gather(*(store.add("k", str(n % 300), {"n": n}) for n in range(600)))
        assert answers == [True] * 300 + [False] * 300

    async def test_one_bad_change_does_not_spoil_the_others_of_its_transaction(
        self, store: SqliteStore
    ) -> None:
        answers = await asyncio.gather(
            store.add("k", "1", {}),
            store.add("k", "\ud800", {}),
            store.add("k", "2", {}),
            return_exceptions=True,
        )
        assert [answers[0], answers[2]] == [True, True]
        assert isinstance(answers[1], UnicodeEncodeError)

    async def test_a_caller_who_gave_up_does_not_stop_the_writer(self, store: SqliteStore) -> None:
        task = asyncio.create_task(store.add("k", "1", {}))
        await asyncio.sleep(0)
        task.cancel()
        assert await store.add("k", "2", {})

    async def test_the_file_is_only_for_its_owner(self, store: SqliteStore, path: Path) -> None:
        """It holds the signing keys."""
        await store.add("k", "1", {})
        for each in path.parent.iterdir():
            assert stat.S_IMODE(each.stat().st_mode) == 0o600, each

    async def test_expired_rows_are_removed_from_the_file(
        self, store: SqliteStore, path: Path, clock: Clock
    ) -> None:
        await asyncio.gather(*(store.add("k", str(n), {}, expires_at=START + 1) for n in range(50)))
        clock.advance(SWEEP_SECONDS)
        await store.add("k", "living", {})
        await store.aclose()
        assert rows_in(path) == 1

    async def test_what_was_begun_is_finished_before_closing(self, store: SqliteStore, path: Path) -> None:
        adding = [asyncio.create_task(store.add("k", str(n), {})) for n in range(20)]
        await asyncio.sleep(0)
        await store.aclose()
        assert await asyncio.gather(*adding) == [True] * 20
        assert rows_in(path) == 20

    async def test_a_closed_store_is_unavailable(self, store: SqliteStore) -> None:
        await store.aclose()
        await store.aclose()
        for attempt in (store.add("k", "1", {}), store.get("k", "1"), store.take("k", "1"), store.list("k")):
            with pytest.raises(StoreUnavailable):
                await attempt

    async def test_a_locked_file_is_unavailable_and_works_again_afterwards(
        self, path: Path, clock: Clock
    ) -> None:
        store = await SqliteStore.open(path, clock, busy_timeout=timedelta(milliseconds=50))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="could not be written"):
            await store.add("k", "1", {})
        assert await store.get("k", "1") is None
        other.execute("COMMIT")
        other.close()
        assert await store.add("k", "1", {})
        await store.aclose()

    async def test_a_locked_file_holds_up_nothing_but_the_change(
        self, store: SqliteStore, path: Path
    ) -> None:
        """While another process writes, the event loop goes on, and reading too."""
        await store.add("k", "1", {"a": 1})
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        adding = asyncio.create_task(store.add("k", "2", {}))
        for _ in range(5):
            await asyncio.sleep(BUSY_PAUSE_SECONDS)
            assert await store.get("k", "1") == {"a": 1}
        assert not adding.done()
        assert await store.get("k", "2") is None
        other.execute("COMMIT")
        other.close()
        assert await adding

    async def test_a_file_that_cannot_be_read_for_a_moment_is_read_then(
        self, tmp_path: Path, clock: Clock
    ) -> None:
        """A process that recovers the log locks readers out; they wait without holding up the event loop."""
        path = tmp_path / "rolled-back.db"
        other = sqlite3.connect(path, isolation_level=None)
        # Without a log a writer locks readers out for as long as one likes.
        other.executescript(SCHEMA)
        other.execute("INSERT INTO records VALUES ('k', '1', 'o', '{}', NULL)")
        other.execute("BEGIN EXCLUSIVE")
        reader, connection = (
            sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False) for _ in range(2)
        )
        writer = SqliteWriter(connection, clock, busy_seconds=5)
        impatient = SqliteStore(reader, writer, clock, busy_seconds=0)
        with pytest.raises(StoreUnavailable, match="could not be read"):
            await impatient.get("k", "1")
        store = SqliteStore(reader, writer, clock, busy_seconds=60)
        getting = asyncio.create_task(store.get("k", "1"))
        listing = asyncio.create_task(store.list("k", "o"))
        await asyncio.sleep(3 * BUSY_PAUSE_SECONDS)
        assert not getting.done()
        assert not listing.done()
        other.execute("COMMIT")
        other.close()
        assert await getting == {}
        assert await listing == [("1", {})]
        await store.aclose()

    async def test_a_batch_that_is_too_long_is_several(self, store: SqliteStore, path: Path) -> None:
        added = await asyncio.gather(*(store.add("k", str(n), {}) for n in range(3 * MAX_BATCH + 1)))
        assert added == [True] * (3 * MAX_BATCH + 1)
        assert rows_in(path) == 3 * MAX_BATCH + 1

    async def test_a_damaged_table_is_unavailable_not_an_error_of_its_own(
        self, store: SqliteStore, path: Path
    ) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("DROP TABLE records")
        other.close()
        for attempt in (store.add("k", "1", {}), store.get("k", "1"), store.take("k", "1"), store.list("k")):
            with pytest.raises(StoreUnavailable):
                await attempt

    async def test_a_file_that_is_no_database_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "letter.txt"
        path.write_text("Dear reader, " * 100)
        with pytest.raises(StoreUnavailable, match=r"letter\.txt: cannot be opened"):
            await SqliteStore.open(path)
        assert path.read_text().startswith("Dear reader")

    async def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(
            StoreUnavailable, match=r"no-folder/mcpauth\.db: its folder does not exist; make it"
        ):
            await SqliteStore.open(tmp_path / "no-folder" / "mcpauth.db")

    async def test_a_file_of_a_newer_version_is_not_touched(self, tmp_path: Path) -> None:
        path = tmp_path / "newer.db"
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        with pytest.raises(StoreUnavailable, match="newer version"):
            await SqliteStore.open(path)
