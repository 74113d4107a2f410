"""Who is calling, as a tool sees it on every stack, and whose session it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.middleware.edge_helpers import rpc
from tests.stacks.stacks import ERAS, STACKS, Era

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx2

    from tests.stacks.running import Running

pytestmark = pytest.mark.anyio

WITH_SESSIONS = [name for name, stack in STACKS.items() if stack.has_sessions]


async def whoami(
    up: Running, client: httpx2.AsyncClient, era: Era, headers: Mapping[str, str]
) -> dict[str, Any]:
    response = await up.post(client, era, "tools/call", {"name": "whoami"}, headers=headers)
    answer: dict[str, Any] = json.loads(rpc(response)["result"]["content"][0]["text"])
    return answer


@pytest.mark.parametrize(("name", "era"), ERAS)
async def test_a_tool_knows_its_caller(start: Callable[[str], Running], name: str, era: Era) -> None:
    """`current_principal()`, and the stack's own `get_access_token()`, which holds no token."""
    up = start(name)
    async with up.client() as client:
        session = await up.session(client, era, up.bearer(sub="ada"))
        seen = await whoami(up, client, era, {**up.bearer(sub="ada"), **session})

    assert seen["subject"] == "ada"
    assert seen["scopes"] == seen["stack"]["scopes"] == ["files:read"]
    assert seen["stack"]["client_id"] == "client-1"
    assert seen["stack"]["token"].startswith("removed-by-mcpauth:")


@pytest.mark.parametrize(("name", "era"), ERAS)
async def test_a_tool_sees_the_token_of_its_own_message(
    start: Callable[[str], Running], name: str, era: Era
) -> None:
    """A session goes on with a refreshed or stepped-up token, and nothing of the first one is left."""
    up = start(name)
    first, second = up.bearer(), up.bearer(scope="files:write x:y", jti="second")
    async with up.client() as client:
        session = await up.session(client, era, first)
        before = await whoami(up, client, era, {**first, **session})
        after = await whoami(up, client, era, {**second, **session})
        again = await whoami(up, client, era, {**first, **session})

    assert [seen["token_id"] for seen in (before, after, again)] == ["ada-1", "second", "ada-1"]
    stands_for_it = [seen["stack"]["token"] for seen in (before, after, again)]
    assert stands_for_it[0] == stands_for_it[2] != stands_for_it[1]
    assert after["scopes"] == after["stack"]["scopes"] == ["files:write", "x:y"]
    assert again["scopes"] == again["stack"]["scopes"] == ["files:read"]


@pytest.mark.parametrize("other", [{"sub": "eve"}, {"client_id": "client-2"}])
@pytest.mark.parametrize("name", WITH_SESSIONS)
async def test_a_session_is_of_no_use_with_another_principals_token(
    start: Callable[[str], Running], name: str, other: Mapping[str, str]
) -> None:
    """MCP security best practices, "Session Hijacking": as if it never was; its owner goes on."""
    up = start(name)
    theirs = up.bearer(**other)
    async with up.client() as client:
        session = await up.session(client, "handshake", up.bearer())
        ran = len(up.ran())
        called = await up.post(
            client, "handshake", "tools/call", {"name": "read_file"}, headers={**theirs, **session}
        )
        listened = await client.get(up.path, headers={**theirs, **session, "Accept": "text/event-stream"})
        ended = await client.delete(up.path, headers={**theirs, **session})
        unknown = {**theirs, "Mcp-Session-Id": "0" * 32}
        never = await up.post(client, "handshake", "tools/call", {"name": "read_file"}, headers=unknown)
        assert len(up.ran()) == ran
        assert called.status_code == never.status_code
        assert called.status_code in (400, 404)
        assert (called.json()["error"], called.json()["id"]) == (never.json()["error"], never.json()["id"])
        assert listened.status_code in (400, 404)
        assert ended.status_code in (400, 404)

        own = await whoami(up, client, "handshake", {**up.bearer(), **session})
    assert own["subject"] == "ada"


@pytest.mark.parametrize("name", WITH_SESSIONS)
async def test_the_servers_own_session_id_is_of_no_use(start: Callable[[str], Running], name: str) -> None:
    """Without its tag an id binds nobody, so it is not taken."""
    up = start(name)
    async with up.client() as client:
        session = await up.session(client, "handshake", up.bearer())
        own = {"Mcp-Session-Id": session["Mcp-Session-Id"].partition(".")[2]}
        assert own["Mcp-Session-Id"]
        ran = len(up.ran())
        answer = await up.post(
            client, "handshake", "tools/call", {"name": "read_file"}, headers={**up.bearer(), **own}
        )
    assert answer.status_code in (400, 404)
    assert len(up.ran()) == ran


@pytest.mark.parametrize("name", WITH_SESSIONS)
async def test_a_session_ends_when_its_owner_ends_it(start: Callable[[str], Running], name: str) -> None:
    """The tag does not stand in the way of DELETE and of GET streams."""
    up = start(name)
    async with up.client() as client:
        session = await up.session(client, "handshake", up.bearer())
        headers = {**up.bearer(), **session, "Accept": "text/event-stream"}
        async with client.stream("GET", up.path, headers=headers) as stream:
            assert stream.status_code == 200
            assert stream.headers["Content-Type"].startswith("text/event-stream")
        ended = await client.delete(up.path, headers={**up.bearer(), **session})
        gone = await up.post(client, "handshake", "tools/list", headers={**up.bearer(), **session})
    assert ended.status_code == 200
    assert gone.status_code in (400, 404)
