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
        next_arrival, wait, *_ = limit.take(arrival, now)
        if wait == 0:
            moments.append(now)
            arrival = next_arrival
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
        next_arrival, wait, *_ = limit.take(arrival, now)
        if wait:
            assert limit.take(arrival, now + wait - 1)[1] == 1
            assert limit.take(arrival, now + wait)[1] == 0
        else:
            arrival = next_arrival


@given(LIMITS, st.integers(0, 10**12))
def test_after_a_long_rest_the_whole_burst_is_there_again(limit: Gcra, start: int) -> None:
    """And not one call more, however long the rest was."""
    arrival = None
    for now in (start, start + 10**12):
        for _ in range(limit.burst):
            arrival, wait, *_ = limit.take(arrival, now)
            assert wait == 0
        assert limit.take(arrival, now)[1] == limit.interval_us


@given(LIMITS, GAPS, st.integers(0, 10**8))
def test_a_refused_call_costs_nothing(limit: Gcra, gaps: list[int], later: int) -> None:
    """Whoever keeps what a refusal returned admits the same calls as whoever kept nothing of it."""
    arrival, now = None, 0
    for gap in gaps:
        now += gap
        next_arrival, wait, *_ = limit.take(arrival, now)
        if wait:
            assert limit.take(next_arrival, now + later) == limit.take(arrival, now + later)
        else:
            arrival = next_arrival


@given(LIMITS, GAPS)
def test_what_a_call_leaves_is_what_stands_until_the_next_one(limit: Gcra, gaps: list[int]) -> None:
    """Told with the call or asked for afterwards: it is the same."""
    arrival, now = None, 0
    for gap in gaps:
        now += gap
        arrival, _, remaining, reset = limit.take(arrival, now)
        assert (remaining, reset) == limit.state(arrival, now)
