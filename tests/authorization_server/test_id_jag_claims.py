"""The JWT bearer grant with assertions of an identity provider: what they say, for whom, and once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from mcpauth.events import AssertionRefused
from tests.authorization_server.assertion_helpers import ASSERTION_TYPE, key, signed
from tests.authorization_server.core_helpers import ISSUER, NOTES, START, basic
from tests.authorization_server.document_helpers import CLIENT_ID, document
from tests.authorization_server.dpop_helpers import Prover
from tests.authorization_server.grants_helpers import claims_of
from tests.authorization_server.issuer_helpers import (
    GRANT_TYPE,
    IDP_KEY,
    OTHER_IDP,
    OTHER_IDP_KEY,
    SUBJECT,
    Federation,
    federation,
    id_jag,
    id_jag_claims,
    issued,
    raw_jwt,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

pytestmark = pytest.mark.anyio

TIMES = {"aud": ISSUER, "iat": START, "exp": START + 60, "jti": "proof"}


@pytest.fixture
async def up() -> AsyncGenerator[Federation]:
    async with federation() as up:
        yield up


# What it says.


@pytest.mark.parametrize(
    "aud",
    [
        None,
        f"{ISSUER}/",
        f"{ISSUER}/token",
        [ISSUER, "https://other.example"],
        [ISSUER, ISSUER],
        [],
        [[ISSUER]],
        {"x": ISSUER},
        7,
        NOTES,
    ],
)
async def test_the_audience_is_this_servers_issuer_alone(up: Federation, aud: object) -> None:
    """Draft §4.4.1: another server that is named as well could use the assertion here."""
    await refused(up, await up.present(up.id_jag(aud=aud)), "aud is not this server alone")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": None}, "exp is no time"),
        ({"exp": str(START + 300)}, "exp is no time"),
        ({"exp": START + 300.0}, "exp is no time"),
        ({"exp": START + 299.5}, "exp is no time"),
        ({"exp": True}, "exp is no time"),
        ({"exp": -1}, "exp is no time"),
        ({"exp": 10**30}, "exp is no time"),
        ({"exp": START}, "exp has passed"),
        ({"iat": START - 400, "exp": START - 100}, "exp has passed"),
        ({"iat": None}, "iat is no time"),
        ({"iat": str(START)}, "iat is no time"),
        ({"iat": START + 0.5}, "iat is no time"),
        ({"iat": START + 31, "exp": START + 300}, "iat is in the future"),
        ({"nbf": START + 31}, "nbf is in the future"),
        ({"nbf": "now"}, "nbf is no time"),
        ({"auth_time": "yesterday"}, "auth_time is no time"),
    ],
)
async def test_times_are_whole_numbers_and_now(
    up: Federation, changed: dict[str, object], reason: str
) -> None:
    """ext-auth §7.4.2: MUST be rejected outside their validity window."""
    await refused(up, await up.present(up.id_jag(**changed)), reason)


async def test_an_assertion_is_good_no_longer_than_the_settings_say(up: Federation) -> None:
    """ext-auth §7.4.2: MUST be short-lived; ten minutes unless the operator says otherwise."""
    longer = {"iat": START - 300, "exp": START + 301}
    await refused(
        up, await up.present(up.id_jag(**longer)), "from iat to exp is longer than max_assertion_lifetime"
    )
    issued(await up.present(up.id_jag(iat=START - 300, exp=START + 300)))


async def test_the_clock_of_the_issuer_may_be_a_little_ahead(up: Federation) -> None:
    issued(await up.present(up.id_jag(iat=START + 30, nbf=START + 30)))


@pytest.mark.parametrize("sub", [None, "", 7, ["U019488227"], "x" * 513, "U0194\n88227", f"{SUBJECT} "])
async def test_the_subject_is_a_plain_text_and_compared_exactly(up: Federation, sub: object) -> None:
    await refused(up, await up.present(up.id_jag(sub=sub)))


@pytest.mark.parametrize("jti", [None, "", 7, ["first"], "x" * 513])
async def test_without_a_jti_it_could_be_replayed_and_is_refused(up: Federation, jti: object) -> None:
    """ext-auth §7.4.2: replay detection is REQUIRED."""
    await refused(up, await up.present(up.id_jag(jti=jti)), "no jti")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"authorization_details": [{"type": "payment"}]}, "authorization_details is not understood here"),
        ({"authorization_details": []}, "authorization_details is not understood here"),
        ({"act": {"sub": "agent"}}, "act is not understood here"),
        ({"aud_tenant": "acme"}, "aud_tenant is not understood here"),
        ({"tenant": "acme"}, "tenant"),
    ],
)
async def test_what_would_change_its_meaning_and_is_not_understood_is_refused(
    up: Federation, changed: dict[str, object], reason: str
) -> None:
    """RFC 9396 §5: unknown authorization details MUST be refused. The others would be lost on the way."""
    await refused(up, await up.present(up.id_jag(**changed)), reason)


async def test_a_tenant_that_the_operator_names_is_the_only_one() -> None:
    """Draft §6: with several tenants, a subject is somebody only together with its tenant."""
    async with federation(idp={"tenant": "acme"}) as up:
        for tenant in (None, "other", ["acme"]):
            await refused(up, await up.present(up.id_jag(tenant=tenant)), "tenant")
        issued(await up.present(up.id_jag(tenant="acme")))


# The client.


async def test_it_is_for_the_client_that_it_names(up: Federation) -> None:
    """Draft §4.4.1: MUST match the authenticated client, or invalid_grant. Its own can use it afterwards."""
    thief = await up.server.confidential_client(GRANT_TYPE)
    assertion = up.id_jag()
    response = await up.present(assertion, by=thief)
    await refused(up, response, "client_id is not the client that hands it in")
    # Not burnt by the thief.
    issued(await up.present(assertion))


@pytest.mark.parametrize("client_id", [None, "", 7, ["x"]])
async def test_without_a_client_id_it_is_for_nobody(up: Federation, client_id: object) -> None:
    await refused(
        up, await up.present(up.id_jag(client_id=client_id)), "client_id is not the client that hands it in"
    )


async def test_a_client_that_the_operator_did_not_name_for_the_issuer_is_refused(up: Federation) -> None:
    other = await up.server.confidential_client(GRANT_TYPE)
    response = await up.present(id_jag(other[0].client_id), by=other)
    await refused(up, response, error="unauthorized_client")


async def test_a_client_has_to_authenticate_and_to_be_registered_for_the_grant_type(up: Federation) -> None:
    assertion = up.id_jag()
    wrong = await up.present(assertion, by=(up.client[0], "wrong"))
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    nobody = await up.as_workload(assertion)
    assert (nobody.status_code, nobody.json()["error"]) == (401, "invalid_client")
    just_named = await up.as_workload(assertion, client_id=up.client_id)
    assert (just_named.status_code, just_named.json()["error"]) == (401, "invalid_client")
    another = await up.server.confidential_client("client_credentials")
    unregistered = await up.present(id_jag(another[0].client_id), by=another)
    assert (unregistered.status_code, unregistered.json()["error"]) == (400, "unauthorized_client")
    assert await up.used() == 0
    issued(await up.present(assertion))


async def test_a_public_client_may_only_when_the_operator_says_so() -> None:
    """Draft §9.1: SHOULD only be supported for confidential clients; MCP shows one without a secret (§5)."""
    async with federation(method="none") as up:
        response = await up.as_workload(up.id_jag(), client_id=up.client_id)
        await refused(up, response, error="unauthorized_client")
    async with federation(method="none", idp={"public_clients": True}) as up:
        issued(await up.as_workload(up.id_jag(), client_id=up.client_id))


async def test_a_client_that_describes_itself_at_a_url_is_named_by_it() -> None:
    """ext-auth §5: it can use its Client ID Metadata Document, whatever grant types that lists."""
    async with federation(idp={"client_ids": (CLIENT_ID,), "public_clients": True}) as up:
        up.network.documents[CLIENT_ID] = document()
        issued(await up.as_workload(up.id_jag(client_id=CLIENT_ID), client_id=CLIENT_ID))
    signer = key("ES256", 32)
    async with federation(idp={"client_ids": (CLIENT_ID,)}) as up:
        up.network.documents[CLIENT_ID] = document(
            token_endpoint_auth_method="private_key_jwt", jwks={"keys": [signer.jwk]}
        )
        assertion = up.id_jag(client_id=CLIENT_ID)
        nameless = await up.as_workload(assertion, client_id=CLIENT_ID)
        assert nameless.status_code == 401
        proof = signed(signer, {"iss": CLIENT_ID, "sub": CLIENT_ID, **TIMES})
        issued(await up.as_workload(assertion, client_assertion_type=ASSERTION_TYPE, client_assertion=proof))
        # Nobody else's document makes it a client that may.
        other = "https://other.example/client.json"
        up.network.documents[other] = document(other, grant_types=["authorization_code", GRANT_TYPE])
        response = await up.as_workload(id_jag(other, jti="second"), client_id=other)
        assert response.json()["error"] == "unauthorized_client"


# Proof of possession.


async def test_an_id_jag_that_is_bound_to_a_key_needs_a_proof_of_it(up: Federation) -> None:
    """Draft §9.8: a cnf and no proof MUST be invalid_grant; another binding cannot be checked."""
    prover = Prover(up.server.clock)
    jkt = prover.key.thumbprint()
    for cnf in ({"jkt": jkt}, {"x5t#S256": "x"}, {}, None, jkt):
        header = {"typ": "oauth-id-jag+jwt", "kid": "idp"}
        assertion = raw_jwt(IDP_KEY, header, id_jag_claims(up.client_id) | {"cnf": cnf})
        await refused(up, await up.present(assertion), "cnf, and no proof of that key")


async def test_the_proof_is_of_the_same_key_and_binds_the_token(up: Federation) -> None:
    """Draft §9.8: the thumbprints MUST match exactly; the token SHOULD be bound to the same key."""
    prover = Prover(up.server.clock)
    jkt = prover.key.thumbprint()
    for cnf in (
        {"jkt": "another"},
        {"jkt": jkt, "x5t#S256": "x"},
        {"jkt": [jkt]},
        {"jkt": jkt.swapcase()},
        jkt,
    ):
        response = await proving(up, prover, up.id_jag(cnf=cnf))
        await refused(up, response, "cnf, and no proof of that key")
    body = issued(await proving(up, prover, up.id_jag(cnf={"jkt": jkt})))
    assert body["token_type"] == "DPoP"
    assert claims_of(body["access_token"])["cnf"] == {"jkt": jkt}


async def test_a_proof_with_an_assertion_that_is_bound_to_nothing_binds_the_token(up: Federation) -> None:
    """Draft §9.8: MAY issue a sender-constrained token."""
    prover = Prover(up.server.clock)
    body = issued(await proving(up, prover, up.id_jag()))
    assert body["token_type"] == "DPoP"
    assert claims_of(body["access_token"])["cnf"] == {"jkt": prover.key.thumbprint()}


async def test_a_proof_of_possession_is_no_assertion(up: Federation) -> None:
    prover = Prover(up.server.clock)
    await refused(up, await up.present(prover.proof()), "typ")


async def proving(up: Federation, prover: Prover, assertion: str) -> httpx2.Response:
    client, secret = up.client
    return await up.server.http.post(
        "/token",
        data={"grant_type": GRANT_TYPE, "assertion": assertion},
        headers={"DPoP": prover.proof()} | basic(f"{client.client_id}:{secret}"),
    )


# Once.


async def test_it_is_good_for_once(up: Federation) -> None:
    """ext-auth §7.4.2: MUST reject re-use while it is good, also of one who lost the first answer."""
    assertion = up.id_jag()
    first = issued(await up.present(assertion))
    for _ in range(2):
        response = await up.present(assertion)
        assert response.json()["error"] == "invalid_grant"
        assert up.server.events(AssertionRefused)[-1].reason == "used before"
    # Another signature over the same jti is the same assertion.
    again = await up.present(up.id_jag(exp=START + 299))
    assert again.json()["error"] == "invalid_grant"
    # The first token lives on: whoever repeats the assertion can end nothing.
    introspected = await up.server.introspect(up.client, first["access_token"])
    assert introspected["active"] is True


async def test_of_twenty_at_once_one_gets_a_token(up: Federation) -> None:
    assertion = up.id_jag()
    statuses: list[int] = []

    async def present() -> None:
        statuses.append((await up.present(assertion)).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(present)
    assert sorted(statuses) == [200, *[400] * 19]
    assert len(await up.server.grants.list()) == 1


async def test_the_jti_of_one_issuer_is_not_that_of_another(up: Federation) -> None:
    assert await up.identities.link(up.server.ada, OTHER_IDP, SUBJECT)
    issued(await up.present(up.id_jag()))
    issued(await up.present(up.id_jag(iss=OTHER_IDP, by=OTHER_IDP_KEY)))


async def test_it_is_remembered_as_long_as_it_is_good(up: Federation) -> None:
    assertion = up.id_jag()
    issued(await up.present(assertion))
    up.server.clock.advance(299)
    assert (await up.present(assertion)).json()["error"] == "invalid_grant"
    assert up.server.events(AssertionRefused)[-1].reason == "used before"
    up.server.clock.advance(1)
    assert (await up.present(assertion)).json()["error"] == "invalid_grant"
    assert up.server.events(AssertionRefused)[-1].reason == "exp has passed"
