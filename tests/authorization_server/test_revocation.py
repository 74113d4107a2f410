"""Token revocation, RFC 7009."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
import pytest

from mcpauth.events import GrantRevoked
from mcpauth.stores.sqlite import SqliteStore
from tests.authorization_server.core_helpers import ISSUER, START, CoreServer, core_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import httpx2

    from mcpauth.oauth.client import Client

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncGenerator[CoreServer]:
    async with core_server() as server:
        yield server


async def revoke(server: CoreServer, client: Client, token: str, **more: str) -> httpx2.Response:
    return await server.post("/revoke", {"client_id": client.client_id, "token": token} | more)


async def is_alive(server: CoreServer, client: Client, tokens: dict[str, Any]) -> bool:
    return (await server.refresh(client, tokens["refresh_token"])).status_code == 200


@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
@pytest.mark.parametrize("hint", [{}, {"token_type_hint": "access_token"}, {"token_type_hint": "x"}])
async def test_either_token_ends_the_grant_whatever_the_hint(
    server: CoreServer, kind: str, hint: dict[str, str]
) -> None:
    """RFC 7009 §2.1, public clients included (§5)."""
    client = await server.public_client()
    tokens = await server.tokens(client)
    response = await revoke(server, client, tokens[kind], **hint)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["cache-control"] == "no-store"
    assert not await is_alive(server, client, tokens)
    assert await server.grants.list("alice") == ()
    (event,) = server.events(GrantRevoked)
    assert event.reason == "client"


async def test_a_client_with_a_secret_revokes_with_it(server: CoreServer) -> None:
    client, secret = await server.secret_client()
    code = await server.code(client)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uris[0],
        "code_verifier": "a-code-verifier-that-is-long-enough-for-the-rule",
    }
    tokens = (await server.post("/token", form, auth=(client.client_id, secret))).json()
    without = await server.post("/revoke", {"token": tokens["refresh_token"], "client_id": client.client_id})
    assert without.status_code == 401
    assert len(await server.grants.list("alice")) == 1
    auth = (client.client_id, secret)
    assert (await server.post("/revoke", {"token": tokens["refresh_token"]}, auth=auth)).status_code == 200
    assert await server.grants.list("alice") == ()


async def test_an_earlier_refresh_token_ends_the_grant_too(server: CoreServer) -> None:
    """A client whose last refresh got lost holds only the one before."""
    client = await server.public_client()
    tokens = await server.tokens(client)
    newest = (await server.refresh(client, tokens["refresh_token"])).json()
    assert (await revoke(server, client, tokens["refresh_token"])).status_code == 200
    assert not await is_alive(server, client, newest)


@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
async def test_another_clients_token_is_answered_alike_and_lives_on(server: CoreServer, kind: str) -> None:
    """RFC 7009 §2.1; the answer tells nothing."""
    client, stranger = await server.public_client(), await server.public_client()
    tokens = await server.tokens(client)
    response = await revoke(server, stranger, tokens[kind])
    assert (response.status_code, response.content) == (200, b"")
    assert await is_alive(server, client, tokens)
    assert not server.events(GrantRevoked)


@pytest.mark.parametrize("token", ["x", "a.b.c", "é", "A" * 65, "." * 9000])
async def test_an_unknown_token_is_answered_alike(server: CoreServer, token: str) -> None:
    """RFC 7009 §2.2: 200."""
    client = await server.public_client()
    tokens = await server.tokens(client)
    response = await revoke(server, client, token)
    assert (response.status_code, response.content) == (200, b"")
    assert await is_alive(server, client, tokens)


async def test_revoking_twice_is_fine(server: CoreServer) -> None:
    client = await server.public_client()
    tokens = await server.tokens(client)
    for _ in range(2):
        assert (await revoke(server, client, tokens["refresh_token"])).status_code == 200
    assert len(server.events(GrantRevoked)) == 1


async def test_an_expired_access_token_ends_nothing(server: CoreServer) -> None:
    client = await server.public_client()
    tokens = await server.tokens(client)
    server.clock.advance(600)
    assert (await revoke(server, client, tokens["access_token"])).status_code == 200
    assert await is_alive(server, client, tokens)


async def test_a_forged_access_token_ends_nothing(server: CoreServer) -> None:
    """RFC 8725 §3.1: our key, our algorithm, our type, and our issuer."""
    client = await server.public_client()
    tokens = await server.tokens(client)
    key = server.keys.current
    claims: dict[str, Any] = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    good = {"typ": "at+jwt", "kid": key.kid}
    head, body, signature = tokens["access_token"].split(".")
    forged = [
        jwt.encode(claims, "x" * 32, algorithm="HS256", headers=good),
        jwt.encode(claims, "", algorithm="none", headers=good),
        jwt.encode(claims, key.private_key, algorithm="ES256", headers={"typ": "JWT", "kid": key.kid}),
        jwt.encode(claims, key.private_key, algorithm="ES256", headers={"typ": "at+jwt", "kid": "x"}),
        jwt.encode(claims, key.private_key, algorithm="ES256", headers={"typ": "at+jwt"}),
        jwt.encode(claims | {"iss": f"{ISSUER}/"}, key.private_key, algorithm="ES256", headers=good),
        jwt.encode(claims | {"exp": START}, key.private_key, algorithm="ES256", headers=good),
        f"{head}.{body}.{signature}==",
        f"{head}.{body}.{signature[::-1]}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature}.x",
    ]
    for token in forged:
        assert (await revoke(server, client, token)).status_code == 200
    assert await is_alive(server, client, tokens)


async def test_a_missing_token_is_an_invalid_request(server: CoreServer) -> None:
    """RFC 7009 §2.2.1."""
    client = await server.public_client()
    response = await server.post("/revoke", {"client_id": client.client_id})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


async def test_an_unknown_client_is_refused_before_anything_is_looked_up(server: CoreServer) -> None:
    client = await server.public_client()
    tokens = await server.tokens(client)
    response = await server.post("/revoke", {"client_id": "nobody", "token": tokens["refresh_token"]})
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert await is_alive(server, client, tokens)


async def test_a_store_that_is_away_is_503_and_never_a_200(tmp_path: Path) -> None:
    """RFC 7009 §2.2.1: the client must not believe that the token is dead."""
    store = await SqliteStore.open(tmp_path / "as.db", lambda: START)
    async with core_server(store) as server:
        client = await server.public_client()
        tokens = await server.tokens(client)
        await store.aclose()
        answers = [
            await revoke(server, client, tokens["refresh_token"]),
            await server.refresh(client, tokens["refresh_token"]),
            await server.http.post("/register", json={"redirect_uris": ["https://client.example/cb"]}),
        ]
        for answer in answers:
            assert answer.status_code == 503
            assert answer.json()["error"] == "temporarily_unavailable"
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["cache-control"] == "no-store"
