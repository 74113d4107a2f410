"""RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-11): what is told is true."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpauth_middleware import MemoryLimiter, Policy, RateLimit
from mcpauth_middleware.limits import Debit, LimitResult, LimitState
from mcpauth_middleware.limits.fields import RateLimitFields
from mcpauth_middleware.limits.gcra import Gcra
from tests.middleware.batch_helpers import call, post_batch
from tests.middleware.edge_helpers import (
    HANDSHAKE_REVISIONS,
    Clock,
    RecordingApp,
    bearer,
    client_of,
    post,
    protect,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx2

pytestmark = pytest.mark.anyio

ALL = 'version = 1\n[[rules]]\nid = "all"\nallow = { tools = ["*"] }'


class Guarded:
    """A server with limits, and a clock that is the limiter's too."""

    def __init__(self, *limits: RateLimit, policy: str = ALL) -> None:
        self.app = RecordingApp()
        self.clock = Clock()
        self.client = client_of(
            protect(
                self.app,
                limits=limits,
                limiter=MemoryLimiter(now=self.clock),
                now=self.clock,
                policy=Policy.from_toml(policy),
            )
        )

    async def batch(self, *tools: str) -> httpx2.Response:
        return await post_batch(self.client, *(call(tool, id=number) for number, tool in enumerate(tools)))

    async def call(self, tool: str = "a", *, revision: str = "2026-07-28", **claims: Any) -> httpx2.Response:
        return await post(
            self.client, "tools/call", {"name": tool}, revision=revision, headers=bearer(**claims)
        )


async def test_an_answer_tells_the_limit_and_what_is_left_of_it() -> None:
    """The headers go out before the body, so they say what is left once this call is counted."""
    guarded = Guarded(RateLimit("3/minute", name="calls"))
    responses = [await guarded.call() for _ in range(4)]
    assert {response.headers["RateLimit-Policy"] for response in responses} == {'"calls";q=3;w=60'}
    left = [response.headers["RateLimit"] for response in responses]
    assert left == ['"calls";r=2;t=20', '"calls";r=1;t=40', '"calls";r=0;t=20', '"calls";r=0;t=20']
    assert responses[3].status_code == 429
    assert responses[3].headers["Retry-After"] == "20"


async def test_what_is_left_is_there_and_no_more() -> None:
    """After `t` seconds the next call passes, and `r` calls pass at once."""
    guarded = Guarded(RateLimit("3/minute", name="calls"))
    last = [await guarded.call() for _ in range(3)][2]
    guarded.clock.time += int(last.headers["RateLimit"].rpartition("t=")[2])
    passing = await guarded.call()
    assert passing.status_code == 200
    guarded.clock.time += 60
    assert (await guarded.call()).headers["RateLimit"] == '"calls";r=2;t=20'


async def test_each_limit_that_counts_the_call_is_told() -> None:
    """And none that does not."""
    guarded = Guarded(
        RateLimit("10/minute", name="all"),
        RateLimit("5/hour", by=("user", "tool"), tools=("a*",), name="some"),
        RateLimit("2/day", tools=("b",), name="others"),
    )
    response = await guarded.call("a1")
    assert response.headers["RateLimit-Policy"] == '"all";q=10;w=60, "some";q=5;w=3600'
    assert response.headers["RateLimit"] == '"all";r=9;t=6, "some";r=4;t=720'


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
async def test_older_revisions_are_told_in_the_same_fields(revision: str) -> None:
    """Their refusal is a result, and the fields say the same as its text."""
    guarded = Guarded(RateLimit("1/minute", name="calls"))
    await guarded.call(revision=revision)
    refused = await guarded.call(revision=revision)
    assert refused.status_code == 200
    assert "Wait 60 seconds" in refused.text
    assert refused.headers["RateLimit"] == '"calls";r=0;t=60'


async def test_a_batch_tells_what_is_left_after_its_last_member() -> None:
    """Each member is counted by itself, and one of them may be refused."""
    guarded = Guarded(RateLimit("5/minute", name="calls"))
    first, second = await guarded.batch("a", "b"), await guarded.batch("a", "b", "c", "d")
    assert first.headers.get_list("RateLimit") == ['"calls";r=3;t=24']
    assert first.headers.get_list("RateLimit-Policy") == ['"calls";q=5;w=60']
    assert second.headers["RateLimit"] == '"calls";r=0;t=12'
    assert ["Rate limit" in str(answer) for answer in second.json()] == [False, False, False, True]
    guarded.clock.time += 12
    assert (await guarded.call()).status_code == 200
    assert (await guarded.call()).status_code == 429


async def test_of_members_that_are_counted_apart_a_batch_tells_the_tightest_state() -> None:
    """A limit by tool: whoever keeps to it can repeat the batch."""
    guarded = Guarded(
        RateLimit("9/minute", name="all"), RateLimit("5/hour", by=("tool",), tools=("a", "b"), name="tools")
    )
    response = await guarded.batch("b", "a", "a", "b", "a", "c")
    assert response.headers["RateLimit-Policy"] == '"all";q=9;w=60, "tools";q=5;w=3600'
    assert response.headers["RateLimit"] == '"all";r=3;t=40, "tools";r=2;t=2160'


async def test_a_batch_of_which_nothing_is_counted_tells_nothing() -> None:
    """Denied members, and a batch that has to step up."""
    denied = Guarded(RateLimit("2/minute"), policy="version = 1")
    step_up = Guarded(RateLimit("2/minute"), policy=f'{ALL}\nscopes = ["more"]')
    for guarded, status in ((denied, 200), (step_up, 403)):
        response = await guarded.batch("a", "b")
        assert response.status_code == status
        assert "RateLimit" not in response.headers
        assert "RateLimit-Policy" not in response.headers


async def test_without_limits_there_are_no_fields() -> None:
    """Nothing is counted, so nothing is told."""
    response = await Guarded().call()
    assert "RateLimit" not in response.headers
    assert "RateLimit-Policy" not in response.headers


async def test_a_refusal_that_is_not_counted_tells_nothing() -> None:
    """A denied call consumes nothing."""
    guarded = Guarded(RateLimit("2/minute"), policy="version = 1")
    assert "RateLimit" not in (await guarded.call()).headers


async def test_a_limiter_that_does_not_tell_what_is_left_is_not_guessed_for() -> None:
    """The policy alone is told."""

    class Silent:
        async def take(self, _debits: Sequence[Debit]) -> LimitResult:
            return LimitResult(allowed=True)

    guarded = protect(
        RecordingApp(),
        limits=[RateLimit("2/minute", name="x")],
        limiter=Silent(),
        policy=Policy.from_toml(ALL),
    )
    client = client_of(guarded)
    for response in (
        await post(client, "tools/call", {"name": "a"}),
        await post_batch(client, call("a", id=1), call("a", id=2)),
    ):
        assert response.headers["RateLimit-Policy"] == '"x";q=2;w=60'
        assert "RateLimit" not in response.headers


def test_a_name_is_written_as_a_string_of_structured_fields() -> None:
    """RFC 9651 §3.3.3: quote and backslash are escaped."""
    debit = Debit("k", Gcra(1, 1), 'a "b" \\c', 1, 60)
    assert RateLimitFields([debit]).told([LimitState(1, 0)]) == [
        (b"ratelimit-policy", b'"a \\"b\\" \\\\c";q=1;w=60'),
        (b"ratelimit", b'"a \\"b\\" \\\\c";r=1;t=0'),
    ]


@pytest.mark.parametrize("name", ["", "é", "a\r\nb", "x" * 101, 'tab\t"'])
def test_a_name_that_no_field_can_carry_is_refused(name: str) -> None:
    """When the server starts."""
    with pytest.raises(ValueError, match="name: must be at most 100 visible ASCII characters"):
        RateLimit("1/minute", name=name)


@given(
    rate=st.sampled_from(["5/second", "7/minute", "100/hour", "1/day"]),
    burst=st.none() | st.integers(1, 10),
    steps=st.lists(st.floats(0, 100), max_size=30),
)
def test_what_is_told_holds_at_every_moment(rate: str, burst: int | None, steps: list[float]) -> None:
    """`r` more calls pass at once and not one more; after `t` seconds there is what was promised."""
    import asyncio

    async def scenario() -> None:
        clock = Clock(1000.0)
        limiter = MemoryLimiter(now=clock)
        limit = RateLimit(rate, burst=burst)
        debit = Debit("k", limit.gcra, "n", limit.quota, limit.window)
        for step in steps:
            clock.time += step
            (state,) = (await limiter.take([debit])).states
            again = deepcopy(limiter)
            for _ in range(state.remaining):
                assert (await again.take([debit])).allowed
            refused = await again.take([debit])
            assert not refused.allowed
            if state.remaining == 0:
                told = RateLimitFields([debit]).told([state])[1][1]
                seconds = int(told.rpartition(b"t=")[2])
                assert seconds - 1 <= refused.retry_after <= seconds + 1e-3

    asyncio.run(scenario())


async def passes(guarded: Guarded, **claims: Any) -> bool:
    response = await guarded.call(**claims)
    assert response.status_code in (200, 429)
    return response.status_code == 200


async def test_by_token_each_token_has_its_own_count() -> None:
    """By its `jti`, and without one by what else tells it from the next."""
    guarded = Guarded(RateLimit("1/minute", by=("token",)))
    assert await passes(guarded, jti="one")
    assert not await passes(guarded, jti="one")
    assert await passes(guarded, jti="two")
    assert await passes(guarded, jti="one", sub="somebody else")
    assert await passes(guarded, jti=None)
    assert not await passes(guarded, jti=None)
    assert await passes(guarded, jti=None, exp=1_800_000_700)


@pytest.mark.parametrize(("policy", "claim"), [(ALL, "tenant"), (ALL + '\n[claims]\ntenant = "tid"', "tid")])
async def test_by_tenant_its_members_share_a_count(policy: str, claim: str) -> None:
    """In the claim that the policy names; those without a tenant share one too."""
    guarded = Guarded(RateLimit("1/minute", by=("tenant",)), policy=policy)
    assert await passes(guarded, **{"sub": "ada", claim: "a"})
    assert not await passes(guarded, **{"sub": "bob", claim: "a"})
    assert await passes(guarded, **{"sub": "bob", claim: "b"})
    assert await passes(guarded, sub="carol")
    assert not await passes(guarded, sub="dan")
    assert not await passes(guarded, **{"sub": "eve", claim: ["a"]})


async def test_several_dimensions_are_one_count_for_each_combination() -> None:
    """A tenant's calls of one tool."""
    guarded = Guarded(RateLimit("1/minute", by=("tenant", "tool")))
    assert await passes(guarded, tenant="a")
    assert not await passes(guarded, tenant="a", sub="other")
    assert (await guarded.call("b", tenant="a")).status_code == 200
    assert await passes(guarded, tenant="b")


def test_an_unknown_dimension_is_refused_with_the_known_ones() -> None:
    """And not silently counted as something else."""
    known = re.escape("user, client, tool, address, token, tenant")
    with pytest.raises(ValueError, match=f"by: must be a tuple of {known}"):
        RateLimit("1/minute", by=("group",))  # type: ignore[arg-type]  # the mistake is the point
