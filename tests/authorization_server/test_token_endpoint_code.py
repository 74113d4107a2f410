"""The authorization code grant at the token endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
import pytest
from jwt import PyJWK

from mcpauth.events import CodeReused, GrantRevoked, TokenIssued
from mcpauth.stores.memory import MemoryStore
from tests.authorization_server.core_helpers import (
    ISSUER,
    LOOPBACK,
    NOTES,
    START,
    TASKS,
    VERIFIER,
    Clock,
    CoreServer,
    core_server,
)
from tests.authorization_server.grants_helpers import service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from mcpauth.oauth.store import Record

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncGenerator[CoreServer]:
    async with core_server() as server:
        yield server


async def claims(server: CoreServer, access_token: str) -> dict[str, Any]:
    """What a resource server would read, with the published key."""
    (jwk,) = (await server.http.get("/jwks")).json()["keys"]
    options: Any = {"verify_exp": False, "verify_iat": False, "verify_aud": False}
    read: dict[str, Any] = jwt.decode(access_token, PyJWK(jwk), algorithms=["ES256"], options=options)
    return read


async def test_a_code_becomes_tokens(server: CoreServer) -> None:
    """RFC 6749 §5.1."""
    client = await server.public_client()
    response = await server.redeem(client, await server.code(client))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 600
    assert body["scope"] == "notes:read notes:write"
    assert len(body["refresh_token"]) == 65
    (event,) = server.events(TokenIssued)
    assert (event.user_id, event.refresh_token) == ("alice", True)


async def test_the_access_token_is_an_rfc_9068_token(server: CoreServer) -> None:
    """RFC 9068 §2: type, key, and every claim."""
    client = await server.public_client()
    token = (await server.tokens(client))["access_token"]
    header = jwt.get_unverified_header(token)
    assert header == {"typ": "at+jwt", "alg": "ES256", "kid": server.keys.current.kid}
    read = await claims(server, token)
    assert len(read.pop("jti")) == 32
    assert len(read.pop("grant_id")) == 32
    assert read == {
        "iss": ISSUER,
        "sub": "alice",
        "aud": NOTES,
        "exp": START + 600,
        "iat": START,
        "client_id": client.client_id,
        "scope": "notes:read notes:write",
        "auth_time": START - 60,
    }


async def test_a_client_with_a_secret_gets_tokens_with_it(server: CoreServer) -> None:
    client, secret = await server.secret_client()
    form = {
        "grant_type": "authorization_code",
        "code": await server.code(client),
        "redirect_uri": client.redirect_uris[0],
        "code_verifier": VERIFIER,
    }
    response = await server.post("/token", form, auth=(client.client_id, secret))
    assert response.status_code == 200


async def test_a_client_without_the_refresh_token_grant_gets_no_refresh_token(server: CoreServer) -> None:
    """RFC 7591 §2: grant_types say what a client uses."""
    client = await server.public_client(grant_types=["authorization_code"])
    body = await server.tokens(client)
    assert "refresh_token" not in body
    assert len(await server.grants.list("alice")) == 1
    server.clock.advance(600)
    assert await server.grants.list("alice") == (), "the grant lasts as long as its only token"


async def test_a_code_is_redeemed_once(server: CoreServer) -> None:
    """RFC 6749 §4.1.2: MUST NOT be used more than once, and its tokens SHOULD be revoked."""
    client = await server.public_client()
    code = await server.code(client)
    first = await server.redeem(client, code)
    second = await server.redeem(client, code)
    assert second.status_code == 400
    assert second.json()["error"] == "invalid_grant"
    refreshed = await server.refresh(client, first.json()["refresh_token"])
    assert refreshed.json()["error"] == "invalid_grant", "what the first use gave is dead"
    assert await server.grants.list("alice") == ()
    assert len(server.events(CodeReused)) == 1
    (revoked,) = server.events(GrantRevoked)
    assert (revoked.reason, revoked.user_id) == ("code_reused", "alice")


async def test_a_code_that_comes_back_after_its_minute_still_ends_the_grant(server: CoreServer) -> None:
    client = await server.public_client()
    code = await server.code(client)
    body = (await server.redeem(client, code)).json()
    server.clock.advance(3600)
    assert (await server.redeem(client, code)).json()["error"] == "invalid_grant"
    assert (await server.refresh(client, body["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_code_lives_for_a_minute(server: CoreServer) -> None:
    """RFC 6749 §4.1.2: short-lived, decided at use."""
    client = await server.public_client()
    in_time, late = await server.code(client), await server.code(client)
    server.clock.advance(59)
    assert (await server.redeem(client, in_time)).status_code == 200
    server.clock.advance(1)
    response = await server.redeem(client, late)
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_grant"


@pytest.mark.parametrize("code", ["x", "A" * 43, "é☃", "../..", "a" * 5000])
async def test_an_unknown_code_is_refused_and_ends_nothing(server: CoreServer, code: str) -> None:
    client = await server.public_client()
    await server.tokens(client)
    response = await server.redeem(client, code)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert len(await server.grants.list("alice")) == 1


async def test_a_code_that_differs_in_its_last_letter_ends_nothing(server: CoreServer) -> None:
    """RFC 6749 §10.10: only the code itself that comes back is a replay."""
    client = await server.public_client()
    code = await server.code(client)
    body = (await server.redeem(client, code)).json()
    for forged in (code[:-1] + ("B" if code[-1] == "A" else "A"), code + "A", code[:-1], code.lower()):
        assert (await server.redeem(client, forged)).json()["error"] == "invalid_grant"
    assert (await server.refresh(client, body["refresh_token"])).status_code == 200
    assert not server.events(CodeReused)


async def test_the_code_of_another_server_is_refused_and_stays_good_there(server: CoreServer) -> None:
    """RFC 9700 §4.4: an attacker's server may have got it from an honest one."""
    async with core_server() as other:
        theirs = await other.public_client()
        code = await other.code(theirs)
        ours = await server.public_client()
        assert (await server.redeem(ours, code)).json()["error"] == "invalid_grant"
        await server.clients.add(theirs)
        assert (await server.redeem(theirs, code)).json()["error"] == "invalid_grant"
        assert (await other.redeem(theirs, code)).status_code == 200


async def test_a_user_removed_since_the_consent_gets_nothing() -> None:
    async with service() as server:
        client = await server.public_client()
        form = {
            "grant_type": "authorization_code",
            "client_id": client.client_id,
            "code": await server.user_code(client),
            "redirect_uri": LOOPBACK,
            "code_verifier": VERIFIER,
        }
        tokens = await server.user_tokens(client)
        for key, _ in await server.store.list("user"):
            await server.store.take("user", key)
        response = await server.post("/token", form)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
        assert (await server.refresh(client, tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_another_clients_code_is_refused_and_stays_good(server: CoreServer) -> None:
    """RFC 6749 §5.2: issued to another client."""
    client, thief = await server.public_client(), await server.public_client()
    code = await server.code(client)
    assert (await server.redeem(thief, code)).json()["error"] == "invalid_grant"
    body = await server.redeem(client, code)
    assert body.status_code == 200
    assert (await server.redeem(thief, code)).json()["error"] == "invalid_grant"
    assert (await server.refresh(client, body.json()["refresh_token"])).status_code == 200, (
        "nor did that end it"
    )


@pytest.mark.parametrize(
    "redirect_uri", [None, "http://127.0.0.1:3001/callback", f"{LOOPBACK}/", LOOPBACK.upper(), "é"]
)
async def test_the_redirect_uri_must_be_the_one_of_the_authorization_request(
    server: CoreServer, redirect_uri: str | None
) -> None:
    """RFC 6749 §4.1.3. The code stays good for the right one."""
    client = await server.public_client()
    code = await server.code(client)
    response = await server.redeem(client, code, redirect_uri=redirect_uri)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert (await server.redeem(client, code)).status_code == 200


async def test_a_redirect_uri_that_was_not_in_the_request_may_be_left_out(server: CoreServer) -> None:
    client = await server.public_client()
    without = await server.code(client, redirect_uri_given=False)
    assert (await server.redeem(client, without, redirect_uri=None)).status_code == 200
    other = await server.code(client, redirect_uri_given=False)
    assert (await server.redeem(client, other, redirect_uri="https://evil.example")).status_code == 400
    assert (await server.redeem(client, other)).status_code == 200


@pytest.mark.parametrize(
    ("code_verifier", "error"),
    [
        (None, "invalid_request"),
        ("x" * 43, "invalid_grant"),
        (VERIFIER[:42], "invalid_grant"),
        (VERIFIER + "\n", "invalid_grant"),
        ("é" * 43, "invalid_grant"),
        ("challenge", "invalid_grant"),
    ],
)
async def test_the_verifier_must_be_the_one_behind_the_challenge(
    server: CoreServer, code_verifier: str | None, error: str
) -> None:
    """RFC 7636 §4.6. One failure does not take the code from its owner."""
    client = await server.public_client()
    code = await server.code(client)
    response = await server.redeem(client, code, code_verifier=code_verifier)
    assert (response.status_code, response.json()["error"]) == (400, error)
    assert (await server.redeem(client, code)).status_code == 200


async def test_the_challenge_is_no_verifier(server: CoreServer) -> None:
    client = await server.public_client()
    code = await server.code(client)
    challenge = (await server.store.list("authorization_code"))[0][1]["code_challenge"]
    assert (await server.redeem(client, code, code_verifier=challenge)).json()["error"] == "invalid_grant"


async def test_five_wrong_verifiers_kill_a_code(server: CoreServer) -> None:
    client = await server.public_client()
    code = await server.code(client)
    for _ in range(5):
        assert (await server.redeem(client, code, code_verifier="x" * 43)).status_code == 400
    assert (await server.redeem(client, code)).json()["error"] == "invalid_grant"
    assert not server.events(TokenIssued)


async def test_another_resource_is_an_invalid_target_and_leaves_the_code(server: CoreServer) -> None:
    """RFC 8707 §2.2: only what was granted."""
    client = await server.public_client()
    code = await server.code(client)
    for resource in (TASKS, "https://unknown.example", f"{NOTES}#x", "not a uri", [NOTES, TASKS]):
        response = await server.redeem(client, code, resource=resource)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_target"), resource
    assert (await server.redeem(client, code, resource=[NOTES, NOTES])).status_code == 200


async def test_a_resource_without_a_path_is_named_with_or_without_its_slash(server: CoreServer) -> None:
    """RFC 8707 §2 with RFC 3986 §6.2.3; older SDKs add the slash."""
    client = await server.public_client()
    for spelling in ("https://tasks.example/", "https://tasks.example", "HTTPS://TASKS.example:443"):
        code = await server.code(client, resource=TASKS, scopes=["tasks:read"])
        body = (await server.redeem(client, code, resource=spelling)).json()
        assert (await claims(server, body["access_token"]))["aud"] == TASKS


async def test_scopes_narrow_and_never_widen(server: CoreServer) -> None:
    """RFC 6749 §3.3. A refusal leaves the code."""
    client = await server.public_client()
    code = await server.code(client)
    for scope in ("notes:read notes:admin", "tasks:read", 'no"tes'):
        assert (await server.redeem(client, code, scope=scope)).json()["error"] == "invalid_scope"
    body = (await server.redeem(client, code, scope="notes:read")).json()
    assert body["scope"] == (await claims(server, body["access_token"]))["scope"] == "notes:read"


async def test_a_user_disabled_since_the_consent_gets_nothing(server: CoreServer) -> None:
    client = await server.public_client()
    code = await server.code(client)
    server.disabled_users.add("alice")
    response = await server.redeem(client, code)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert not server.events(TokenIssued)


class Meanwhile(MemoryStore):
    """A store in which something else happens right before a grant is stored."""

    happens: Callable[[], object] | None = None

    async def add(
        self, kind: str, key: str, record: Record, *, expires_at: int | None = None, owner: str | None = None
    ) -> bool:
        if kind == "grant" and self.happens is not None:
            self.happens()
        return await super().add(kind, key, record, expires_at=expires_at, owner=owner)


async def test_a_user_disabled_while_the_code_is_redeemed_gets_nothing() -> None:
    """`mcpauth users disable` goes by the grants that there are. This one is none yet, and its access token
    would be on no list of revocations.
    """
    store = Meanwhile(clock := Clock())
    async with core_server(store, clock) as server:
        client = await server.public_client()
        code = await server.code(client)
        store.happens = lambda: server.disabled_users.add("alice")
        response = await server.redeem(client, code)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
        assert not server.events(TokenIssued)
        assert await store.list("grant") == await store.list("refresh_token") == []


async def test_a_removed_client_gets_nothing(server: CoreServer) -> None:
    client = await server.public_client()
    code = await server.code(client)
    refresh_token = (await server.tokens(client))["refresh_token"]
    await server.clients.remove(client.client_id)
    assert (await server.redeem(client, code)).status_code == 401
    assert (await server.refresh(client, refresh_token)).status_code == 401


async def test_codes_and_tokens_are_not_in_the_store_as_they_are(server: CoreServer) -> None:
    """RFC 9700 §4.14: what leaks from the store cannot be used."""
    client, secret = await server.secret_client()
    public = await server.public_client()
    code = await server.code(public)
    body = (await server.redeem(public, code)).json()
    kinds = ("client", "authorization_code", "refresh_token", "grant")
    stored = str([await server.store.list(kind) for kind in kinds])
    for value in (secret, code, body["refresh_token"], body["refresh_token"][22:], body["access_token"]):
        assert value not in stored
    assert client.client_id in stored


async def test_no_secret_is_in_a_log_line_or_event(
    server: CoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 9700 §4.14: whoever reads logs and journals can use nothing of them."""
    caplog.set_level("DEBUG")
    client, secret = await server.secret_client()
    code = await server.code(client)
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    auth = (client.client_id, secret)
    await server.post("/token", form, auth=(client.client_id, f"{secret}x"))
    await server.post("/token", form, auth=auth)
    form["redirect_uri"] = client.redirect_uris[0]
    body = (await server.post("/token", form, auth=auth)).json()
    await server.post("/token", form, auth=auth)
    refresh = {"grant_type": "refresh_token", "refresh_token": body["refresh_token"]}
    await server.post("/token", refresh, auth=auth)
    await server.post("/revoke", {"token": body["access_token"]}, auth=auth)
    assert len(server.happened) >= 6
    written = repr(server.happened) + caplog.text
    for value in (secret, code, VERIFIER, body["refresh_token"], body["access_token"]):
        assert value not in written
