"""The JWT bearer grant with assertions of an identity provider: what they give, and who can make one."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import pytest
from joserfc.jwk import ECKey

from mcpauth.events import AssertionRefused, AssertionTokenIssued
from tests.authorization_server.assertion_helpers import ASSERTION_TYPE, key, signed
from tests.authorization_server.core_helpers import ISSUER, NOTES, START
from tests.authorization_server.grants_helpers import claims_of
from tests.authorization_server.issuer_helpers import (
    GRANT_TYPE,
    IDP,
    IDP_KEY,
    IDP_KEYS,
    JOB,
    OTHER_IDP,
    OTHER_IDP_KEY,
    PLATFORM,
    PLATFORM_KEY,
    SUBJECT,
    Federation,
    authlib_id_jag,
    federation,
    id_jag_claims,
    issued,
    raw_jwt,
    refused,
    workload_token,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


pytestmark = pytest.mark.anyio


@pytest.fixture
async def up() -> AsyncGenerator[Federation]:
    async with federation() as up:
        yield up


# What it gives.


async def test_an_id_jag_becomes_an_access_token_for_the_user_that_its_subject_is(up: Federation) -> None:
    """ext-auth §5: audience-restricted to the resource of the assertion, with its scopes."""
    body = issued(await up.present(up.id_jag()))
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 600
    assert body["scope"] == "notes:read notes:write"
    claims = claims_of(body["access_token"])
    assert (claims["iss"], claims["aud"]) == (ISSUER, NOTES)
    assert (claims["sub"], claims["client_id"]) == (up.server.ada.user_id, up.client_id)
    (event,) = up.server.events(AssertionTokenIssued)
    assert (event.issuer, event.subject, event.assertion_id) == (IDP, SUBJECT, "first")
    assert (event.user_id, event.token_id) == (up.server.ada.user_id, claims["jti"])


async def test_there_is_never_a_refresh_token(up: Federation) -> None:
    """Draft §4.4.3: SHOULD NOT; the identity provider is asked again, and can say no."""
    assert "refresh_token" not in issued(await up.present(up.id_jag()))
    assert await up.server.store.list("refresh_token") == []


async def test_an_id_jag_that_another_library_made_is_accepted(up: Federation) -> None:
    """Authlib's idea of an ID-JAG, and ours of it."""
    private = ECKey.import_key(IDP_KEY.private)
    issued(await up.present(authlib_id_jag(private, id_jag_claims(up.client_id))))


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA", "Ed25519"])
async def test_these_algorithms_are_taken_unless_the_operator_says_otherwise(algorithm: str) -> None:
    signer = key(algorithm, 20)
    async with federation(idp={"jwks_uri": None, "jwks": {"keys": [signer.jwk]}}) as up:
        issued(await up.present(up.id_jag(by=signer)))
    if algorithm != "ES256":
        async with federation(
            idp={"jwks_uri": None, "jwks": {"keys": [signer.jwk, IDP_KEY.jwk]}, "algorithms": ("ES256",)}
        ) as up:
            await refused(up, await up.present(up.id_jag(by=signer)), "alg")


async def test_an_audience_may_be_a_list_of_this_server_alone(up: Federation) -> None:
    """Draft §4.4.1: a string, or an array with exactly one element."""
    issued(await up.present(up.id_jag(aud=[ISSUER])))


async def test_when_the_user_authenticated_at_the_provider_is_told_to_resource_servers(
    up: Federation,
) -> None:
    body = issued(await up.present(up.id_jag(auth_time=START - 60)))
    assert claims_of(body["access_token"])["auth_time"] == START - 60


# The type.


@pytest.mark.parametrize(
    "typ",
    [
        *(None, 7, "JWT", "at+jwt", "dpop+jwt", "client-authentication+jwt", "secevent+jwt"),
        *("OAUTH-ID-JAG+JWT", "application/oauth-id-jag+jwt", "oauth-id-jag", "oauth-id-jag+jwt "),
    ],
)
async def test_only_the_exact_type_is_an_id_jag(up: Federation, typ: object) -> None:
    """Draft §3.1: MUST be oauth-id-jag+jwt, so an ID token or access token of the provider is none."""
    await refused(up, await up.present(up.id_jag(header={"typ": typ})))
    assert up.server.events(AssertionRefused)[0].reason in (
        "typ",
        "iss is not trusted with this kind of assertion",
    )


async def test_an_access_token_of_this_server_is_no_assertion(up: Federation) -> None:
    token = issued(await up.present(up.id_jag()))["access_token"]
    response = await up.present(token)
    assert response.json()["error"] == "invalid_grant"
    assert up.server.events(AssertionRefused)[0].reason == "typ"


async def test_an_id_jag_is_no_client_assertion(up: Federation) -> None:
    """RFC 8725 §3.11: even with the client's own name and key, its type says what it is."""
    signer = key("ES256", 30)
    client, _ = await up.server.clients.register(
        {
            "redirect_uris": ["https://signer.example/cb"],
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [signer.jwk]},
        },
        source="pre-registered",
    )
    claims = id_jag_claims(client.client_id, iss=client.client_id, sub=client.client_id)
    for typ, status in (("oauth-id-jag+jwt", 401), ("JWT", 200)):
        form = {"client_assertion_type": ASSERTION_TYPE, "token": "x"}
        assertion = signed(signer, claims, typ=typ)
        response = await up.server.post("/revoke", {**form, "client_assertion": assertion})
        assert response.status_code == status, response.text


async def test_a_client_assertion_is_no_id_jag(up: Federation) -> None:
    claims = {**id_jag_claims(up.client_id), "iss": up.client_id, "sub": up.client_id}
    for typ in ("client-authentication+jwt", "JWT"):
        await refused(up, await up.present(signed(IDP_KEY, claims, typ=typ, kid="idp")))


# Who made it.


async def test_an_issuer_that_is_not_trusted_is_refused(up: Federation) -> None:
    await refused(
        up,
        await up.present(up.id_jag(iss="https://evil.example")),
        "iss is not trusted with this kind of assertion",
    )
    assert up.network.asked == []


@pytest.mark.parametrize("iss", [f"{IDP}/", IDP.upper(), [IDP], None, 7, "", PLATFORM])
async def test_an_issuer_is_compared_byte_for_byte(up: Federation, iss: object) -> None:
    claims = id_jag_claims(up.client_id, iss=iss)
    await refused(up, await up.present(raw_jwt(IDP_KEY, {"typ": "oauth-id-jag+jwt"}, claims)))


async def test_a_signature_by_the_keys_of_another_trusted_issuer_is_refused(up: Federation) -> None:
    """Each issuer's keys speak for that issuer alone, even under the same kid."""
    await refused(up, await up.present(up.id_jag(by=OTHER_IDP_KEY)), "the signature")
    await refused(up, await up.present(up.id_jag(iss=OTHER_IDP)), "the signature")


async def test_a_platform_cannot_speak_for_users(up: Federation) -> None:
    """What an issuer is trusted with is part of the trust."""
    assertion = up.id_jag(iss=PLATFORM, by=PLATFORM_KEY, header={"kid": "platform"})
    await refused(up, await up.present(assertion), "iss is not trusted with this kind of assertion")


async def test_an_identity_provider_cannot_speak_for_workloads(up: Federation) -> None:
    assertion = workload_token(iss=IDP, by=IDP_KEY, header={"kid": "idp"})
    response = await up.as_workload(assertion)
    assert response.json()["error"] == "invalid_grant"
    assert up.server.events(AssertionTokenIssued) == []


async def test_no_signature_and_no_shared_key_will_do(up: Federation) -> None:
    """ext-auth §7.4.1: MUST NOT accept alg none; no HMAC with the public key."""
    head, payload, _ = up.id_jag().split(".")
    for algorithm in ("none", "None", "HS256", "ES384"):
        header = {"typ": "oauth-id-jag+jwt", "alg": algorithm, "kid": "idp"}
        head = urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
        await refused(up, await up.present(f"{head}.{payload}.AAAA"), "alg")
    await refused(up, await up.present(f"{head}.{payload}."), "no JWT")


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": key("ES256", 31).jwk},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["AAAA"]},
    ],
    ids=lambda header: next(iter(header)),
)
async def test_keys_that_an_assertion_brings_along_count_for_nothing(
    up: Federation, header: dict[str, Any]
) -> None:
    """CVE-2026-27962 and its like: the keys are those of the settings, and nothing else is asked."""
    await refused(up, await up.present(up.id_jag(by=key("ES256", 31), header=header)), "the signature")
    assert up.network.asked == [IDP_KEYS]
    issued(await up.present(up.id_jag(header=header)))
    assert up.network.asked == [IDP_KEYS]


async def test_a_critical_extension_is_not_understood(up: Federation) -> None:
    """RFC 7515 §4.1.11."""
    await refused(up, await up.present(up.id_jag(header={"crit": ["b64"], "b64": True})), "crit")


@pytest.mark.parametrize(
    "text", ["x", "a.b.c", "", "a" * 9000, "é", "e30.e30.e30", "e30.e30.e30.e30", "W10.W10.W10"]
)
async def test_what_is_no_jwt_is_one_plain_refusal(up: Federation, text: str) -> None:
    response = await up.present(text)
    assert response.status_code == 400
    assert response.json()["error"] == ("invalid_grant" if text else "invalid_request")
    assert await up.used() == 0


# Nothing else.


async def test_a_workloads_token_is_not_taken_from_a_client_that_is_another(up: Federation) -> None:
    response = await up.present(workload_token())
    await refused(up, response, "sub is not the client that hands it in")
    assert up.server.events(AssertionRefused)[0].subject == JOB


async def test_the_assertion_is_in_no_event_and_no_answer(up: Federation) -> None:
    assertion = up.id_jag()
    for response in (await up.present(assertion), await up.present(assertion)):
        assert assertion.split(".")[2] not in response.text
    assert assertion.split(".")[2] not in repr(up.server.happened)


async def test_the_metadata_tells_of_it_only_where_it_is_configured(up: Federation) -> None:
    """Draft §7.2: the profile SHOULD be there, the grant type MUST; who is trusted MUST NOT."""
    document = (await up.server.http.get("/.well-known/oauth-authorization-server")).json()
    assert document["authorization_grant_profiles_supported"] == [
        "urn:ietf:params:oauth:grant-profile:id-jag"
    ]
    assert GRANT_TYPE in document["grant_types_supported"]
    assert IDP not in json.dumps(document)
