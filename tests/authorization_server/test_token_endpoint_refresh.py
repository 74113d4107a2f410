"""The refresh token grant at the token endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcpauth.events import GrantRevoked, RefreshTokenReused, TokenRefreshed
from tests.authorization_server.core_helpers import NOTES, TASKS, CoreServer, core_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

DAY = 24 * 3600


@pytest.fixture
async def server() -> AsyncGenerator[CoreServer]:
    async with core_server() as server:
        yield server


async def test_a_refresh_token_becomes_new_tokens(server: CoreServer) -> None:
    """RFC 6749 §6, with rotation (RFC 9700 §4.14.2)."""
    client = await server.public_client()
    first = await server.tokens(client)
    second = (await server.refresh(client, first["refresh_token"])).json()
    assert second.keys() == first.keys()
    assert second["scope"] == first["scope"]
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] != first["refresh_token"]
    assert (await server.refresh(client, second["refresh_token"])).status_code == 200
    assert len(server.events(TokenRefreshed)) == 2


async def test_rotating_leaves_one_record_however_often(server: CoreServer) -> None:
    client = await server.public_client()
    token = (await server.tokens(client))["refresh_token"]
    for _ in range(10):
        token = (await server.refresh(client, token)).json()["refresh_token"]
    assert len(await server.store.list("refresh_token")) == 1


@pytest.mark.parametrize("rotations", [1, 2, 5])
async def test_a_rotated_refresh_token_ends_the_grant(server: CoreServer, rotations: int) -> None:
    """RFC 9700 §4.14.2: whoever used it second, the newest token dies too."""
    client = await server.public_client()
    stolen = token = (await server.tokens(client))["refresh_token"]
    for _ in range(rotations):
        token = (await server.refresh(client, token)).json()["refresh_token"]
    reused = await server.refresh(client, stolen)
    assert (reused.status_code, reused.json()["error"]) == (400, "invalid_grant")
    assert (await server.refresh(client, token)).json()["error"] == "invalid_grant"
    assert await server.grants.list("alice") == ()
    assert len(server.events(RefreshTokenReused)) == 1
    (revoked,) = server.events(GrantRevoked)
    assert revoked.reason == "refresh_token_reused"


async def test_other_grants_of_the_same_client_and_user_live_on(server: CoreServer) -> None:
    client = await server.public_client()
    first, other = await server.tokens(client), await server.tokens(client)
    await server.refresh(client, first["refresh_token"])
    assert (await server.refresh(client, first["refresh_token"])).status_code == 400
    assert (await server.refresh(client, other["refresh_token"])).status_code == 200


@pytest.mark.parametrize("token", ["x", "A" * 65, "A" * 64, "é" * 65, "A" * 66, "a.b.c"])
async def test_an_unknown_refresh_token_is_refused_and_ends_nothing(server: CoreServer, token: str) -> None:
    client = await server.public_client()
    kept = (await server.tokens(client))["refresh_token"]
    response = await server.refresh(client, token)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert (await server.refresh(client, kept)).status_code == 200


async def test_another_clients_refresh_token_is_refused_and_stays_good(server: CoreServer) -> None:
    """RFC 6749 §10.4: bound to the client."""
    client, thief = await server.public_client(), await server.public_client()
    old = (await server.tokens(client))["refresh_token"]
    token = (await server.refresh(client, old)).json()["refresh_token"]
    assert (await server.refresh(thief, token)).json()["error"] == "invalid_grant"
    assert (await server.refresh(thief, old)).json()["error"] == "invalid_grant"
    assert (await server.refresh(client, token)).status_code == 200


async def test_a_public_client_does_not_refresh_with_a_basic_header(server: CoreServer) -> None:
    """It is registered for `none`; RFC 6749 §2.3.1 is for clients that have a password."""
    client = await server.public_client()
    token = (await server.tokens(client))["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token}
    for secret in ("", "x"):
        refused = await server.post("/token", form, auth=(client.client_id, secret))
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    assert (await server.refresh(client, token)).status_code == 200


async def test_a_code_or_access_token_is_no_refresh_token(server: CoreServer) -> None:
    client = await server.public_client()
    code = await server.code(client)
    access_token = (await server.tokens(client))["access_token"]
    for token in (code, access_token):
        assert (await server.refresh(client, token)).json()["error"] == "invalid_grant"
    assert (await server.redeem(client, code)).status_code == 200


async def test_a_narrower_scope_narrows_the_access_token_only(server: CoreServer) -> None:
    """RFC 6749 §6: the new refresh token has the scope of the old one."""
    client = await server.public_client()
    token = (await server.tokens(client))["refresh_token"]
    narrow = (await server.refresh(client, token, scope="notes:read")).json()
    assert narrow["scope"] == "notes:read"
    wide = (await server.refresh(client, narrow["refresh_token"])).json()
    assert wide["scope"] == "notes:read notes:write"


async def test_a_wider_scope_or_another_resource_is_refused_and_leaves_the_token(server: CoreServer) -> None:
    """RFC 6749 §6, RFC 8707 §2.2: nothing is rotated."""
    client = await server.public_client()
    token = (await server.tokens(client))["refresh_token"]
    wider = await server.refresh(client, token, scope="notes:read notes:admin")
    elsewhere = await server.refresh(client, token, resource=TASKS)
    assert (wider.status_code, wider.json()["error"]) == (400, "invalid_scope")
    assert (elsewhere.status_code, elsewhere.json()["error"]) == (400, "invalid_target")
    assert (await server.refresh(client, token, resource=NOTES)).status_code == 200


async def test_a_refresh_token_unused_for_30_days_is_dead(server: CoreServer) -> None:
    """RFC 9700 §4.14.2, decided at use."""
    client = await server.public_client()
    token = (await server.tokens(client))["refresh_token"]
    server.clock.advance(30 * DAY - 1)
    token = (await server.refresh(client, token)).json()["refresh_token"]
    server.clock.advance(30 * DAY)
    response = await server.refresh(client, token)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


async def test_no_refreshing_makes_a_grant_older_than_90_days(server: CoreServer) -> None:
    client = await server.public_client()
    token = (await server.tokens(client))["refresh_token"]
    for _ in range(3):
        server.clock.advance(29 * DAY)
        token = (await server.refresh(client, token)).json()["refresh_token"]
    server.clock.advance(3 * DAY - 1)
    token = (await server.refresh(client, token)).json()["refresh_token"]
    server.clock.advance(1)
    response = await server.refresh(client, token)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert await server.grants.list("alice") == ()


async def test_a_revoked_grant_refreshes_no_more(server: CoreServer) -> None:
    client = await server.public_client()
    token = (await server.tokens(client))["refresh_token"]
    (grant,) = await server.grants.list("alice")
    assert await server.grants.revoke(grant.grant_id, reason="user")
    assert not await server.grants.revoke(grant.grant_id, reason="user"), "it ends once"
    assert (await server.refresh(client, token)).json()["error"] == "invalid_grant"
    assert len(server.events(GrantRevoked)) == 1


async def test_a_disabled_user_gets_no_tokens_and_keeps_the_grant(server: CoreServer) -> None:
    client = await server.public_client()
    token = (await server.tokens(client))["refresh_token"]
    server.disabled_users.add("alice")
    assert (await server.refresh(client, token)).json()["error"] == "invalid_grant"
    server.disabled_users.clear()
    assert (await server.refresh(client, token)).status_code == 200, "nothing was rotated"


async def test_a_missing_refresh_token_is_an_invalid_request(server: CoreServer) -> None:
    client = await server.public_client()
    form = {"grant_type": "refresh_token", "client_id": client.client_id}
    response = await server.post("/token", form)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
