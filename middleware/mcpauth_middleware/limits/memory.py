"""A limiter in this process's memory: right for one process, and for tests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcpauth_middleware.limits.gcra import MICROSECONDS
from mcpauth_middleware.limits.limiter import LimitResult, LimitState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcpauth_middleware.limits.limiter import Debit


class MemoryLimiter:
    """Counts in a dictionary of at most `max_keys`.

    When it is full, keys that are as good as unused go first, then those that were used longest ago.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic, max_keys: int = 100_000) -> None:
        if max_keys < 1:
            raise ValueError(f"max_keys: must be at least 1 (got {max_keys})")
        self._now = now
        self._max_keys = max_keys
        # Key to arrival time, in the order of their last use.
        self._arrivals: dict[str, int] = {}

    def __len__(self) -> int:
        """How many keys are kept."""
        return len(self._arrivals)

    async def take(self, debits: Sequence[Debit]) -> LimitResult:
        """Count the call under every debit, or under none if one of them refuses."""
        # Nothing in here awaits, so that no other call comes in between.
        now_us = round(self._now() * MICROSECONDS)
        arrivals = self._arrivals
        taken: dict[str, int] = {}
        states: list[LimitState] = []
        refused: tuple[int, Debit] | None = None
        for debit in debits:
            key = debit.key
            arrival_us = taken[key] if key in taken else arrivals.get(key)
            taken[key], wait_us, remaining, reset_us = debit.limit.take(arrival_us, now_us)
            states.append(LimitState(remaining, reset_us / MICROSECONDS))
            if wait_us and (refused is None or wait_us > refused[0]):
                refused = (wait_us, debit)
        if refused is not None:
            wait_us, debit = refused
            # One more, for what rounding the caller's clock may take away.
            retry_after = (wait_us + 1) / MICROSECONDS
            states = _states(debits, arrivals, now_us)
            return LimitResult(allowed=False, retry_after=retry_after, limit=debit.name, states=tuple(states))
        self._keep(taken, now_us)
        return LimitResult(allowed=True, states=tuple(states))

    def _keep(self, taken: dict[str, int], now_us: int) -> None:
        for key in taken:
            self._arrivals.pop(key, None)
        self._arrivals.update(taken)
        if len(self._arrivals) > self._max_keys:
            self._make_room(now_us)

    def _make_room(self, now_us: int) -> None:
        # A key whose time has come is as full as a new one: nothing is lost with it.
        self._arrivals = {key: arrival for key, arrival in self._arrivals.items() if arrival > now_us}
        excess = len(self._arrivals) - self._max_keys
        if excess > 0:
            # A tenth more than needed, so that a flood of new keys does not pay for this each time.
            oldest = list(self._arrivals)[: excess + self._max_keys // 10]
            for key in oldest:
                del self._arrivals[key]


def _states(debits: Sequence[Debit], arrivals: Mapping[str, int], now_us: int) -> list[LimitState]:
    states: list[LimitState] = []
    for debit in debits:
        remaining, reset_us = debit.limit.state(arrivals.get(debit.key), now_us)
        states.append(LimitState(remaining, reset_us / MICROSECONDS))
    return states
