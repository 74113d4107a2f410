"""The generic cell rate algorithm (ITU-T I.371): a token bucket kept in one number.

That number is the theoretical arrival time: when the next call would be due if calls came evenly. A call
may come early by `burst - 1` intervals and no more, so any span of time sees at most `burst + rate *
span` calls.

Time is in whole microseconds. Integers keep the promise exactly, and fit the doubles of a Redis script.
"""

from __future__ import annotations

from dataclasses import dataclass

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Gcra:
    """A rate of one per `interval_us`, of which `burst` may come at once."""

    interval_us: int
    burst: int

    def take(self, arrival_us: int | None, now_us: int) -> tuple[int, int, int, int]:
        """Count one call; gives `(arrival_us, wait_us, remaining, reset_us)`.

        `arrival_us` is what the last admitted call gave; None before the first. The call is admitted when
        `wait_us` is 0; otherwise it would be after that time. `remaining` calls more may come at once;
        `reset_us` is the time after which it is as if none had come, or where none may come, after which one
        may.
        """
        interval_us = self.interval_us
        due_us = now_us if arrival_us is None or arrival_us < now_us else arrival_us
        room_us = self.burst * interval_us - (due_us - now_us)
        if room_us < interval_us:
            wait_us = interval_us - room_us
            return due_us, wait_us, 0, wait_us
        due_us += interval_us
        room_us -= interval_us
        remaining = room_us // interval_us
        return due_us, 0, remaining, due_us - now_us if remaining else interval_us - room_us

    def state(self, arrival_us: int | None, now_us: int) -> tuple[int, int]:
        """`remaining` and `reset_us` as long as no call comes."""
        due_us = now_us if arrival_us is None else max(arrival_us, now_us)
        room_us = self.burst * self.interval_us - (due_us - now_us)
        remaining = room_us // self.interval_us
        return (remaining, due_us - now_us) if remaining > 0 else (0, self.interval_us - room_us)
