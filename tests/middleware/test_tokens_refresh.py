"""The keys of an issuer are renewed without anyone waiting: RFC 7517, and a clock that the test moves."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from mcpauth_middleware import InvalidToken, JwtVerifier
from mcpauth_middleware.background import Background, CallCancelled, SharedCalls, SharedRun, TooManyCalls
from tests.middleware.edge_helpers import (
    ED25519_KEY,
    ISSUER,
    RESOURCE,
    Clock,
    IssuerServer,
    claims,
    client_of,
    mint,
    public_jwk,
)

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import Receive, Scope, Send

pytestmark = pytest.mark.anyio


@dataclass
class SlowIssuer:
    """An issuer that answers when the test lets it."""

    server: IssuerServer = field(default_factory=IssuerServer)
    slow: bool = False
    asked: anyio.Event = field(default_factory=anyio.Event)
    go_on: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.slow:
            self.asked.set()
            await self.go_on.wait()
        await self.server(scope, receive, send)

    @property
    def key_requests(self) -> int:
        return self.server.requests.count("/jwks")


def verifier(issuer: SlowIssuer, clock: Clock, background: Background | None = None) -> JwtVerifier:
    return JwtVerifier(
        resource=RESOURCE, issuers=[ISSUER], http_client=client_of(issuer), background=background, now=clock
    )


def token_at(clock: Clock) -> str:
    return mint(claims(exp=int(clock.time) + 600))


async def settled(background: Background) -> None:
    """Every background task has run to its end."""
    if background.tasks:
        await asyncio.wait(background.tasks, timeout=2)
    assert not background.tasks


async def test_nobody_waits_while_the_keys_are_renewed() -> None:
    """From five minutes on one task asks; tokens are verified with the keys at hand meanwhile."""
    issuer, clock, background = SlowIssuer(), Clock(), Background()
    subject = verifier(issuer, clock, background)
    await subject.verify(mint())

    issuer.slow, clock.time = True, clock.time + 300
    with anyio.fail_after(1):
        for _ in range(20):
            assert (await subject.verify(token_at(clock))).subject == "user-1"
    await issuer.asked.wait()
    assert issuer.key_requests == 1

    issuer.go_on.set()
    await settled(background)
    assert issuer.key_requests == 2


async def test_a_key_that_was_withdrawn_is_refused_once_the_background_has_asked() -> None:
    """Under traffic that is five minutes and the time of one fetch."""
    issuer, clock, background = SlowIssuer(), Clock(), Background()
    subject = verifier(issuer, clock, background)
    await subject.verify(mint())
    before = subject.generation(ISSUER)

    issuer.server.publish(public_jwk(ED25519_KEY, kid="k2"))
    clock.time += 300
    await subject.verify(token_at(clock))
    await settled(background)

    with pytest.raises(InvalidToken):
        await subject.verify(token_at(clock))
    assert subject.generation(ISSUER) is not before


async def test_the_same_keys_again_are_no_new_generation() -> None:
    """What was verified with them stays verified."""
    issuer, clock, background = SlowIssuer(), Clock(), Background()
    subject = verifier(issuer, clock, background)
    await subject.verify(mint())
    before = subject.generation(ISSUER)

    clock.time += 300
    await subject.verify(token_at(clock))
    await settled(background)

    assert issuer.key_requests == 2
    assert subject.generation(ISSUER) is before


async def test_an_outage_in_the_background_is_not_asked_about_again_at_once() -> None:
    """Stale if error, with a pause of ten seconds between the tries."""
    issuer, clock, background = SlowIssuer(), Clock(), Background()
    subject = verifier(issuer, clock, background)
    await subject.verify(mint())

    issuer.server.status = 500
    clock.time += 300
    for _ in range(5):
        assert (await subject.verify(token_at(clock))).subject == "user-1"
        await settled(background)
    assert issuer.key_requests == 2

    clock.time += 10
    issuer.server.status = None
    await subject.verify(token_at(clock))
    await settled(background)
    assert issuer.key_requests == 3


async def test_a_flood_of_invented_kids_shares_one_fetch() -> None:
    """Test 118: at most one refresh per interval."""
    issuer, clock, background = SlowIssuer(), Clock(), Background()
    subject = verifier(issuer, clock, background)
    await subject.verify(mint())
    refused: list[str] = []

    async def call(kid: str) -> None:
        with pytest.raises(InvalidToken) as raised:
            await subject.verify(mint(kid=kid))
        refused.append(raised.value.reason)

    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(call, f"invented-{number}")

    assert refused == ["unknown_key"] * 50
    assert issuer.key_requests == 2


async def test_a_fetch_goes_on_when_the_request_that_began_it_is_cancelled() -> None:
    """The next request finds the keys there."""
    issuer, clock = SlowIssuer(slow=True), Clock()
    subject = verifier(issuer, clock)

    with anyio.move_on_after(0.05):
        await subject.verify(mint())
    await issuer.asked.wait()
    issuer.slow = False
    issuer.go_on.set()

    assert (await subject.verify(mint())).subject == "user-1"
    assert issuer.server.requests == ["/.well-known/oauth-authorization-server", "/jwks"]


async def test_shutdown_ends_a_fetch_and_leaves_no_task() -> None:
    """Nothing of it outlives the application."""
    issuer, clock, background = SlowIssuer(), Clock(), Background()
    subject = verifier(issuer, clock, background)
    await subject.verify(mint())
    issuer.slow, clock.time = True, clock.time + 300
    await subject.verify(token_at(clock))
    await issuer.asked.wait()
    before = asyncio.all_tasks()

    await background.aclose()

    assert asyncio.all_tasks() < before
    assert not background.tasks


async def test_a_loop_that_ended_in_the_middle_of_a_fetch_does_not_stop_the_next() -> None:
    """Workers and test clients start loops of their own."""
    issuer, clock = SlowIssuer(), Clock()
    subject = verifier(issuer, clock)
    await subject.verify(mint())
    issuer.slow, clock.time = True, clock.time + 300

    def in_a_loop_of_its_own() -> None:
        asyncio.run(begin())

    async def begin() -> None:
        issuer.asked = anyio.Event()
        await subject.verify(token_at(clock))
        await issuer.asked.wait()  # and the loop ends with the fetch unanswered

    await anyio.to_thread.run_sync(in_a_loop_of_its_own)
    issuer.slow = False
    clock.time += 300

    assert (await subject.verify(token_at(clock))).subject == "user-1"
    assert issuer.key_requests == 2


async def test_what_a_background_task_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """It has nobody else to tell."""

    async def fail() -> None:
        raise ZeroDivisionError

    await SharedRun(fail, Background()).wait()

    assert "A background task failed" in caplog.text


async def test_a_background_task_has_nothing_of_the_request_that_caused_it() -> None:
    """The principal of a request must not live on in it."""
    from mcpauth_middleware.principal import principal_var

    found: list[object] = []

    async def look() -> None:
        found.append(principal_var.get(None))

    token = principal_var.set(await verifier(SlowIssuer(), Clock()).verify(mint()))
    try:
        await SharedRun(look, Background()).wait()
    finally:
        principal_var.reset(token)
    assert found == [None]


async def test_calls_with_one_key_share_their_result_and_are_bounded() -> None:
    """Also when the first of them is cancelled."""
    calls: SharedCalls[int] = SharedCalls(Background(), max_calls=1)
    go_on, runs = anyio.Event(), 0
    results: list[int] = []

    async def work() -> int:
        nonlocal runs
        runs += 1
        await go_on.wait()
        return 7

    async def call() -> None:
        results.append(await calls.result(b"a", work))

    async with anyio.create_task_group() as group:
        with anyio.move_on_after(0.01):
            await call()
        group.start_soon(call)
        group.start_soon(call)
        await anyio.lowlevel.checkpoint()
        with pytest.raises(TooManyCalls):
            await calls.result(b"b", work)
        go_on.set()

    assert (results, runs) == ([7, 7], 1)


def test_calls_that_a_closed_loop_left_behind_do_not_count(caplog: pytest.LogCaptureFixture) -> None:
    """Workers and tests end their loops in the middle of anything; the next has its full number of calls."""
    background = Background()
    calls: SharedCalls[int] = SharedCalls(background, max_calls=1)

    async def forever() -> int:
        await anyio.sleep_forever()
        return 0

    async def begin(of: SharedCalls[int]) -> None:
        waiting = asyncio.create_task(of.result(b"left behind", forever))
        await asyncio.sleep(0)
        waiting.cancel()

    async def seven() -> int:
        return 7

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin(calls))
    assert background.tasks
    loop.close()

    assert asyncio.run(calls.result(b"new", seven)) == 7
    del background, calls
    gc.collect()
    assert "Task was destroyed but it is pending" in caplog.text  # that it was is what this is about


async def test_a_shared_call_that_is_ended_at_shutdown_tells_its_waiters() -> None:
    """They must not hang."""
    background = Background()
    calls: SharedCalls[None] = SharedCalls(background, max_calls=9)

    async def wait() -> None:
        with pytest.raises(CallCancelled):
            await calls.result(b"a", anyio.sleep_forever)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.lowlevel.checkpoint()
        await background.aclose()
