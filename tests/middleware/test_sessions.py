"""Session ids bound to their principal, in front of a server that binds nothing (MCP 2025-11-25)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcpauth_middleware import McpAuthMiddleware
from tests.middleware.edge_helpers import bearer, client_of, edge_options, post

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import Receive, Scope, Send

pytestmark = pytest.mark.anyio

KEY = b"sixteen bytes..."


class Sessions:
    """An application that gives every request the session `own.id`, and notes the one it was asked for."""

    def __init__(self) -> None:
        self.asked: list[bytes | None] = []
        self.resumed: list[bytes] = []

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.asked.append(dict(scope["headers"]).get(b"mcp-session-id"))
        self.resumed += [value for name, value in scope["headers"] if name == b"last-event-id"]
        headers = [(b"content-type", b"application/json"), (b"Mcp-Session-Id", b"own.id")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})


def protected(app: Sessions, key: bytes | None = None, **options: bool) -> McpAuthMiddleware:
    return McpAuthMiddleware(app, **edge_options(session_key=key, **options))


async def given(app: McpAuthMiddleware, **headers: str) -> str:
    """The session id that a request gets."""
    async with client_of(app) as client:
        answer = await post(client, "ping", revision="2025-11-25", headers={**bearer(), **headers})
    session: str = answer.headers["Mcp-Session-Id"]
    return session


async def test_the_server_sees_its_own_id_and_the_client_a_tagged_one() -> None:
    """The tag is the client's proof that the id was given to this principal; a dot in the id does no harm."""
    app = Sessions()
    guarded = protected(app)
    first = await given(guarded)
    second = await given(guarded, **{"Mcp-Session-Id": first})

    assert first == second
    assert first.endswith(".own.id")
    assert app.asked == [None, b"own.id"]


@pytest.mark.parametrize("changed", [{"sub": "eve"}, {"client_id": "client-2"}])
async def test_another_principals_id_becomes_one_that_no_server_knows(changed: dict[str, str]) -> None:
    """MCP security best practices, "Session Hijacking": with any HTTP method."""
    app = Sessions()
    guarded = protected(app)
    session = {"Mcp-Session-Id": await given(guarded)}
    async with client_of(guarded) as client:
        headers = {**bearer(**changed), **session}
        await post(client, "ping", revision="2025-11-25", headers=headers)
        await client.get("/mcp", headers=headers)
        await client.delete("/mcp", headers=headers)
        # Its owner goes on.
        await client.delete("/mcp", headers={**bearer(), **session})

    assert app.asked[-1] == b"own.id"
    for asked in app.asked[1:-1]:
        assert asked is not None
        assert b"own.id" not in asked


@pytest.mark.parametrize(
    "invented", [b"own.id", b"", b".", b".own.id", b"A" * 22 + b".own.id", b"\xe9.own.id"]
)
async def test_an_id_that_was_never_given_out_is_not_taken(invented: bytes) -> None:
    """Whoever has read the server's own id somewhere has not read a session."""
    app = Sessions()
    token = bearer()["Authorization"].encode()
    async with client_of(protected(app)) as client:
        await client.get("/mcp", headers=[(b"Authorization", token), (b"Mcp-Session-Id", invented)])
    assert app.asked[0] is not None
    assert b"own.id" not in app.asked[0]


async def test_processes_with_one_key_share_their_sessions() -> None:
    """`session_key`; without it each process has its own."""
    app = Sessions()
    session = await given(protected(app, KEY))
    await given(protected(app, KEY), **{"Mcp-Session-Id": session})
    await given(protected(app), **{"Mcp-Session-Id": session})

    assert app.asked[1] == b"own.id"
    assert app.asked[2] not in (None, b"own.id")


def test_a_key_that_could_be_guessed_is_refused() -> None:
    """At least 128 bits."""
    with pytest.raises(ValueError, match="session_key: needs at least 16 random bytes"):
        McpAuthMiddleware(Sessions(), **edge_options(session_key=b"short"))


async def test_a_stream_is_resumed_only_where_the_operator_vouches_for_the_event_store(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Resumability and Redelivery: what is replayed is for the session's own user. Told in the log once."""
    app = Sessions()
    guarded = protected(app)
    for _ in range(2):
        await given(guarded, **{"Last-Event-ID": "7"})
    assert (len(app.asked), app.resumed) == (2, [])
    assert [
        record.getMessage() for record in caplog.records if "resumable_streams=True" in record.getMessage()
    ] == [caplog.records[0].getMessage()]

    await given(protected(app, resumable_streams=True), **{"Last-Event-ID": "7"})
    assert app.resumed == [b"7"]
