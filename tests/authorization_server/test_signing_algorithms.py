"""One server, several signing algorithms: each resource server gets what it can verify."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from mcpauth.oauth.key_schedule import LATE, PUBLISHED_AHEAD
from mcpauth.oauth.signing_keys import SigningKeys
from mcpauth.settings import ConfigurationError, Settings
from mcpauth.settings_file import load_settings
from mcpauth.stores.memory import MemoryStore
from mcpauth_middleware import InvalidToken, JwtVerifier
from tests.authorization_server.front_helpers import (
    ISSUER,
    NOTES,
    RESOURCES,
    SETTINGS,
    TASKS,
    Browser,
    Clock,
    Value,
    running,
)
from tests.authorization_server.grants_helpers import claims_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.authorization_server.front_helpers import Running

pytestmark = pytest.mark.anyio

notes, tasks = RESOURCES
TWO = replace(SETTINGS, resources=(replace(notes, signing_algorithm="RS256"), tasks))
SIGN_IN: dict[str, Value] = {"scope": "openid", "resource": None}


async def tokens(server: Running, **asked: Value) -> dict[str, Any]:
    async with server.browser() as browser:
        response = await browser.redeem(await browser.to_code(**asked))
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body


async def refreshed(browser: Browser, token: str, resource: str) -> str:
    form = {"grant_type": "refresh_token", "client_id": browser.client.client_id, "resource": resource}
    body = (await browser.http.post("/token", data={**form, "refresh_token": token})).json()
    return str(body["access_token"])


async def supported(server: Running) -> object:
    async with server.browser() as browser:
        answers = [
            (await browser.http.get(f"/.well-known/{name}")).json()["id_token_signing_alg_values_supported"]
            for name in ("openid-configuration", "oauth-authorization-server")
        ]
    assert answers[0] == answers[1]
    return answers[0]


def algorithm_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["alg"])


async def test_the_tokens_of_two_resources_are_signed_with_two_algorithms() -> None:
    """RFC 9068 §4: each resource server verifies its own with the published keys, and not the other's."""
    async with running(settings=TWO) as server, server.browser() as browser:
        code = await browser.to_code(resource=[NOTES, TASKS], scope="notes:read tasks:read")
        first = (await browser.redeem(code)).json()
        at = {
            NOTES: first["access_token"],
            TASKS: await refreshed(browser, first["refresh_token"], TASKS),
        }
        assert {name: algorithm_of(token) for name, token in at.items()} == {NOTES: "RS256", TASKS: "ES256"}
        for resource, other in ((NOTES, TASKS), (TASKS, NOTES)):
            verifier = JwtVerifier(
                resource=resource, issuers=[ISSUER], http_client=browser.http, now=server.clock
            )
            verified = await verifier.verify(at[resource])
            assert verified.client_id == browser.client.client_id
            with pytest.raises(InvalidToken):
                await verifier.verify(at[other])
        published = (await browser.http.get("/jwks")).json()["keys"]
        assert sorted(key["alg"] for key in published) == ["ES256", "RS256"]
        assert not any({"d", "p", "q"} & key.keys() for key in published)


async def test_the_server_reads_back_what_it_signed_with_any_of_them() -> None:
    """RFC 7009: the grant of a token ends, whichever key signed it."""
    async with running(settings=TWO) as server, server.browser() as browser:
        body = (await browser.redeem(await browser.to_code(scope="notes:read"))).json()
        form = {"client_id": browser.client.client_id, "token": body["access_token"]}
        await browser.http.post("/revoke", data=form)
        form = {"client_id": browser.client.client_id, "refresh_token": body["refresh_token"]}
        refused = await browser.http.post("/token", data={"grant_type": "refresh_token", **form})
        assert refused.json()["error"] == "invalid_grant"


async def test_a_revocation_is_listed_as_long_as_tokens_of_every_algorithm_live() -> None:
    """The lifetime became shorter, and of the keys that tell of the longer one only that of RS256 is left."""
    hour = timedelta(hours=1)
    store = MemoryStore(Clock())
    longer = replace(TWO, access_token_lifetime=hour)
    async with running(store, longer) as before, before.browser() as browser:
        client = browser.client
        body = (await browser.redeem(await browser.to_code(scope="notes:read"))).json()
    async with running(store, TWO) as server, server.browser(client) as browser:
        usual = await SigningKeys.load(store, server.clock)
        assert await usual.retire(usual.current.kid)
        form = {"client_id": client.client_id, "token": body["refresh_token"]}
        await browser.http.post("/revoke", data=form)
        server.clock.advance(hour.total_seconds() - 1)
        (entry,) = (await browser.http.get("/revoked")).json()["revoked"]
        claims = claims_of(body["access_token"])
        assert algorithm_of(body["access_token"]) == "RS256"
        assert entry["grant_id"] == claims["grant_id"]
        assert claims["exp"] <= entry["until"]


async def test_id_tokens_have_an_algorithm_of_their_own() -> None:
    """OpenID Connect Discovery §3: clients find RS256 in the metadata, and get it."""
    settings = replace(SETTINGS, id_token_signing_algorithm="RS256")
    async with running(settings=settings) as server:
        assert await supported(server) == ["RS256"]
        body = await tokens(server, scope="openid notes:read")
        assert algorithm_of(body["id_token"]) == "RS256"
        assert algorithm_of(body["access_token"]) == "ES256"


async def test_an_algorithm_of_a_resource_is_none_of_the_id_tokens() -> None:
    async with running(settings=TWO) as server:
        assert await supported(server) == ["ES256"]
        body = await tokens(server, scope="openid notes:read")
        assert (algorithm_of(body["id_token"]), algorithm_of(body["access_token"])) == ("ES256", "RS256")


async def test_the_metadata_follows_the_keys_while_the_server_runs() -> None:
    """What is added is told before it is used, and what is left when nothing is signed with it any more."""
    store = MemoryStore(Clock())
    async with running(store) as server:
        assert await supported(server) == ["ES256"]
    async with running(store, replace(SETTINGS, id_token_signing_algorithm="RS256")) as server:
        assert await supported(server) == ["ES256", "RS256"]
        assert algorithm_of((await tokens(server, **SIGN_IN))["id_token"]) == "ES256"
        server.clock.advance(PUBLISHED_AHEAD)
        assert await supported(server) == ["RS256"]
        assert algorithm_of((await tokens(server, **SIGN_IN))["id_token"]) == "RS256"


async def test_the_metadata_follows_a_change_of_the_usual_algorithm() -> None:
    store = MemoryStore(Clock())
    async with running(store) as server:
        assert await supported(server) == ["ES256"]
        async with running(store, replace(SETTINGS, signing_algorithm="EdDSA")) as other:
            for each in (server, other):
                each.clock.advance(31)
                async with each.browser() as browser:
                    await browser.http.get("/jwks")  # reads the keys again
                assert await supported(each) == ["ES256", "EdDSA"]
            other.clock.advance(PUBLISHED_AHEAD + 600 + LATE)
            assert await supported(other) == ["EdDSA"]


async def test_a_resource_server_follows_while_an_algorithm_is_added() -> None:
    """Its keys are as old as it lets them become; it must never meet a token that it cannot verify."""
    store = MemoryStore(Clock())
    async with running(store) as before, before.browser() as browser:
        verifier = JwtVerifier(resource=NOTES, issuers=[ISSUER], http_client=browser.http, now=before.clock)
        await verifier.verify((await tokens(before, scope="notes:read"))["access_token"])
        async with running(store, TWO) as server:
            seen: list[str] = []
            for _ in range(25):
                token = (await tokens(server, scope="notes:read"))["access_token"]
                await verifier.verify(token)
                seen.append(algorithm_of(token))
                for each in (before, server):
                    each.clock.advance(60)
            assert seen == ["ES256"] * 15 + ["RS256"] * 10


def test_the_settings_file_has_them(tmp_path: Path) -> None:
    path = tmp_path / "mcpauth.toml"
    text = """
issuer = "https://auth.example"
id_token_signing_algorithm = "RS256"
[[resources]]
identifier = "https://notes.example/mcp"
name = "Notes"
signing_algorithm = "EdDSA"
"""
    path.write_text(text)
    settings = load_settings(path, {})
    assert settings.id_token_signing_algorithm == "RS256"
    assert settings.resources[0].signing_algorithm == "EdDSA"
    assert settings.further_signing_algorithms == {"RS256", "EdDSA"}
    assert replace(settings, openid=False).further_signing_algorithms == {"EdDSA"}
    assert replace(settings, signing_algorithm="EdDSA").further_signing_algorithms == {"RS256"}
    environ = {"MCPAUTH_ID_TOKEN_SIGNING_ALGORITHM": "HS256"}
    with pytest.raises(
        ConfigurationError, match=r"MCPAUTH_ID_TOKEN_SIGNING_ALGORITHM: must be one of ES256, RS256"
    ):
        load_settings(path, environ)
    path.write_text(text.replace("EdDSA", "HS256"))
    with pytest.raises(ConfigurationError, match=r"signing_algorithm of https://notes\.example/mcp: must be"):
        load_settings(path, {})


@pytest.mark.parametrize("algorithm", ["", "none", "HS256", "es256", "RS512"])
def test_a_wrong_algorithm_is_refused_with_the_field_and_the_mend(algorithm: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        replace(SETTINGS, id_token_signing_algorithm=algorithm)
    assert caught.value.field == "id_token_signing_algorithm"
    assert "ES256, RS256, EdDSA" in caught.value.problem
    with pytest.raises(ConfigurationError) as caught:
        Settings(ISSUER, (replace(notes, signing_algorithm=algorithm),))
    assert f"signing_algorithm of {NOTES}" in str(caught.value)
    assert "ES256, RS256, EdDSA" in caught.value.problem


def test_opaque_tokens_have_no_algorithm() -> None:
    """Nobody signs them: an operator who asks for it expects something else."""
    opaque = replace(notes, access_token_format="opaque", signing_algorithm="RS256")
    with pytest.raises(ConfigurationError, match="opaque, which nobody signs; leave it out"):
        Settings(ISSUER, (opaque,))
