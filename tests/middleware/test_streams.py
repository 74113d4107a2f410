"""Event streams end with their token, and at once with a revoked grant."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest

from mcpauth_middleware.background import Background
from mcpauth_middleware.exchange import Exchange
from mcpauth_middleware.message import read_message
from mcpauth_middleware.streams import ANSWER_SECONDS, MAX_ASKED, OpenStreams
from tests.middleware.edge_helpers import (
    MODERN,
    NOW,
    Clock,
    Journal,
    bearer,
    client_of,
    message,
    mint,
    protect,
    served,
)
from tests.middleware.test_revocation import Listing, principal
from tests.middleware.test_tokens_introspection import Introspecting, active, server_with, verifier

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import Event, Receive, Scope, Send
    from mcpauth_middleware.request_headers import RequestHeaders

pytestmark = pytest.mark.anyio


@dataclass
class Wire:
    """The server's side of one connection."""

    sent: list[Event] = field(default_factory=list[Any])
    clogged: anyio.Event | None = None

    async def send(self, event: Event) -> None:
        self.sent.append(event)
        if self.clogged is not None:
            await self.clogged.wait()

    async def receive(self) -> Event:
        await anyio.sleep_forever()
        raise AssertionError

    @property
    def is_ended(self) -> bool:
        return self.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def exchange(wire: Wire, method: str = "GET", call: str | None = None, **changed: Any) -> Exchange:
    made = Exchange(
        {"type": "http", "method": method, "path": "/mcp", "headers": []},
        wire.receive,
        wire.send,
        NOW,
    )
    made.principal = principal(**changed)
    if call is not None:
        params: dict[str, Any] = {"name": "read_file"}
        if call == "subscriptions/listen":
            params = {"notifications": {}}
        headers, body = message(call, params, revision=MODERN)
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        made.message = read_message(body, raw)
    return made


START: Event = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"Content-Type", b"text/event-stream; charset=utf-8")],
}


def event(data: bytes) -> Event:
    return {"type": "http.response.body", "body": b"data: " + data + b"\n\n", "more_body": True}


class Subject:
    """Streams, an application that listens until its client goes, and what became of it."""

    def __init__(self, **options: Any) -> None:
        self.clock, self.background = Clock(), Background()
        settings: dict[str, Any] = {"look_seconds": 0.05, **options}
        self.streams = OpenStreams(background=self.background, now=self.clock, **settings)
        self.left: list[str] = []

    async def listen(self, made: Exchange, name: str = "a") -> None:
        async with self.streams.limited(made):
            await made.send(dict(START))
            await made.send(event(b"hello"))
            self.left.append(f"{name} {(await made.receive())['type']}")
            await made.send(event(b"too late"))

    async def stubborn(self, made: Exchange) -> None:
        async with self.streams.limited(made):
            await made.send(dict(START))
            try:
                await anyio.sleep_forever()
            finally:
                self.left.append("cancelled")


async def test_a_stream_ends_when_its_token_does() -> None:
    """The client sees the end of the response, the application that its client has gone."""
    subject, wire = Subject(), Wire()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(subject.listen, exchange(wire))
            await anyio.sleep(0.01)
            assert len(subject.streams) == 1
            subject.clock.time = NOW + 599.95
            await anyio.sleep(0.1)
            assert not subject.left
            subject.clock.time = NOW + 600

    assert subject.left == ["a http.disconnect"]
    assert wire.is_ended
    assert b"too late" not in b"".join(each.get("body", b"") for each in wire.sent)
    assert len(subject.streams) == 0


async def test_the_task_that_watches_ends_with_the_last_stream() -> None:
    """Nothing is left when nobody listens."""
    subject, wire = Subject(), Wire()
    made = exchange(wire)
    async with anyio.create_task_group() as group:
        group.start_soon(subject.listen, made)
        await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert len(subject.streams) == 0
    with anyio.fail_after(3):
        for task in subject.background.tasks:
            await task


async def test_streams_of_a_revoked_grant_end_at_once_and_others_go_on() -> None:
    """Whoever is told that a grant has ended ends what it opened."""
    subject, wires = Subject(), [Wire(), Wire()]
    async with anyio.create_task_group() as group:
        group.start_soon(subject.listen, exchange(wires[0], grant_id="g1"), "first")
        group.start_soon(subject.listen, exchange(wires[1], grant_id="g2"), "second")
        await anyio.sleep(0.01)

        subject.streams.end(lambda who: who.claims["grant_id"] == "g1")
        await anyio.sleep(0.01)

        assert subject.left == ["first http.disconnect"]
        assert wires[0].is_ended
        assert not wires[1].is_ended
        group.cancel_scope.cancel()


class Verdict:
    """Whether a token is still good, and how often that was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: bool | Exception = True

    async def __call__(self, _sent: RequestHeaders) -> bool:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_the_token_of_an_open_stream_is_verified_again_every_half_minute() -> None:
    """No sooner: of a thousand streams, 33 are asked about a second."""
    verdict = Verdict()
    subject, wire = Subject(is_good=verdict), Wire()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(subject.listen, exchange(wire))
            await anyio.sleep(0.01)
            for at, asked in ((29.9, 0), (30, 1), (59.9, 1), (60, 2)):
                subject.clock.time = NOW + at
                await anyio.sleep(0.12)
                assert verdict.asked == asked
            verdict.answer = False
            subject.clock.time = NOW + 89
            await anyio.sleep(0.12)
            assert not subject.left
            subject.clock.time = NOW + 90

    assert subject.left == ["a http.disconnect"]
    assert wire.is_ended


async def test_a_stream_goes_on_while_nobody_can_tell(caplog: pytest.LogCaptureFixture) -> None:
    verdict = Verdict()
    verdict.answer = OSError("away")
    subject, wire = Subject(is_good=verdict), Wire()
    async with anyio.create_task_group() as group:
        group.start_soon(subject.listen, exchange(wire))
        await anyio.sleep(0.01)
        subject.clock.time = NOW + 31
        await anyio.sleep(0.15)
        assert verdict.asked == 1
        assert not wire.is_ended
        group.cancel_scope.cancel()
    assert "could not be verified again" in caplog.text


async def test_the_answer_to_a_call_that_began_in_time_is_not_cut_by_asking_about_its_expired_token() -> None:
    """It has a minute more, in which its token is no good any longer."""
    verdict = Verdict()
    verdict.answer = False
    subject, wire = Subject(is_good=verdict), Wire()
    async with anyio.create_task_group() as group:
        group.start_soon(subject.listen, exchange(wire, "POST", "tools/call"))
        await anyio.sleep(0.01)
        subject.clock.time = NOW + 600
        await anyio.sleep(0.15)
        assert verdict.asked == 0
        assert not wire.is_ended
        group.cancel_scope.cancel()


async def test_so_many_streams_are_asked_about_at_a_time() -> None:
    """The authorization server is not to be asked about all at once."""
    at_once: list[int] = []
    all_asked = anyio.Event()
    running = 0

    async def is_good(_sent: RequestHeaders) -> bool:
        nonlocal running
        running += 1
        at_once.append(running)
        if len(at_once) == 100:
            all_asked.set()
        await anyio.sleep(0.001)
        running -= 1
        return True

    subject = Subject(is_good=is_good)
    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(subject.listen, exchange(Wire()))
        await anyio.sleep(0.05)
        subject.clock.time = NOW + 31
        with anyio.fail_after(5):
            await all_asked.wait()
        group.cancel_scope.cancel()
    assert max(at_once) == MAX_ASKED


async def test_an_application_that_does_not_leave_is_cancelled_and_the_client_is_not_kept_waiting() -> None:
    """The end goes out first."""
    subject, wire = Subject(leave_seconds=0.05), Wire()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(subject.stubborn, exchange(wire))
            await anyio.sleep(0.01)
            subject.streams.end(lambda _: True)
            await anyio.sleep(0.01)
            assert wire.is_ended
            assert not subject.left
            subject.clock.time += 1

    assert subject.left == ["cancelled"]


async def test_an_application_that_ignores_it_is_cancelled_again() -> None:
    """And the request ends like any other: its task is not left marked as cancelled."""
    subject, wire = Subject(leave_seconds=0.05), Wire()
    cancelling: list[int] = []

    async def deaf(made: Exchange) -> None:
        async with subject.streams.limited(made):
            await made.send(dict(START))
            with suppress(asyncio.CancelledError):
                await anyio.sleep_forever()
            subject.left.append("ignored")
            await anyio.sleep_forever()
        task = asyncio.current_task()
        assert task is not None
        cancelling.append(task.cancelling())

    with anyio.fail_after(5):
        task = asyncio.create_task(deaf(exchange(wire)))
        await anyio.sleep(0.01)
        subject.streams.end(lambda _: True)
        while not task.done():
            subject.clock.time += 1
            await anyio.sleep(0.02)

    assert (subject.left, cancelling) == (["ignored"], [0])
    assert len(subject.streams) == 0
    assert wire.is_ended


async def test_whoever_else_cancels_the_request_cancels_it() -> None:
    """A server that goes down ends also those whose stream is about to end."""
    subject, wire = Subject(leave_seconds=60.0), Wire()
    task = asyncio.create_task(subject.stubborn(exchange(wire)))
    await anyio.sleep(0.01)
    subject.streams.end(lambda _: True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert subject.left == ["cancelled"]
    assert len(subject.streams) == 0


async def test_what_is_being_sent_is_sent_before_the_end() -> None:
    """A slow client gets its event whole, and then the end; nothing is sent twice at a time."""
    subject, wire = Subject(), Wire()

    async def busy(made: Exchange) -> None:
        async with subject.streams.limited(made):
            await made.send(dict(START))
            wire.clogged = anyio.Event()
            await made.send(event(b"long"))
            await made.send(event(b"too late"))

    async with anyio.create_task_group() as group:
        group.start_soon(busy, exchange(wire))
        await anyio.sleep(0.01)
        subject.streams.end(lambda _: True)
        await anyio.sleep(0.01)
        assert not wire.is_ended
        assert wire.clogged is not None
        wire.clogged.set()

    assert [each.get("body") for each in wire.sent[1:]] == [b"data: long\n\n", b""]


async def test_the_answer_to_a_call_that_began_in_time_has_another_minute() -> None:
    """Before 2026-07-28 every answer is a stream, and nobody asks for it again. Listening has none."""
    subject, wires = Subject(), [Wire(), Wire()]
    with anyio.fail_after(8):
        async with anyio.create_task_group() as group:
            group.start_soon(subject.listen, exchange(wires[0], "POST", "tools/call"), "call")
            group.start_soon(subject.listen, exchange(wires[1], "POST", "subscriptions/listen"), "listen")
            await anyio.sleep(0.01)
            subject.clock.time = NOW + 600
            await anyio.sleep(0.1)
            assert subject.left == ["listen http.disconnect"]
            subject.clock.time += ANSWER_SECONDS
    assert subject.left == ["listen http.disconnect", "call http.disconnect"]


async def test_an_answer_that_is_no_stream_is_left_alone() -> None:
    """A call that was admitted may finish."""
    subject, wire = Subject(), Wire()
    made = exchange(wire, "POST", "tools/call")
    async with subject.streams.limited(made):
        await made.send({**START, "headers": [(b"content-type", b"application/json")]})
        assert len(subject.streams) == 0
        subject.streams.end(lambda _: True)
        await made.send({"type": "http.response.body", "body": b"{}"})

    assert [each["type"] for each in wire.sent] == ["http.response.start", "http.response.body"]


async def test_a_stream_that_ended_by_itself_gets_no_second_end() -> None:
    """One last body, as ASGI asks."""
    subject, wire = Subject(), Wire()
    made = exchange(wire)
    async with subject.streams.limited(made):
        await made.send(dict(START))
        await made.send({"type": "http.response.body", "body": b"bye"})
        subject.streams.end(lambda _: True)
        await anyio.sleep(0.01)

    assert len(wire.sent) == 2


async def test_a_thousand_open_streams_are_watched_by_one_task() -> None:
    """Flat, and all of them end."""
    subject = Subject()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for _ in range(1000):
                group.start_soon(subject.listen, exchange(Wire()))
            await anyio.sleep(0.05)
            assert len(subject.streams) == 1000
            assert len(subject.background.tasks) == 1
            subject.clock.time = NOW + 600
    assert len(subject.left) == 1000


async def _listening(scope: Scope, receive: Receive, send: Send) -> None:
    await send(dict(START))
    await send(event(b"hello"))
    while (await receive())["type"] != "http.disconnect":
        pass


async def test_over_http_a_listening_client_sees_a_clean_end_when_its_grant_is_revoked() -> None:
    """The response is complete; nothing is cut off."""
    listing, journal = Listing(), Journal()
    middleware = protect(
        _listening,
        verifier=None,
        http_client=client_of(listing),
        audit=journal,
        allowed_hosts=["127.0.0.1:*"],
        revocation="followed",
    )
    async with served(lambda _: middleware, lifespan="off") as url, httpx2.AsyncClient() as http:
        headers = {**bearer(mint()), "Accept": "text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
        with anyio.fail_after(10):
            async with http.stream("GET", f"{url}/mcp", headers=headers) as response:
                lines = response.aiter_lines()
                assert await anext(lines) == "data: hello"
                await anyio.sleep(0.1)
                listing.revoke(jti="token-1")
                rest = [line async for line in lines]
    assert response.status_code == 200
    assert rest == [""]


@pytest.mark.parametrize("own_verifier", [False, True])
async def test_a_stream_ends_when_introspection_calls_its_token_inactive(own_verifier: bool) -> None:
    """RFC 7662 §4: also of a server that publishes no list of what was revoked, and of one's own verifier."""
    clock = Clock()
    server = Introspecting({"opaque": active()})
    description = server_with()
    options: dict[str, Any] = {"verifier": None, "authorization_servers": [description]}
    if own_verifier:
        options["verifier"] = verifier(server, clock=clock)
    middleware = protect(
        _listening, http_client=client_of(server), now=clock, allowed_hosts=["127.0.0.1:*"], **options
    )
    async with served(lambda _: middleware, lifespan="off") as url, httpx2.AsyncClient() as http:
        headers = {**bearer("opaque"), "Accept": "text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
        with anyio.fail_after(15):
            async with http.stream("GET", f"{url}/mcp", headers=headers) as response:
                lines = response.aiter_lines()
                assert await anext(lines) == "data: hello"
                server.known["opaque"] = {"active": False}
                clock.time += 31
                rest = [line async for line in lines]
    assert response.status_code == 200
    assert rest == [""]
