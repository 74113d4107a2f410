"""The introspection endpoint, RFC 7662."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcpauth.oauth.operator_terms import OperatorTerms
from mcpauth.oauth.signing_keys import SigningKeys
from mcpauth.oauth.store import Record, StoreUnavailable
from mcpauth.stores.memory import MemoryStore
from tests.authorization_server.grants_helpers import (
    ISSUER,
    NOTES,
    TASKS,
    Pair,
    Service,
    claims_of,
    service,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

INACTIVE = {"active": False}


@pytest.fixture
async def server() -> AsyncGenerator[Service]:
    async with service() as server:
        yield server


@pytest.fixture
async def notes(server: Service) -> Pair:
    """The server of the notes."""
    return await server.server_of(NOTES)


@pytest.mark.parametrize("end", ["expiry", "revocation", "disabled", "its key is withdrawn"])
async def test_a_token_that_was_asked_about_before_is_looked_at_again(
    server: Service, notes: Pair, end: str
) -> None:
    """RFC 7662 §2.2: whether it is currently active, however often it was. Only its signature is not verified
    twice.
    """
    client = await server.public_client()
    token = (await server.user_tokens(client))["access_token"]
    for _ in range(2):
        assert (await server.introspect(notes, token))["active"] is True
    match end:
        case "expiry":
            server.clock.advance(600)
        case "revocation":
            await server.revoke(client, token)
        case "disabled":
            await server.users.set_disabled(server.ada, disabled=True)
        case _:
            keys = await SigningKeys.load(server.store, server.clock)
            assert await keys.retire(keys.current.kid)
            # The server looks at the keys in the store again after half a minute.
            server.clock.advance(31)
            await server.http.get("/jwks")
    assert await server.introspect(notes, token) == INACTIVE


async def test_a_resource_server_learns_what_a_users_token_is_worth(server: Service, notes: Pair) -> None:
    """RFC 7662 §2.2: the claims of the token, and nothing of the user beyond them."""
    client = await server.public_client()
    token = (await server.user_tokens(client))["access_token"]
    claims = claims_of(token)
    assert await server.introspect(notes, token) == {
        "active": True,
        "token_type": "Bearer",
        "iss": ISSUER,
        "sub": server.ada.user_id,
        "aud": NOTES,
        "exp": claims["exp"],
        "iat": claims["iat"],
        "jti": claims["jti"],
        "client_id": client.client_id,
        "scope": "notes:read notes:write",
        "auth_time": claims["auth_time"],
        "grant_id": claims["grant_id"],
    }


async def test_an_answer_may_not_be_kept(server: Service, notes: Pair) -> None:
    """RFC 7662 §4: a cached answer outlives a revocation."""
    response = await server.post_as(notes, "/introspect", token="x")
    assert response.headers["cache-control"] == "no-store"
    assert response.json() == INACTIVE


@pytest.mark.parametrize("resources", [(), (TASKS,), (f"{NOTES}/", NOTES.upper())])
async def test_the_server_of_another_resource_learns_nothing(
    server: Service, resources: tuple[str, ...]
) -> None:
    """RFC 7662 §4: else any resource server could probe for tokens."""
    client = await server.public_client()
    tokens = await server.user_tokens(client)
    stranger = await server.server_of(*resources)
    for token in (tokens["access_token"], tokens["refresh_token"]):
        assert await server.introspect(stranger, token) == INACTIVE


async def test_a_refresh_token_is_told_only_to_its_own_client(server: Service, notes: Pair) -> None:
    client = await server.public_client()
    refresh_token = (await server.user_tokens(client))["refresh_token"]
    assert await server.introspect(notes, refresh_token) == INACTIVE


async def test_a_client_learns_about_its_own_tokens(server: Service) -> None:
    pair = await server.confidential_client("authorization_code", "refresh_token")
    client, secret = pair
    tokens = await server.user_tokens(client, auth=(client.client_id, secret))
    assert (await server.introspect(pair, tokens["access_token"]))["active"]
    told = await server.introspect(pair, tokens["refresh_token"])
    assert told["active"]
    assert told["sub"] == server.ada.user_id
    assert told["scope"] == "notes:read notes:write"
    assert "token_type" not in told, "it is no bearer token"


async def test_only_the_newest_refresh_token_of_a_family_is_active(server: Service) -> None:
    pair = await server.confidential_client("authorization_code", "refresh_token")
    client, secret = pair
    old = (await server.user_tokens(client, auth=(client.client_id, secret)))["refresh_token"]
    answer = await server.post_as(pair, "/token", grant_type="refresh_token", refresh_token=old)
    new = answer.json()["refresh_token"]
    assert await server.introspect(pair, old) == INACTIVE
    assert (await server.introspect(pair, new))["active"]
    again = await server.post_as(pair, "/token", grant_type="refresh_token", refresh_token=new)
    assert again.status_code == 200, "asking about a token is no use of it"


async def test_a_revoked_grant_makes_its_access_tokens_inactive(server: Service, notes: Pair) -> None:
    """RFC 7662 §2.2; the JWT itself is still well signed and unexpired."""
    client = await server.public_client()
    tokens, others = await server.user_tokens(client), await server.user_tokens(client)
    await server.revoke(client, tokens["refresh_token"])
    assert await server.introspect(notes, tokens["access_token"]) == INACTIVE
    assert (await server.introspect(notes, others["access_token"]))["active"]


async def test_the_tokens_of_a_disabled_user_are_inactive_until_enabled(server: Service, notes: Pair) -> None:
    token = (await server.user_tokens(await server.public_client()))["access_token"]
    await server.users.set_disabled(server.ada, disabled=True)
    assert await server.introspect(notes, token) == INACTIVE
    disabled = await server.users.by_id(server.ada.user_id)
    assert disabled is not None
    await server.users.set_disabled(disabled, disabled=False)
    assert (await server.introspect(notes, token))["active"]


async def test_an_expired_access_token_is_inactive(server: Service, notes: Pair) -> None:
    token = (await server.user_tokens(await server.public_client()))["access_token"]
    server.clock.advance(600)
    assert await server.introspect(notes, token) == INACTIVE


async def test_the_last_access_token_counts_after_its_grant_has_come_to_its_end(
    server: Service, notes: Pair
) -> None:
    client = await server.public_client()
    answer = await server.user_tokens(client)
    for _ in range(3):
        server.clock.advance(30 * 24 * 3600 - 60)
        answer = (await server.refresh(client, answer["refresh_token"])).json()
    server.clock.advance(300)
    assert await server.grants.list() == (), "the grant has ended by itself"
    assert (await server.introspect(notes, answer["access_token"]))["active"]


@pytest.mark.parametrize("token", ["x", "a.b.c", "é", "x" * 60_000, "A" * 65, "eyJhbGciOiJub25lIn0.e30."])
async def test_what_is_no_token_is_inactive(server: Service, notes: Pair, token: str) -> None:
    assert await server.introspect(notes, token) == INACTIVE


async def test_another_issuers_token_is_inactive(server: Service, notes: Pair) -> None:
    async with service(issuer="https://other.example") as other:
        token = (await other.user_tokens(await other.public_client()))["access_token"]
    assert await server.introspect(notes, token) == INACTIVE


async def test_an_unknown_hint_is_ignored(server: Service, notes: Pair) -> None:
    """RFC 7662 §2.1: a hint may be of any kind."""
    token = (await server.user_tokens(await server.public_client()))["access_token"]
    for hint in ("refresh_token", "nonsense"):
        response = await server.post_as(notes, "/introspect", token=token, token_type_hint=hint)
        assert response.json()["active"]


async def test_who_does_not_authenticate_is_told_nothing(server: Service, notes: Pair) -> None:
    """RFC 7662 §2.1: some form of authorization is required, or tokens could be scanned for."""
    client = await server.public_client()
    token = (await server.user_tokens(client))["access_token"]
    for form, auth in (
        ({"token": token}, None),
        ({"token": token, "client_id": client.client_id}, None),
        ({"token": token, "client_id": notes[0].client_id}, None),
        ({"token": token}, (notes[0].client_id, "wrong")),
        ({"token": token}, ("nobody", "wrong")),
    ):
        response = await server.post("/introspect", form, auth=auth)
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


async def test_a_token_in_the_query_or_none_at_all_is_an_invalid_request(
    server: Service, notes: Pair
) -> None:
    for path, form in (("/introspect?token=x", {"token": "x"}), ("/introspect", {"token": ""})):
        response = await server.post_as(notes, path, **form)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


async def test_no_client_makes_itself_the_server_of_a_resource(server: Service) -> None:
    """Only an operator says who serves what."""
    metadata = {
        "redirect_uris": ["https://eve.example/cb"],
        "token_endpoint_auth_method": "client_secret_basic",
        "terms": {"serves": [NOTES]},
        "serves": [NOTES],
        "resource": NOTES,
    }
    registered = (await server.http.post("/register", json=metadata)).json()
    token = (await server.user_tokens(await server.public_client()))["access_token"]
    auth = (registered["client_id"], registered["client_secret"])
    response = await server.post("/introspect", {"token": token}, auth=auth)
    assert response.json() == INACTIVE
    client = await server.clients.get(registered["client_id"])
    assert client is not None
    assert client.terms == OperatorTerms()


class Failing(MemoryStore):
    """A store that cannot be read when told so."""

    failing: str | None = None

    async def get(self, kind: str, key: str) -> Record | None:
        if kind == self.failing:
            raise StoreUnavailable("it broke")
        return await super().get(kind, key)


@pytest.mark.parametrize("kind", ["revoked_grant", "revocation", "client"])
async def test_a_store_that_fails_is_503_and_not_an_inactive_token(kind: str) -> None:
    store = Failing()
    async with service(store) as server:
        notes = await server.server_of(NOTES)
        token = (await server.user_tokens(await server.public_client()))["access_token"]
        store.failing = kind
        response = await server.post_as(notes, "/introspect", token=token)
        assert response.status_code == 503
        body: dict[str, Any] = response.json()
        assert "active" not in body
