"""Opaque access tokens: what they are worth is asked for, RFC 7662; the store has only their digests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mcpauth.oauth.access_token import KIND, OPAQUE
from mcpauth.oauth.operator_terms import OperatorTerms
from mcpauth.oauth.token_exchange import ExchangeRule
from mcpauth.settings import ConfigurationError, Settings
from mcpauth.settings_file import load_settings
from tests.authorization_server.grants_helpers import (
    FILES,
    ISSUER,
    NOTES,
    RESOURCES,
    Service,
    claims_of,
    service,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

pytestmark = pytest.mark.anyio

INACTIVE = {"active": False}
OPAQUE_NOTES = tuple(
    replace(each, access_token_format="opaque") if each.identifier == NOTES else each for each in RESOURCES
)


@pytest.fixture
async def server() -> AsyncGenerator[Service]:
    rules = (ExchangeRule(NOTES, FILES, ("files:read",)),)
    async with service(resources=OPAQUE_NOTES, token_exchange=rules) as server:
        yield server


async def test_an_opaque_token_says_nothing_and_is_kept_by_digest(server: Service) -> None:
    body = await server.user_tokens(await server.public_client())
    token = body["access_token"]
    assert OPAQUE.fullmatch(token)
    assert (body["token_type"], body["scope"]) == ("Bearer", "notes:read notes:write")
    ((key, record),) = await server.store.list(KIND)
    assert token not in f"{key}{record}"


async def test_its_resource_server_learns_what_it_is_worth(server: Service) -> None:
    """RFC 7662 §2.2: the members are those of a signed token."""
    client = await server.public_client()
    token = (await server.user_tokens(client))["access_token"]
    told = await server.introspect(await server.server_of(NOTES), token)
    assert told | {"exp": 0, "jti": "", "grant_id": ""} == {
        "active": True,
        "token_type": "Bearer",
        "iss": ISSUER,
        "sub": server.ada.user_id,
        "aud": NOTES,
        "client_id": client.client_id,
        "scope": "notes:read notes:write",
        "auth_time": told["auth_time"],
        "iat": int(server.clock()),
        "exp": 0,
        "jti": "",
        "grant_id": "",
    }
    assert await server.introspect(await server.server_of(FILES), token) == INACTIVE


async def test_it_ends_with_its_time_its_revocation_and_its_user(server: Service) -> None:
    client = await server.public_client()
    notes = await server.server_of(NOTES)
    first, second, third = [(await server.user_tokens(client))["access_token"] for _ in range(3)]
    await server.revoke(client, first)
    assert await server.introspect(notes, first) == INACTIVE
    assert (await server.introspect(notes, second))["active"]
    await server.users.set_disabled(server.ada, disabled=True)
    assert await server.introspect(notes, second) == INACTIVE
    (user,) = await server.users.list()
    await server.users.set_disabled(user, disabled=False)
    assert (await server.introspect(notes, third))["active"]
    server.clock.advance(600)
    assert await server.introspect(notes, third) == INACTIVE


async def test_each_refresh_gives_a_new_one_and_a_lost_answer_the_same(server: Service) -> None:
    client = await server.public_client()
    body = await server.user_tokens(client)
    new = (await server.refresh(client, body["refresh_token"])).json()
    again = (await server.refresh(client, body["refresh_token"])).json()
    assert new["access_token"] != body["access_token"]
    assert again == new


async def test_it_can_be_exchanged_and_what_comes_of_it_has_the_form_of_its_resource(server: Service) -> None:
    """RFC 8693 §2.1: the subject token is whatever this server issued."""
    token = (await server.user_tokens(await server.public_client()))["access_token"]
    exchanged = await server.post_as(
        await server.server_of(NOTES),
        "/token",
        grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
        subject_token=token,
        subject_token_type="urn:ietf:params:oauth:token-type:access_token",
        resource=FILES,
    )
    assert exchanged.status_code == 200, exchanged.text
    assert claims_of(exchanged.json()["access_token"])["aud"] == FILES


async def test_a_machine_gets_one_too(server: Service) -> None:
    terms = OperatorTerms(resources=(NOTES,), scopes=("notes:read",))
    pair = await server.confidential_client("client_credentials", terms=terms)
    body = (await server.post_as(pair, "/token", grant_type="client_credentials")).json()
    assert OPAQUE.fullmatch(body["access_token"])
    told = await server.introspect(pair, body["access_token"])
    assert (told["sub"], told["aud"]) == (pair[0].client_id, NOTES)


async def test_nothing_else_of_the_server_passes_for_one(server: Service) -> None:
    """A code has the same form, and is another kind."""
    client = await server.public_client()
    await server.user_tokens(client)
    notes = await server.server_of(NOTES)
    codes = [key for key, _ in await server.store.list("authorization_code")]
    for guess in ("x" * 43, "-" * 43, codes[0], f"{'A' * 42}="):
        assert await server.introspect(notes, guess) == INACTIVE


async def test_what_another_issuer_kept_in_the_same_store_is_not_ours(server: Service) -> None:
    token = (await server.user_tokens(await server.public_client()))["access_token"]
    async with service(server.store, server.clock, issuer="https://other.example") as other:
        assert await other.introspect(await other.server_of(NOTES), token) == INACTIVE
    assert (await server.introspect(await server.server_of(NOTES), token))["active"]


def test_the_settings_file_says_it_for_each_resource(tmp_path: Path) -> None:
    path = tmp_path / "mcpauth.toml"
    text = (
        f'issuer = "{ISSUER}"\n[[resources]]\nidentifier = "{NOTES}"\nname = "Notes"\n'
        'access_token_format = "FORMAT"\n[[resources.scopes]]\nname = "read"\ndescription = "Read"\n'
    )
    for text_format in ("jwt", "opaque"):
        path.write_text(text.replace("FORMAT", text_format))
        settings = load_settings(path, {})
        assert [each.access_token_format for each in settings.resources] == [text_format]
    path.write_text(text.replace("FORMAT", "paseto"))
    with pytest.raises(ConfigurationError, match="must be one of jwt, opaque"):
        load_settings(path, {})


def test_tokens_are_signed_unless_told_otherwise() -> None:
    settings = Settings(ISSUER, RESOURCES, NOTES)
    assert not any(resource.has_opaque_tokens for resource in settings.resources)
