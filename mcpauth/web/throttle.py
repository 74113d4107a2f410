"""Slows down guessing: a few quick tries are free, then each takes its time (the generic cell rate
algorithm).

A try is reserved before the password is looked at, and given back when it was right. So many tries at the
same moment gain nothing over as many in a row, and whoever signs in often is not slowed down.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MAX_KEYS = 50_000


@dataclass(frozen=True, slots=True)
class Pace:
    """`burst` tries at once, then one every `interval` seconds."""

    burst: int
    interval: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one try is counted under: a key, and how many tries it allows."""

    key: str
    pace: Pace


class Throttle:
    """Counts tries, in this process; forgets whatever has recovered."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic, max_keys: int = _MAX_KEYS) -> None:
        self._now = now
        self._max_keys = max_keys
        # For each key the moment at which it will have recovered completely.
        self._recovered_at: dict[str, float] = {}

    def reserve(self, attempts: Sequence[Attempt]) -> float:
        """Count one try under every key. 0 when all allow it, else the seconds to wait: nothing is counted
        then.
        """
        now = self._now()
        wait = max((self._wait(attempt, now) for attempt in attempts), default=0.0)
        if wait <= 0:
            self._forget(now, room_for=len(attempts))
            for attempt in attempts:
                # Put back at the end, so that the dictionary stays in the order of the latest tries.
                recovered_at = max(self._recovered_at.pop(attempt.key, now), now)
                self._recovered_at[attempt.key] = recovered_at + attempt.pace.interval
        return max(wait, 0.0)

    def give_back(self, attempts: Sequence[Attempt]) -> None:
        """The reserved try was a right one."""
        for attempt in attempts:
            if attempt.key in self._recovered_at:
                self._recovered_at[attempt.key] -= attempt.pace.interval

    def _wait(self, attempt: Attempt, now: float) -> float:
        recovered_at = max(self._recovered_at.get(attempt.key, now), now)
        return recovered_at + attempt.pace.interval - now - attempt.pace.burst * attempt.pace.interval

    def _forget(self, now: float, *, room_for: int) -> None:
        if len(self._recovered_at) + room_for <= self._max_keys:
            return
        for key in [key for key, recovered_at in self._recovered_at.items() if recovered_at <= now]:
            del self._recovered_at[key]
        while len(self._recovered_at) + room_for > self._max_keys:
            del self._recovered_at[next(iter(self._recovered_at))]
