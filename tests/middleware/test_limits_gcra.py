"""The generic cell rate algorithm, ITU-T I.371: the promise it makes is kept exactly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mcpauth_middleware.limits.gcra import Gcra

LIMITS = st.builds(Gcra, interval_us=st.integers(1, 10_000_000), burst=st.integers(1, 20))
GAPS = st.lists(st.integers(0, 30_000_000) | st.just(0), max_size=120)


def admitted(limit: Gcra, gaps: list[int]) -> list[int]:
    """The moments of the calls that were admitted, when they come after these pauses."""
    moments: list[int] = []
    arrival, now = None, 1_000_000_000
    for gap in gaps:
        now += gap
        step = limit.take(arrival, now)
        if step.wait_us == 0:
            moments.append(now)
            arrival = step.arrival_us
    return moments


@given(LIMITS, GAPS)
def test_no_span_of_time_sees_more_than_burst_and_rate_allow(limit: Gcra, gaps: list[int]) -> None:
    """At most `burst + rate * t`, for every pair of moments."""
    moments = admitted(limit, gaps)
    for first in range(len(moments)):
        for last in range(first, len(moments)):
            span = moments[last] - moments[first]
            assert last - first + 1 <= limit.burst + span // limit.interval_us


@given(LIMITS, GAPS)
def test_the_wait_is_honest_to_the_microsecond(limit: Gcra, gaps: list[int]) -> None:
    """Refused just before it, admitted after it."""
    arrival, now = None, 0
    for gap in gaps:
        now += gap
        step = limit.take(arrival, now)
        if step.wait_us:
            assert limit.take(arrival, now + step.wait_us - 1).wait_us == 1
            assert limit.take(arrival, now + step.wait_us).wait_us == 0
        else:
            arrival = step.arrival_us


@given(LIMITS, st.integers(0, 10**12))
def test_after_a_long_rest_the_whole_burst_is_there_again(limit: Gcra, start: int) -> None:
    """And not one call more, however long the rest was."""
    arrival = None
    for now in (start, start + 10**12):
        for _ in range(limit.burst):
            step = limit.take(arrival, now)
            assert step.wait_us == 0
            arrival = step.arrival_us
        assert limit.take(arrival, now).wait_us == limit.interval_us


@given(LIMITS, GAPS, st.integers(0, 10**8))
def test_a_refused_call_costs_nothing(limit: Gcra, gaps: list[int], later: int) -> None:
    """Whoever keeps what a refusal returned admits the same calls as whoever kept nothing of it."""
    arrival, now = None, 0
    for gap in gaps:
        now += gap
        step = limit.take(arrival, now)
        if step.wait_us:
            assert limit.take(step.arrival_us, now + later) == limit.take(arrival, now + later)
        else:
            arrival = step.arrival_us
