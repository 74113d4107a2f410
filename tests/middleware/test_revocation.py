"""A revoked token ends within seconds: by the list of this project's server, and what if there is none."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from mcpauth_middleware import AuthorizationServer, InvalidToken, Policy
from mcpauth_middleware.background import Background
from mcpauth_middleware.errors import Unavailable
from mcpauth_middleware.principal import Principal
from mcpauth_middleware.tokens.revocation import METADATA_MEMBER, Pace, RevocationList
from tests.authorization_server import grants_helpers
from tests.middleware.edge_helpers import (
    ISSUER,
    NOW,
    RESOURCE,
    Clock,
    IssuerServer,
    Journal,
    RecordingApp,
    bearer,
    claims,
    client_of,
    post,
    protect,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

    from mcpauth_middleware import McpAuthMiddleware
    from mcpauth_middleware.asgi import Event, Receive, Scope, Send

pytestmark = pytest.mark.anyio

FAST = Pace(wait=1, pause=0.01, retry=0.01)


@dataclass
class Listing:
    """An authorization server with a revocation list, as this project's contract has it."""

    revoked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    status: int = 200
    body: bytes | None = None
    has_list: bool = True
    requests: list[tuple[bytes, bytes | None]] = field(default_factory=list[tuple[bytes, bytes | None]])
    changed: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/revoked":
            server = IssuerServer()
            if self.has_list:
                server.documents["/.well-known/oauth-authorization-server"][METADATA_MEMBER] = (
                    f"{ISSUER}/revoked"
                )
            await server(scope, receive, send)
            return
        known = dict(scope["headers"]).get(b"if-none-match")
        self.requests.append((scope["query_string"], known))
        if known == self.etag and scope["query_string"]:
            with anyio.move_on_after(0.2):
                await self.changed.wait()
        status = 304 if known == self.etag and self.status == 200 else self.status
        body = b"" if status == 304 else self.body or json.dumps({"revoked": self.revoked}).encode()
        await send({"type": "http.response.start", "status": status, "headers": [(b"etag", self.etag)]})
        await send({"type": "http.response.body", "body": body})

    @property
    def etag(self) -> bytes:
        return b'"%d"' % len(self.revoked)

    def revoke(self, **entry: Any) -> None:
        self.revoked.append({**entry, "until": NOW + 600})
        self.changed.set()
        self.changed = anyio.Event()


def principal(**changed: Any) -> Principal:
    members = claims(**changed)
    return Principal(
        issuer=members["iss"],
        subject="user-1",
        client_id="client-1",
        scopes=frozenset(),
        resource=RESOURCE,
        expires_at=NOW + 600,
        token_id=members["jti"],
        claims=members,
    )


@dataclass
class Subject:
    """A list that is followed, and what it told."""

    server: Listing
    background: Background = field(default_factory=Background)
    clock: Clock = field(default_factory=Clock)
    changes: int = 0

    def following(self, *, required: bool = False, in_use: bool = False, pace: Pace = FAST) -> RevocationList:
        def changed() -> None:
            self.changes += 1

        return RevocationList(
            ISSUER,
            required=required,
            changed=changed,
            in_use=lambda: in_use,
            background=self.background,
            now=self.clock,
            http_client=client_of(self.server),
            pace=pace,
        )


@asynccontextmanager
async def subject_of(server: Listing) -> AsyncGenerator[Subject]:
    subject = Subject(server)
    try:
        yield subject
    finally:
        await subject.background.aclose()


async def test_a_revoked_token_and_a_revoked_grant_are_refused_and_no_others() -> None:
    """The claims `jti` and `grant_id` of RFC 9068 tokens of this project's server."""
    server = Listing()
    server.revoke(jti="token-2")
    server.revoke(grant_id="grant-2")
    async with subject_of(server) as subject:
        revocations = subject.following()

        await revocations.check(principal(grant_id="grant-1"))
        await revocations.check(principal(jti="grant-2"))  # another claim
        await revocations.check(principal(jti="token-2", iss="https://other.example"))
        for bad in (principal(jti="token-2"), principal(grant_id="grant-2")):
            with pytest.raises(InvalidToken) as raised:
                await revocations.check(bad)
            assert raised.value.reason == "revoked"


async def test_what_is_revoked_later_is_known_at_once() -> None:
    """A waiting request is answered as soon as the list changes."""
    server = Listing()
    async with subject_of(server) as subject:
        revocations = subject.following()
        await revocations.check(principal())
        await anyio.sleep(0.05)  # now a request waits

        server.revoke(jti="token-1")
        await anyio.sleep(0.1)

        with pytest.raises(InvalidToken):
            await revocations.check(principal())
        assert subject.changes == 1
        assert server.requests[0] == (b"", None)
        assert server.requests[1] == (b"wait=1", b'"0"')


async def test_one_task_follows_the_list_whatever_the_number_of_requests() -> None:
    """The first requests wait for the first list together."""
    server = Listing()
    async with subject_of(server) as subject:
        revocations = subject.following()
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(revocations.check, principal())

        assert [query for query, _ in server.requests] in ([b""], [b"", b"wait=1"])
        for _ in range(20):
            await revocations.check(principal())
        assert len(server.requests) <= 2


async def test_a_server_that_does_not_hold_requests_back_is_polled_with_a_pause() -> None:
    """Bounded polling: no faster than the pause, whatever the server does."""
    server = Listing(body=b'{"revoked": []}')

    async def at_once(scope: Scope, receive: Receive, send: Send) -> None:
        await server({**scope, "headers": []}, receive, send)

    subject = Subject(server)
    revocations = RevocationList(
        ISSUER,
        required=False,
        changed=lambda: None,
        in_use=lambda: False,
        background=subject.background,
        now=subject.clock,
        http_client=client_of(at_once),
        pace=Pace(wait=1, pause=0.05),
    )
    await revocations.check(principal())
    await anyio.sleep(0.22)
    await subject.background.aclose()

    assert 3 <= len(server.requests) <= 6


@pytest.mark.parametrize(
    ("status", "body"), [(500, None), (404, None), (302, None), (200, b"<html>"), (200, b'{"revoked": 1}')]
)
async def test_a_list_that_cannot_be_had_stops_nobody_unless_it_is_required(
    status: int, body: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """By default the token's short life has to do; with "required" it is a 503 after a minute."""
    server = Listing(status=status, body=body)
    async with subject_of(server) as subject:
        await subject.following().check(principal())
        assert caplog.text.count("cannot be had") == 1

        required = subject.following(required=True)
        with pytest.raises(Unavailable) as raised:
            await required.check(principal())
        assert raised.value.reason == "revocation_unknown"

        server.status, server.body = 200, None
        await anyio.sleep(0.1)
        await required.check(principal())

        server.status = 500
        await anyio.sleep(0.3)
        subject.clock.time += 60
        await required.check(principal())
        subject.clock.time += 1
        with pytest.raises(Unavailable):
            await required.check(principal())


async def test_what_was_revoked_stays_revoked_through_an_outage() -> None:
    """The last list counts until there is another."""
    server = Listing()
    server.revoke(jti="token-1")
    async with subject_of(server) as subject:
        revocations = subject.following()
        with pytest.raises(InvalidToken):
            await revocations.check(principal())

        server.status = 500
        await anyio.sleep(0.3)
        with pytest.raises(InvalidToken):
            await revocations.check(principal())


async def test_a_server_without_a_list_is_not_asked_again() -> None:
    """Other projects' servers have none; their tokens live until they expire."""
    server = Listing(has_list=False)
    async with subject_of(server) as subject:
        revocations = subject.following()
        for _ in range(3):
            await revocations.check(principal())
        assert server.requests == []
        assert not subject.background.tasks

        with pytest.raises(Unavailable):
            await subject.following(required=True).check(principal())


async def test_a_list_that_a_server_publishes_later_is_found_within_the_hour() -> None:
    """A resource server may run for longer than the version it was started with."""
    server = Listing(has_list=False)
    async with subject_of(server) as subject:
        revocations = subject.following()
        await revocations.check(principal())

        server.has_list = True
        server.revoke(jti="token-1")
        subject.clock.time += 3599
        await revocations.check(principal())
        assert server.requests == []
        subject.clock.time += 1
        with pytest.raises(InvalidToken):
            await revocations.check(principal())


async def test_a_list_that_the_metadata_does_not_name_for_a_while_is_not_given_up() -> None:
    """As when a server goes back to an older version for some minutes, and nobody asks meanwhile."""
    server = Listing()
    async with subject_of(server) as subject:
        revocations = subject.following()
        await revocations.check(principal())
        server.status, server.has_list = 503, False
        server.revoke(jti="token-2")
        await anyio.sleep(0.3)
        subject.clock.time += 900
        await anyio.sleep(0.3)
        assert not subject.background.tasks
        await revocations.check(principal())

        server.status, server.has_list = 200, True
        server.revoke(jti="token-1")
        await anyio.sleep(0.3)
        with pytest.raises(InvalidToken):
            await revocations.check(principal())


async def test_an_etag_that_cannot_be_sent_back_does_not_stop_the_list() -> None:
    """RFC 9110 §8.8.3: a name for what comes, and nothing that has to be understood."""

    class Odd(Listing):
        @property
        def etag(self) -> bytes:
            return b'"%d\xe9"' % len(self.revoked)

    server = Odd()
    async with subject_of(server) as subject:
        revocations = subject.following()
        await revocations.check(principal())
        server.revoke(jti="token-1")
        await anyio.sleep(0.3)
        with pytest.raises(InvalidToken):
            await revocations.check(principal())
    assert {known for _, known in server.requests} == {None}


async def test_without_traffic_nobody_asks_and_the_next_request_begins_anew() -> None:
    """Unless a stream is open, which must end when its grant does."""
    server = Listing()
    async with subject_of(server) as subject:
        idle, listening = subject.following(), subject.following(in_use=True)
        await idle.check(principal())
        await listening.check(principal())
        subject.clock.time += 900
        await anyio.sleep(0.5)
        assert len(subject.background.tasks) == 1  # the one that a stream needs

        server.revoke(jti="token-1")
        with pytest.raises(InvalidToken):
            await idle.check(principal())


async def test_a_list_over_http_must_be_on_https() -> None:
    """It decides what is valid."""
    server = Listing()

    async def elsewhere(scope: Scope, receive: Receive, send: Send) -> None:
        documents = IssuerServer()
        documents.documents["/.well-known/oauth-authorization-server"][METADATA_MEMBER] = (
            "http://as.example/revoked"
        )
        await documents(scope, receive, send)

    background = Background()
    revocations = RevocationList(
        ISSUER,
        required=True,
        changed=lambda: None,
        in_use=lambda: False,
        background=background,
        now=Clock(),
        http_client=client_of(elsewhere),
    )
    with pytest.raises(Unavailable):
        await revocations.check(principal())
    await background.aclose()
    assert server.requests == []


async def test_the_middleware_answers_401_for_a_revoked_token_and_the_tool_does_not_run() -> None:
    """RFC 6750 §3.1; with the cache of verified tokens on."""
    server, app, journal = Listing(), RecordingApp(), Journal()
    async with lasting(app, http_client=client_of(server), audit=journal) as middleware:
        client = client_of(middleware)
        assert (await post(client, "tools/list")).status_code == 200

        server.revoke(jti="token-1")
        first = await refused(client)
        ran = len(app.scopes)
        again = await post(client, "tools/list")

        for response in (first, again):
            assert response.status_code == 401
            assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
        assert len(app.scopes) == ran
        assert journal.events[-1]["reason"] == "revoked"
        assert (await post(client, "tools/list", headers=bearer(jti="another"))).status_code == 200


async def test_a_required_list_that_cannot_be_had_is_503_and_nothing_runs() -> None:
    """Whether the token is good cannot be told."""
    app = RecordingApp()
    unreachable = client_of(Listing(status=500))
    async with lasting(app, http_client=unreachable, revocation="required") as middleware:
        response = await post(client_of(middleware), "tools/list")

    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert not app.scopes


def test_a_required_list_needs_a_server_that_can_have_one() -> None:
    """Found at start."""
    by_hand = AuthorizationServer(ISSUER, jwks_uri=f"{ISSUER}/jwks")
    with pytest.raises(ValueError, match=r"^revocation: is required"):
        protect(RecordingApp(), verifier=None, authorization_servers=[by_hand], revocation="required")
    with pytest.raises(ValueError, match=r"^revocation: must be one of"):
        protect(RecordingApp(), verifier=None, revocation="perhaps")


async def test_our_own_servers_list_is_understood_and_ends_a_grant_within_seconds() -> None:
    """The contract of docs/authorization-server.md, with the real server behind it."""
    async with grants_helpers.service() as service:
        client = await service.public_client()
        first, second = [
            {"Authorization": f"Bearer {tokens['access_token']}"}
            for tokens in (await service.user_tokens(client), await service.user_tokens(client))
        ]
        options: dict[str, Any] = {
            "resource": grants_helpers.NOTES,
            "authorization_servers": [grants_helpers.ISSUER],
            "policy": Policy.from_toml('version = 1\n[[rules]]\nid = "all"\nallow = { methods = ["*"] }'),
            "http_client": service.http,
            "now": service.clock,
        }
        async with lasting(RecordingApp(), **options) as middleware:
            http = client_of(middleware, base_url="https://notes.example")
            for headers in (first, second):
                assert (await post(http, "tools/list", headers=headers)).status_code == 200

            ended = first["Authorization"].removeprefix("Bearer ")
            await service.revoke(client, ended)

            assert (await refused(http, first)).status_code == 401
            assert (await post(http, "tools/list", headers=second)).status_code == 200


@asynccontextmanager
async def lasting(app: RecordingApp, **options: Any) -> AsyncGenerator[McpAuthMiddleware]:
    """The app behind the middleware, and at last what a server does at its end."""

    async def with_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    middleware = protect(with_lifespan, verifier=None, **options)
    events = iter(["lifespan.startup", "lifespan.shutdown"])
    sent: list[str] = []

    async def receive() -> Event:
        return {"type": next(events)}

    async def send(event: Event) -> None:
        sent.append(event["type"])

    try:
        yield middleware
    finally:
        await middleware({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def refused(client: httpx2.AsyncClient, headers: dict[str, str] | None = None) -> httpx2.Response:
    """The first answer that is not 200: the list is followed in the background."""
    with anyio.fail_after(10):
        for _ in range(1000):
            response = await post(client, "tools/list", headers=headers)
            if response.status_code != 200:
                return response
            await anyio.sleep(0.02)
    raise TimeoutError


async def test_shutdown_ends_the_task_that_follows_the_list() -> None:
    """Nothing is left that would hold up the process."""
    before = asyncio.all_tasks()
    async with lasting(RecordingApp(), http_client=client_of(Listing())) as middleware:
        await post(client_of(middleware), "tools/list")
        assert asyncio.all_tasks() > before

    assert asyncio.all_tasks() == before
