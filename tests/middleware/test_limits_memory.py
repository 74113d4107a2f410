"""The limiter in memory: all or nothing, honest about when to come back, and bounded."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpauth_middleware.limits import Debit, LimitResult, MemoryLimiter, RateLimit

pytestmark = pytest.mark.anyio


@dataclass
class Clock:
    """A clock that the test moves."""

    time: float = 1000.0

    def __call__(self) -> float:
        return self.time


def debit(rate: str, key: str = "k", *, burst: int | None = None) -> Debit:
    return Debit(key, RateLimit(rate, burst=burst).gcra, rate)


async def test_the_burst_passes_and_the_next_call_is_told_when_to_come() -> None:
    """`retry_after` is in seconds, and names the limit."""
    clock = Clock()
    limiter = MemoryLimiter(now=clock)
    for _ in range(5):
        assert (await limiter.take([debit("5/second")])).allowed
    result = await limiter.take([debit("5/second")])
    assert not result.allowed
    assert result.retry_after == pytest.approx(0.2, abs=1e-5)
    assert result.limit == "5/second"


@pytest.mark.parametrize("rate", ["5/second", "60/minute", "7/second", "1/hour"])
async def test_the_time_to_come_back_is_honest(rate: str) -> None:
    """Refused 20 ms before it, admitted after it."""
    clock = Clock(1_700_000_000.123_456_7)
    limiter = MemoryLimiter(now=clock)
    while (result := await limiter.take([debit(rate)])).allowed:
        pass
    refused_at = clock.time
    clock.time = refused_at + result.retry_after - 0.02
    assert not (await limiter.take([debit(rate)])).allowed
    clock.time = refused_at + result.retry_after
    assert (await limiter.take([debit(rate)])).allowed
    assert not (await limiter.take([debit(rate)])).allowed


@given(start=st.floats(0, 4e9), steps=st.lists(st.floats(0, 5), max_size=40))
def test_it_is_honest_at_every_moment_of_a_real_clock(start: float, steps: list[float]) -> None:
    """Clocks are floats; rounding must not make a liar of it."""
    import asyncio

    async def run() -> None:
        clock = Clock(start)
        limiter = MemoryLimiter(now=clock)
        for step in steps:
            clock.time += step
            result = await limiter.take([debit("3/second", burst=2)])
            if not result.allowed:
                clock.time += result.retry_after
                assert (await limiter.take([debit("3/second", burst=2)])).allowed

    asyncio.run(run())


async def test_a_call_refused_by_one_limit_is_counted_under_none() -> None:
    """50 calls refused by a tool's limit must not eat the user's."""
    limiter = MemoryLimiter(now=Clock())
    user, tool = debit("100/minute", "user"), debit("1/minute", "tool")
    results = [await limiter.take([user, tool]) for _ in range(51)]
    assert [result.allowed for result in results] == [True] + [False] * 50
    assert results[-1].limit == "1/minute"
    rest = [await limiter.take([user]) for _ in range(100)]
    assert sum(result.allowed for result in rest) == 99


async def test_of_several_refusals_the_longest_wait_is_told() -> None:
    """After it the call passes, not into the next refusal."""
    clock = Clock()
    limiter = MemoryLimiter(now=clock)
    debits = [debit("1/minute", "a"), debit("1/hour", "b"), debit("1/second", "c")]
    assert (await limiter.take(debits)).allowed
    result = await limiter.take(debits)
    assert (result.limit, round(result.retry_after)) == ("1/hour", 3600)
    clock.time += result.retry_after
    assert (await limiter.take(debits)).allowed


async def test_keys_are_counted_apart() -> None:
    """Another user's calls cost nothing."""
    limiter = MemoryLimiter(now=Clock())
    assert (await limiter.take([debit("1/hour", "a")])).allowed
    assert (await limiter.take([debit("1/hour", "b")])).allowed
    assert not (await limiter.take([debit("1/hour", "a")])).allowed


async def test_no_limits_no_refusal() -> None:
    """An empty list is admitted and kept nowhere."""
    limiter = MemoryLimiter(now=Clock())
    assert await limiter.take([]) == LimitResult(allowed=True)
    assert len(limiter) == 0


async def test_a_clock_that_goes_back_admits_nothing_extra() -> None:
    """A monotonic clock does not, but one can be given that does."""
    clock = Clock()
    limiter = MemoryLimiter(now=clock)
    assert (await limiter.take([debit("1/second")])).allowed
    clock.time -= 500
    assert not (await limiter.take([debit("1/second")])).allowed


async def test_keys_that_are_as_good_as_unused_make_room_first() -> None:
    """Nothing is lost with them."""
    clock = Clock()
    limiter = MemoryLimiter(now=clock, max_keys=100)
    assert (await limiter.take([debit("1/hour", "kept")])).allowed
    for number in range(99):
        await limiter.take([debit("1/second", f"short{number}")])
    clock.time += 10
    await limiter.take([debit("1/second", "one more")])
    assert len(limiter) == 2
    assert not (await limiter.take([debit("1/hour", "kept")])).allowed


async def test_then_those_that_were_used_longest_ago() -> None:
    """A flood of new keys costs the oldest, and memory stays bounded."""
    clock = Clock()
    limiter = MemoryLimiter(now=clock, max_keys=100)
    for number in range(100):
        await limiter.take([debit("2/hour", f"k{number}")])
    await limiter.take([debit("2/hour", "k0")])
    for number in range(5):
        await limiter.take([debit("2/hour", f"new{number}")])
    assert len(limiter) <= 100
    assert not (await limiter.take([debit("2/hour", "k0")])).allowed, "k0 was used after k1 to k9"
    assert len(limiter) <= 100
    for number in range(10_000):
        await limiter.take([debit("2/hour", f"flood{number}")])
        assert len(limiter) <= 100


def test_a_limiter_without_room_is_refused() -> None:
    """It could not count anything."""
    with pytest.raises(ValueError, match="max_keys: must be at least 1"):
        MemoryLimiter(max_keys=0)
