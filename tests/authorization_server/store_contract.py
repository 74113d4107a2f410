"""What every store must do. A store passes it as it is: subclass `StoreContract`, with a `store` fixture."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.authorization_server.core_helpers import START, Clock

if TYPE_CHECKING:
    from mcpauth.oauth.store import Record, Store

RECORD: Record = {
    "name": "Ünïcode ☃ \U0001f511",
    "nested": {"list": [1, 2.5, None, True, {"deep": []}]},
    "n": 2**53,
}


class StoreContract:
    """The behaviour of the protocol in `mcpauth.oauth.store`."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    async def test_a_record_comes_back_as_it_went_in(self, store: Store) -> None:
        assert await store.add("k", "1", RECORD)
        assert await store.get("k", "1") == RECORD

    async def test_a_stored_record_does_not_change_with_the_objects_around_it(self, store: Store) -> None:
        record: Record = {"list": [1]}
        await store.add("k", "1", record)
        record["list"].append(2)
        got = await store.get("k", "1")
        assert got is not None
        assert got == {"list": [1]}
        got["list"].append(3)
        assert await store.get("k", "1") == {"list": [1]}

    async def test_an_unknown_key_has_no_record(self, store: Store) -> None:
        assert await store.get("k", "1") is None
        assert await store.take("k", "1") is None
        assert not await store.replace("k", "1", {}, {"a": 1})
        assert await store.get("k", "1") is None

    async def test_a_taken_key_is_not_added_again(self, store: Store) -> None:
        assert await store.add("k", "1", {"first": True}, owner="a")
        assert not await store.add("k", "1", {"first": False}, owner="b")
        assert await store.list("k", "a") == [("1", {"first": True})]
        assert await store.list("k", "b") == []

    async def test_kinds_do_not_collide(self, store: Store) -> None:
        assert await store.add("a", "1", {"kind": "a"})
        assert await store.add("b", "1", {"kind": "b"})
        assert await store.take("a", "1") == {"kind": "a"}
        assert await store.get("b", "1") == {"kind": "b"}

    @pytest.mark.parametrize("key", ["x" * 4096, "Ünïcode ☃", "a b/c:d'e\"f%_*", ""])
    async def test_any_text_is_a_key(self, store: Store, key: str) -> None:
        assert await store.add("k", key, {"a": 1})
        assert await store.replace("k", key, {"a": 1}, {"a": 2})
        assert await store.list("k") == [(key, {"a": 2})]
        assert await store.take("k", key) == {"a": 2}

    async def test_a_taken_record_is_gone(self, store: Store) -> None:
        await store.add("k", "1", RECORD, owner="a")
        assert await store.take("k", "1") == RECORD
        assert await store.take("k", "1") is None
        assert await store.get("k", "1") is None
        assert await store.list("k", "a") == []
        assert await store.add("k", "1", RECORD)

    async def test_of_many_takers_one_gets_the_record(self, store: Store) -> None:
        await store.add("k", "1", {"a": 1})
        taken = await asyncio.gather(*(store.take("k", "1") for _ in range(20)))
        assert sorted(map(bool, taken)) == [False] * 19 + [True]

    async def test_of_many_adders_one_succeeds(self, store: Store) -> None:
        added = await asyncio.gather(*(store.add("k", "1", {"n": n}) for n in range(20)))
        assert added.count(True) == 1
        assert await store.get("k", "1") == {"n": added.index(True)}

    async def test_of_many_replacers_one_succeeds(self, store: Store) -> None:
        await store.add("k", "1", {"n": None})
        replaced = await asyncio.gather(*(store.replace("k", "1", {"n": None}, {"n": n}) for n in range(20)))
        assert replaced.count(True) == 1
        assert await store.get("k", "1") == {"n": replaced.index(True)}

    @pytest.mark.parametrize(
        "old", [{}, {"a": 1}, {"a": 1, "b": [1, 2], "c": 3}, {"a": 1, "b": [2, 1]}, {"a": True, "b": [1, 2]}]
    )
    async def test_a_record_is_replaced_only_where_exactly_the_old_one_is(
        self, store: Store, old: dict[str, Any]
    ) -> None:
        await store.add("k", "1", {"a": 1, "b": [1, 2]})
        assert not await store.replace("k", "1", old, {"new": True})
        assert await store.get("k", "1") == {"a": 1, "b": [1, 2]}

    async def test_the_order_of_members_and_tuples_do_not_matter_to_replace(self, store: Store) -> None:
        await store.add("k", "1", {"a": 1, "b": (1, 2)})
        assert await store.replace("k", "1", {"b": [1, 2], "a": 1}, {"new": True})
        assert await store.get("k", "1") == {"new": True}

    async def test_an_expired_record_is_absent(self, store: Store, clock: Clock) -> None:
        for key in ("get", "take", "replace", "add"):
            await store.add("k", key, {"old": True}, expires_at=START + 10, owner="a")
        clock.advance(9.9)
        assert await store.get("k", "get") == {"old": True}
        assert len(await store.list("k", "a")) == 4
        clock.advance(0.1)
        assert await store.get("k", "get") is None
        assert await store.take("k", "take") is None
        assert not await store.replace("k", "replace", {"old": True}, {"new": True})
        assert await store.list("k") == []
        assert await store.list("k", "a") == []
        assert await store.add("k", "add", {"new": True}, expires_at=START + 100, owner="b")
        assert await store.list("k") == [("add", {"new": True})]
        assert await store.list("k", "b") == [("add", {"new": True})]

    async def test_an_added_record_replaces_everything_of_an_expired_one(
        self, store: Store, clock: Clock
    ) -> None:
        await store.add("k", "1", {"old": True}, expires_at=START + 10, owner="a")
        clock.advance(10)
        assert await store.add("k", "1", {"new": True})
        clock.advance(1e9)
        assert await store.get("k", "1") == {"new": True}
        assert await store.list("k", "a") == []

    async def test_replace_keeps_or_moves_the_moment_and_keeps_the_owner(
        self, store: Store, clock: Clock
    ) -> None:
        await store.add("k", "kept", {"n": 1}, expires_at=START + 10, owner="a")
        await store.add("k", "moved", {"n": 1}, expires_at=START + 10, owner="a")
        await store.add("k", "shortened", {"n": 1}, owner="a")
        assert await store.replace("k", "kept", {"n": 1}, {"n": 2})
        assert await store.replace("k", "moved", {"n": 1}, {"n": 2}, expires_at=START + 20)
        assert await store.replace("k", "shortened", {"n": 1}, {"n": 2}, expires_at=START + 15)
        clock.advance(10)
        assert [key for key, _ in await store.list("k", "a")] == ["moved", "shortened"]
        clock.advance(5)
        assert [key for key, _ in await store.list("k", "a")] == ["moved"]
        clock.advance(5)
        assert await store.list("k", "a") == []

    async def test_records_are_listed_by_kind_and_owner_in_the_order_of_their_keys(
        self, store: Store
    ) -> None:
        for key, owner in (("3", "a"), ("1", "b"), ("2", "a"), ("0", None)):
            await store.add("k", key, {"key": key}, owner=owner)
        await store.add("other", "9", {}, owner="a")
        assert [key for key, _ in await store.list("k")] == ["0", "1", "2", "3"]
        assert await store.list("k", "a") == [("2", {"key": "2"}), ("3", {"key": "3"})]
        assert await store.list("k", "nobody") == []

    @pytest.mark.parametrize("count", [500, 1000, 1001])
    async def test_however_many_are_listed_each_once(self, store: Store, count: int) -> None:
        keys = ["", "\0", "a", "a\0", "é", *(f"{number:04}" for number in range(count - 5))]
        await asyncio.gather(*(store.add("k", key, {"key": key}) for key in keys))
        await store.add("l", "another kind", {})
        listed = await store.list("k")
        assert [key for key, _ in listed] == sorted(keys)
        assert all(record == {"key": key} for key, record in listed)
