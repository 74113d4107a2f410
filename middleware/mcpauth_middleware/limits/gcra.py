"""The generic cell rate algorithm (ITU-T I.371): a token bucket kept in one number.

That number is the theoretical arrival time: when the next call would be due if calls came evenly. A call
may come early by `burst - 1` intervals and no more, so any span of time sees at most `burst + rate *
span` calls.

Time is in whole microseconds. Integers keep the promise exactly, and fit the doubles of a Redis script.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

MICROSECONDS = 1_000_000


class Step(NamedTuple):
    """What one call did: admitted when `wait_us` is 0; otherwise it would be after that time."""

    arrival_us: int
    wait_us: int


@dataclass(frozen=True, slots=True)
class Gcra:
    """A rate of one per `interval_us`, of which `burst` may come at once."""

    interval_us: int
    burst: int

    def take(self, arrival_us: int | None, now_us: int) -> Step:
        """Count one call. `arrival_us` is what the last admitted call returned; None before the first."""
        due_us = now_us if arrival_us is None else max(arrival_us, now_us)
        next_us = due_us + self.interval_us
        wait_us = next_us - self.burst * self.interval_us - now_us
        if wait_us > 0:
            return Step(due_us, wait_us)
        return Step(next_us, 0)

    def state(self, arrival_us: int | None, now_us: int) -> tuple[int, int]:
        """How many calls may come now, and the microseconds after which it is as if none had come.

        Where none may come, it is the time after which one may.
        """
        due_us = now_us if arrival_us is None else max(arrival_us, now_us)
        room_us = self.burst * self.interval_us - (due_us - now_us)
        if room_us >= self.interval_us:
            return room_us // self.interval_us, due_us - now_us
        return 0, self.interval_us - room_us
