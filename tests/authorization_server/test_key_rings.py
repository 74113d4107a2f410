"""Several algorithms at once: each has its ring of keys, and no token is signed with a key that few know."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mcpauth.oauth.encryption_keys import EncryptionKeys
from mcpauth.oauth.key_refresh import kept_fresh
from mcpauth.oauth.key_rings import KINDS, KeyRings
from mcpauth.oauth.key_schedule import LATE, PUBLISHED_AHEAD, Schedule, Turn
from mcpauth.oauth.signing_keys import KIND
from mcpauth.oauth.store import StoreUnavailable, to_json
from mcpauth.stores.encrypted import unlocked
from mcpauth.stores.memory import MemoryStore
from mcpauth.stores.sqlite import SqliteStore
from tests.authorization_server.core_helpers import Clock
from tests.authorization_server.test_signing_keys import until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from mcpauth.oauth.store import Records, Store

pytestmark = pytest.mark.anyio

RS256_KIND = f"{KIND}:RS256"
TOKEN_LIFETIME = 600
OLDEST_VIEW = 600
"""How old the keys that a resource server knows may be."""


async def started(
    store: Store, clock: Callable[[], float], *others: str, algorithm: str = "ES256", lifetime: int = 90
) -> KeyRings:
    rings = KeyRings.of_store(
        store,
        algorithm=algorithm,
        others=others,
        lifetime=timedelta(days=lifetime),
        token_lifetime=timedelta(seconds=TOKEN_LIFETIME),
        now=clock,
    )
    await rings.start()
    return rings


def shown(rings: KeyRings) -> list[tuple[str, str]]:
    return [(key.algorithm, key.state) for key in rings.statuses()]


def published(rings: KeyRings) -> list[str]:
    return [key["kid"] for key in rings.jwks()["keys"]]


async def kept(store: Store) -> dict[str, Records]:
    return {kind: records for kind in sorted(KINDS) if (records := await store.list(kind))}


async def test_at_the_first_start_every_algorithm_signs_at_once() -> None:
    """Nobody can have old keys of a server that was never there."""
    clock = Clock()
    rings = await started(MemoryStore(clock), clock, "RS256", "EdDSA")
    for algorithm in ("ES256", "RS256", "EdDSA"):
        key = rings.current(algorithm)
        assert key.algorithm == algorithm
        assert rings.find(key.kid) is key
    assert rings.current() is rings.current("ES256")
    assert len(published(rings)) == 3
    assert rings.find("unknown") is None


async def test_without_a_setting_there_is_one_ring_with_the_records_it_always_had() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    rings = await started(store, clock)
    assert list(await kept(store)) == ["signing_key"]
    assert rings.current("RS256") is rings.current()


async def test_an_algorithm_that_is_added_signs_when_all_have_seen_its_key() -> None:
    """Until then the usual key signs: no request fails."""
    clock = Clock()
    store = MemoryStore(clock)
    usual = (await started(store, clock)).current()
    clock.advance(1000)
    first = await started(store, clock, "RS256")
    clock.advance(100)
    rings = await started(store, clock, "RS256")
    assert shown(rings) == [("ES256", "current"), ("RS256", "next")]
    assert published(rings) == published(first), "the second start finds it under way"
    clock.advance(PUBLISHED_AHEAD - 101)
    assert rings.current("RS256").kid == usual.kid
    assert rings.algorithms("RS256") == {"ES256", "RS256"}
    clock.advance(1)
    assert rings.current("RS256").algorithm == "RS256"
    assert rings.algorithms("RS256") == {"RS256"}
    assert rings.current().kid == usual.kid


class Deployment:
    """Processes on one store, a minute's traffic after the other, and resource servers with old keys."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock)
        self.processes: list[tuple[KeyRings, tuple[str | None, ...]]] = []
        self.signed_with: list[tuple[str | None, str]] = []
        self._seen: list[tuple[float, list[set[str]]]] = []
        self._alive: list[tuple[float, str]] = []

    async def start(self, *others: str, algorithm: str = "ES256") -> KeyRings:
        rings = await started(self.store, self.clock, *others, algorithm=algorithm)
        self.processes.append((rings, (None, *others)))
        return rings

    async def run(self, minutes: int) -> None:
        for _ in range(2 * minutes):
            for rings, _ in self.processes:
                await rings.refresh()
            self._seen = [(at, views) for at, views in self._seen if at >= self.clock() - OLDEST_VIEW]
            self._seen.append((self.clock(), [set(published(rings)) for rings, _ in self.processes]))
            for rings, asked in self.processes:
                for algorithm in asked:
                    self._sign(rings, algorithm)
            self._all_that_live_can_be_verified()
            self.clock.advance(30)

    def _sign(self, rings: KeyRings, algorithm: str | None) -> None:
        key = rings.current(algorithm)
        self.signed_with.append((algorithm, key.algorithm))
        self._alive.append((self.clock() + TOKEN_LIFETIME, key.kid))
        for at, views in self._seen:
            assert all(key.kid in view for view in views), f"unknown {self.clock() - at} s ago"

    def _all_that_live_can_be_verified(self) -> None:
        self._alive = [(ends_at, kid) for ends_at, kid in self._alive if ends_at > self.clock()]
        for rings, _ in self.processes:
            assert {kid for _, kid in self._alive} <= set(published(rings))


async def test_adding_an_algorithm_never_gives_a_token_that_old_keys_do_not_verify() -> None:
    """Two processes are replaced one after the other; the other one's published keys count as well."""
    deployment = Deployment()
    await deployment.start()
    await deployment.start()
    await deployment.run(20)
    await deployment.start("RS256")
    await deployment.run(3)
    del deployment.processes[0]
    await deployment.start("RS256")
    del deployment.processes[0]
    await deployment.run(30)
    assert ("RS256", "ES256") in deployment.signed_with, "before the key had been published long enough"
    assert deployment.signed_with[-1] == ("RS256", "RS256")


async def test_leaving_an_algorithm_never_does_so_either() -> None:
    """While one process still has the settings of before, its tokens are good for as long as they live."""
    deployment = Deployment()
    before = await deployment.start("RS256")
    await deployment.run(20)
    await deployment.start()
    await deployment.run(60)
    assert ("RS256", "RS256") in deployment.signed_with
    assert before.current("RS256").algorithm == "ES256", "the newest start decides"


@pytest.mark.parametrize("others", [["RS256"], ["ES256"], ["ES256", "RS256"], []])
async def test_the_usual_algorithm_changes_without_a_gap(others: list[str]) -> None:
    """What asks for an algorithm by name has it before, during and after the change."""
    deployment = Deployment()
    await deployment.start("RS256")
    await deployment.run(20)
    deployment.signed_with.clear()
    rings = await deployment.start(*others, algorithm="RS256")
    for _ in range(60):
        await deployment.run(1)
        assert {rings.current(each).algorithm for each in ("RS256", *others)} == {"RS256", *others}
    assert rings.current().algorithm == "RS256"


async def test_an_algorithm_that_nothing_needs_any_more_is_forgotten_when_its_tokens_have_expired() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    rings = await started(store, clock, "RS256")
    kid = rings.current("RS256").kid
    rings = await started(store, clock)
    clock.advance(PUBLISHED_AHEAD + TOKEN_LIFETIME + LATE - 1)
    await rings.refresh()
    assert shown(rings) == [("ES256", "current"), ("RS256", "retiring")]
    assert rings.find(kid) is not None
    clock.advance(1)
    assert rings.find(kid) is None
    await rings.refresh()
    assert ["private_jwk" in record for _, record in (await kept(store))[RS256_KIND]] == [False]
    clock.advance(LATE)
    await rings.refresh()
    assert list(await kept(store)) == [KIND]
    clock.advance(365 * 86_400)
    await rings.refresh()
    assert list(await kept(store)) == [KIND]


def test_the_end_of_a_ring_outlasts_its_keys() -> None:
    """Without it a key that is still published would sign again."""
    key, end = Turn(1, 0, 5000), Turn(2, 1000, 600, is_end=True)
    schedule = Schedule([key, end])
    assert schedule.over(1000 + 5000 + LATE - 1) == []
    assert schedule.over(1000 + 5000 + LATE) == [key]
    assert Schedule([end]).over(1000 + 600 + LATE) == []
    assert Schedule([end]).over(1000 + 600 + 2 * LATE) == [end]


async def test_an_algorithm_that_is_needed_again_in_time_goes_on() -> None:
    """An operator takes a change of the settings back."""
    clock = Clock()
    store = MemoryStore(clock)
    key = (await started(store, clock, "RS256")).current("RS256")
    await started(store, clock)
    clock.advance(PUBLISHED_AHEAD - 1)
    rings = await started(store, clock, "RS256")
    assert rings.current("RS256").kid == key.kid
    clock.advance(100 * 86_400)
    await rings.refresh()
    clock.advance(PUBLISHED_AHEAD)
    assert rings.current("RS256").algorithm == "RS256"
    assert rings.current("RS256").kid != key.kid, "it changes its keys by itself again"


@pytest.mark.parametrize("later", [PUBLISHED_AHEAD, PUBLISHED_AHEAD + 700, 86_400])
async def test_one_that_is_needed_again_too_late_begins_anew(later: int) -> None:
    clock = Clock()
    store = MemoryStore(clock)
    old = (await started(store, clock, "RS256")).current("RS256").kid
    await started(store, clock)
    clock.advance(later)
    rings = await started(store, clock, "RS256")
    assert rings.current("RS256").algorithm == "ES256"
    clock.advance(PUBLISHED_AHEAD)
    assert rings.current("RS256").algorithm == "RS256"
    assert rings.current("RS256").kid != old
    clock.advance(86_400)
    await rings.refresh()
    assert shown(rings) == [("ES256", "current"), ("RS256", "current")]
    assert len((await kept(store))[RS256_KIND]) == 1


async def test_each_ring_changes_its_keys_by_itself() -> None:
    """Changing one leaves the other alone."""
    clock = Clock()
    rings = await started(MemoryStore(clock), clock, "RS256")
    usual, other = rings.current().kid, rings.current("RS256").kid
    (status,) = await rings.rotate("RS256")
    assert status.algorithm == "RS256"
    assert shown(rings) == [("ES256", "current"), ("RS256", "current"), ("RS256", "next")]
    clock.advance(PUBLISHED_AHEAD)
    assert rings.current("RS256").kid == status.kid != other
    assert rings.current().kid == usual
    assert [each.algorithm for each in await rings.rotate()] == ["ES256", "RS256"]
    clock.advance(PUBLISHED_AHEAD)
    assert rings.current().kid != usual


async def test_the_keys_of_all_rings_follow_by_age() -> None:
    clock = Clock()
    rings = await started(MemoryStore(clock), clock, "RS256")
    clock.advance(90 * 86_400)
    async with kept_fresh(rings, every=0.001):
        await until(lambda: len(published(rings)) == 4)
    assert [state for _, state in shown(rings)] == ["current", "next"] * 2


async def test_a_key_is_retired_in_whichever_ring_it_is() -> None:
    """What has leaked must sign nothing any more; the other ring goes on."""
    clock = Clock()
    rings = await started(MemoryStore(clock), clock, "RS256")
    usual, leaked = rings.current().kid, rings.current("RS256").kid
    assert await rings.retire(leaked)
    assert rings.find(leaked) is None
    assert rings.current("RS256").algorithm == "RS256"
    assert rings.current().kid == usual
    assert not await rings.retire(leaked)


async def test_the_first_key_of_a_ring_is_replaced_when_it_is_taken_back() -> None:
    """An empty ring would never sign."""
    clock = Clock()
    store = MemoryStore(clock)
    await started(store, clock)
    rings = await started(store, clock, "RS256")
    clock.advance(60)
    assert await rings.retire(rings.statuses()[1].kid)
    assert shown(rings) == [("ES256", "current"), ("RS256", "next")]
    assert rings.statuses()[1].signs_from == clock() + PUBLISHED_AHEAD


async def test_a_leaked_key_of_a_ring_that_has_ended_is_not_replaced() -> None:
    """And a process that knew it does not take the empty ring for one that got lost."""
    clock = Clock()
    store = MemoryStore(clock)
    leaked = (await started(store, clock, "RS256")).current("RS256").kid
    rings = await started(store, clock)
    other = await started(store, clock)
    clock.advance(PUBLISHED_AHEAD)
    assert await rings.retire(leaked)
    for each in (rings, other):
        await each.refresh()
        assert shown(each) == [("ES256", "current")]


async def test_a_process_whose_clock_is_behind_signs_with_every_algorithm_all_the_same() -> None:
    clock, behind = Clock(), Clock()
    store = MemoryStore(clock)
    clock.advance(30)
    rings = await started(store, clock, "RS256")
    other = await started(store, behind, "RS256")
    assert other.current("RS256").kid == rings.current("RS256").kid


async def test_processes_that_start_at_once_on_one_file_agree(tmp_path: Path) -> None:
    """At the first start, when the algorithm is added, when it is left, and through rotations."""
    clock = Clock()
    stores = [await SqliteStore.open(tmp_path / "as.db") for _ in range(3)]

    async def all_started(*others: str) -> list[KeyRings]:
        rings = list(await asyncio.gather(*(started(store, clock, *others) for store in stores)))
        for each in rings:
            await each.refresh()
        return rings

    def agreed(rings: Collection[KeyRings], *algorithms: str) -> str:
        (view,) = {str((shown(each), published(each))) for each in rings}
        assert len({each.current(name).kid for each in rings for name in algorithms}) == len(algorithms)
        return view

    assert agreed(await all_started("RS256"), "ES256", "RS256").count("current") == 2
    rings = await all_started("RS256", "EdDSA")
    assert agreed(rings, "ES256", "RS256").count("next") == 1
    clock.advance(PUBLISHED_AHEAD)
    agreed(rings, "ES256", "RS256", "EdDSA")
    await asyncio.gather(*(each.rotate() for each in rings))
    for each in rings:
        await each.refresh()
    assert agreed(rings, "ES256", "RS256", "EdDSA").count("next") == 3
    rings = await all_started()
    clock.advance(PUBLISHED_AHEAD + TOKEN_LIFETIME + LATE)
    await asyncio.gather(*(each.refresh() for each in rings))
    assert agreed(rings, "ES256").count("RS256") == 0
    await asyncio.gather(*(store.aclose() for store in stores))


class LosesARing(MemoryStore):
    """A store that does not find the records of one kind."""

    lost = ""

    async def list(self, kind: str, owner: str | None = None) -> Records:
        return [] if kind == self.lost else await super().list(kind, owner)


async def test_a_ring_that_got_lost_goes_on_as_it_was_known() -> None:
    clock = Clock()
    store = LosesARing(clock)
    rings = await started(store, clock, "RS256")
    kid = rings.current("RS256").kid
    store.lost = RS256_KIND
    clock.advance(60)
    with pytest.raises(StoreUnavailable, match="lost"):
        await rings.refresh()
    await rings.refresh_if_old()
    assert rings.current("RS256").kid == kid
    assert len(published(rings)) == 2


async def test_a_ring_that_cannot_be_read_holds_up_no_other() -> None:
    """A newer version of the program may write keys of which this one knows nothing."""
    clock = Clock()
    store = MemoryStore(clock)
    rings, elsewhere = [await started(store, clock, "RS256") for _ in range(2)]
    leaked = rings.current("RS256").kid
    await elsewhere.retire(leaked)
    [(name, record)] = await store.list(KIND)
    assert await store.replace(
        KIND, name, record, {**record, "algorithm": "ES1024", "private_jwk": {"kty": "new"}}
    )

    with pytest.raises(ValueError, match="unknown algorithm"):
        await rings.refresh()
    assert rings.find(leaked) is None
    assert rings.current("RS256").kid == elsewhere.current("RS256").kid


async def test_the_keys_of_every_ring_are_encrypted_at_rest() -> None:
    """Those that were in clear before, too."""
    clock = Clock()
    below = MemoryStore(clock)

    async def raw() -> str:
        return to_json({kind: dict(records) for kind, records in (await kept(below)).items()})

    kids = set(published(await started(below, clock, "RS256")))
    assert (await raw()).count("private_jwk") == 2
    store = await unlocked(below, EncryptionKeys([bytes(range(32))]))
    rings = await started(store, clock, "RS256", "EdDSA")
    assert set(published(rings)) > kids
    assert "private_jwk" not in await raw()
    assert (await raw()).count("sealed") == 3
    with pytest.raises(StoreUnavailable, match="encrypt"):
        await unlocked(below, EncryptionKeys([bytes(range(1, 33))]))
