"""The JWT bearer grant with the token of a platform: a program gets a token in its own name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcpauth.events import AssertionRefused, AssertionTokenIssued, TokenRefused
from tests.authorization_server.core_helpers import ISSUER, NOTES, START, TASKS
from tests.authorization_server.grants_helpers import claims_of, service
from tests.authorization_server.issuer_helpers import (
    GRANT_TYPE,
    IDP_KEY,
    JOB,
    PLATFORM,
    Federation,
    federation,
    issued,
    refused,
    workload_token,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

pytestmark = pytest.mark.anyio

DEPLOYER = "system:serviceaccount:deploy:web"


@pytest.fixture
async def up() -> AsyncGenerator[Federation]:
    async with federation() as up:
        yield up


async def refused_as_client(response: httpx2.Response) -> None:
    assert response.status_code == 401, response.text
    assert response.json()["error"] == "invalid_client"


async def test_a_platforms_token_becomes_an_access_token_in_the_workloads_own_name(up: Federation) -> None:
    """ext-auth, workload identity federation: no client_id, no secret, no registration."""
    body = issued(await up.as_workload(workload_token(), resource=NOTES))
    assert (body["token_type"], body["scope"], body["expires_in"]) == ("Bearer", "notes:read", 600)
    assert "refresh_token" not in body
    claims = claims_of(body["access_token"])
    assert (claims["sub"], claims["client_id"], claims["aud"]) == ("nightly-report", "nightly-report", NOTES)
    assert "grant_id" not in claims
    (event,) = up.server.events(AssertionTokenIssued)
    assert (event.client_id, event.user_id, event.grant_id) == ("nightly-report", None, None)
    assert (event.issuer, event.subject, event.assertion_id) == (PLATFORM, JOB, "first")
    assert await up.server.grants.list() == ()


async def test_a_workload_may_name_the_client_that_it_is(up: Federation) -> None:
    issued(await up.as_workload(workload_token(), client_id="nightly-report"))


async def test_a_workload_cannot_be_another_client(up: Federation) -> None:
    """The assertion proves one subject, whatever the request says."""
    response = await up.as_workload(workload_token(), client_id="deployer")
    await refused(up, response, "sub is not the client that hands it in")
    await refused_as_client(await up.as_workload(workload_token(), client_id="unknown"))
    public = await up.server.public_client()
    named = await up.as_workload(workload_token(), client_id=public.client_id)
    assert named.json()["error"] == "unauthorized_client"
    assert await up.used() == 0


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "JOSE"])
async def test_these_types_are_a_platforms_token(up: Federation, typ: str | None) -> None:
    issued(await up.as_workload(workload_token(header={"typ": typ})))


@pytest.mark.parametrize("typ", ["at+jwt", "dpop+jwt", "client-authentication+jwt", "wit+jwt"])
async def test_what_says_that_it_is_something_else_is_none(up: Federation, typ: str) -> None:
    await refused(up, await up.as_workload(workload_token(header={"typ": typ})), "typ")


async def test_an_id_jag_needs_a_client_that_authenticates(up: Federation) -> None:
    await refused_as_client(await up.as_workload(up.id_jag()))
    assert await up.used() == 0


async def test_a_beginning_of_a_subject_stands_for_all_of_them(up: Federation) -> None:
    body = issued(await up.as_workload(workload_token(sub=DEPLOYER), resource=TASKS))
    claims = claims_of(body["access_token"])
    assert (claims["sub"], claims["scope"], claims["aud"]) == ("deployer", "tasks:read", TASKS)
    assert up.server.events(AssertionTokenIssued)[0].subject == DEPLOYER


@pytest.mark.parametrize(
    "sub",
    [
        *("system:serviceaccount:ci:other", "system:serviceaccount:ci:nightly2", f"{JOB}:x", JOB.upper()),
        *(
            "system:serviceaccount:deploy:",
            "system:serviceaccount:deploy",
            "system:serviceaccount:deploy-x:y",
        ),
        *("x:system:serviceaccount:deploy:web", "*", "system:serviceaccount:deplo", "nightly-report"),
    ],
)
async def test_no_other_subject_is_a_workload(up: Federation, sub: str) -> None:
    """ext-auth: MUST apply configured rules to determine whether the workload should get a token."""
    await refused(up, await up.as_workload(workload_token(sub=sub)), "sub is no workload of the settings")
    assert up.server.events(TokenRefused)[0].client_id == "(unknown workload)"


async def test_an_issuer_that_is_not_trusted_is_refused(up: Federation) -> None:
    response = await up.as_workload(workload_token(iss="https://evil.example"))
    await refused(up, response, "iss is not trusted with this kind of assertion")
    assert up.network.asked == []


async def test_a_forged_signature_is_refused(up: Federation) -> None:
    """The name of the client is taken from the assertion before anything is proved, and proves nothing."""
    await refused(up, await up.as_workload(workload_token(by=IDP_KEY)), "no such key")
    assert up.server.events(AssertionRefused)[0].client_id == "nightly-report"
    assert not up.server.events(AssertionRefused)[0].proved


@pytest.mark.parametrize("aud", [ISSUER, f"{ISSUER}/token", [ISSUER], [f"{ISSUER}/token"]])
async def test_the_audience_is_this_servers_issuer_or_token_endpoint(up: Federation, aud: object) -> None:
    """ext-auth names the token endpoint, RFC 7523 §3 allows either, the conformance suite uses the issuer."""
    issued(await up.as_workload(workload_token(aud=aud)))


@pytest.mark.parametrize("aud", [None, NOTES, [ISSUER, f"{ISSUER}/token"], f"{ISSUER}/", "sts.amazonaws.com"])
async def test_a_token_for_another_audience_is_refused(up: Federation, aud: object) -> None:
    await refused(up, await up.as_workload(workload_token(aud=aud)), "aud is not this server alone")


async def test_an_audience_that_the_operator_names_is_the_only_one() -> None:
    async with federation(of_platform={"audience": "mcpauth"}) as up:
        for aud in (ISSUER, f"{ISSUER}/token", ["mcpauth", ISSUER]):
            await refused(up, await up.as_workload(workload_token(aud=aud)), "aud is not this server alone")
        issued(await up.as_workload(workload_token(aud="mcpauth")))


async def test_a_platforms_token_may_last_an_hour(up: Federation) -> None:
    response = await up.as_workload(workload_token(exp=START + 3601))
    await refused(up, response, "from iat to exp is longer than max_assertion_lifetime")
    issued(await up.as_workload(workload_token()))


async def test_the_access_token_does_not_outlive_what_the_platform_vouched_for(up: Federation) -> None:
    up.server.clock.advance(3590)
    body = issued(await up.as_workload(workload_token()))
    assert body["expires_in"] == 10
    assert claims_of(body["access_token"])["exp"] == START + 3600


async def test_it_is_good_for_once(up: Federation) -> None:
    """ext-auth: jti, to prevent replay attacks."""
    issued(await up.as_workload(workload_token()))
    again = await up.as_workload(workload_token())
    assert again.json()["error"] == "invalid_grant"
    assert up.server.events(AssertionRefused)[0].reason == "used before"
    none = await up.as_workload(workload_token(jti=None))
    assert none.json()["error"] == "invalid_grant"


async def test_a_platform_that_renews_its_tokens_seldom_can_have_them_used_again() -> None:
    """A Kubernetes token lies in a file for the better part of an hour."""
    async with federation(of_platform={"single_use": False}) as up:
        for _ in range(2):
            issued(await up.as_workload(workload_token(jti=None)))
        assert await up.used() == 0
        assert up.server.events(AssertionTokenIssued)[0].assertion_id is None


async def test_a_token_that_is_bound_to_a_key_needs_a_proof_of_it(up: Federation) -> None:
    await refused(up, await up.as_workload(workload_token(cnf={"jkt": "x"})), "cnf, and no proof of that key")


async def test_it_gets_what_the_operator_gave_it_and_no_more(up: Federation) -> None:
    more = issued(await up.as_workload(workload_token(), scope="notes:read notes:write"))
    assert more["scope"] == "notes:read"
    for jti, changes, error in (
        ("a", {"scope": "notes:admin unknown"}, "notes:read"),
        ("b", {"resource": TASKS}, "invalid_target"),
        ("c", {"resource": "https://unknown.example"}, "invalid_target"),
        ("d", {"scope": "unknown"}, "invalid_scope"),
    ):
        response = await up.as_workload(workload_token(jti=jti), **changes)
        assert response.json().get("error", response.json().get("scope")) == error
    several = await up.as_workload(workload_token(sub=DEPLOYER, jti="e"))
    assert several.json()["error"] == "invalid_target"
    assert await up.used() == 2


async def test_its_claims_do_not_become_claims_of_the_token(up: Federation) -> None:
    """ext-auth: SHOULD NOT permit the transcription of JWT claims; the sub could be a user's."""
    body = issued(await up.as_workload(workload_token(scope="notes:admin", roles=["root"], act={"sub": "x"})))
    assert claims_of(body["access_token"]).keys() == {
        *("iss", "sub", "aud", "client_id", "scope", "exp", "iat", "jti")
    }


async def test_resource_servers_hear_of_it_and_the_workload_can_hand_it_back(up: Federation) -> None:
    token = issued(await up.as_workload(workload_token()))["access_token"]
    resource_server = await up.server.server_of(NOTES)
    told = await up.server.introspect(resource_server, token)
    assert (told["active"], told["sub"]) == (True, "nightly-report")
    response = await up.server.post("/revoke", {"client_id": "nightly-report", "token": token})
    assert response.status_code == 200
    assert await up.server.introspect(resource_server, token) == {"active": False}


async def test_saying_that_one_is_a_workload_gives_nothing_else(up: Federation) -> None:
    """Like a public client it proves nothing by its name."""
    for form in (
        {"grant_type": "client_credentials"},
        {"grant_type": "authorization_code", "code": "x"},
        {"grant_type": "refresh_token", "refresh_token": "x"},
    ):
        response = await up.server.post("/token", {"client_id": "nightly-report", **form})
        assert response.json()["error"] == "unauthorized_client"
    authorize = await up.server.http.get(
        "/authorize", params={"client_id": "nightly-report", "redirect_uri": "https://x.example"}
    )
    assert authorize.status_code == 400
    introspect = await up.server.post("/introspect", {"client_id": "nightly-report", "token": "x"})
    assert introspect.status_code == 401


async def test_two_ways_to_say_who_one_is_are_not_taken_together(up: Federation) -> None:
    """RFC 6749 §2.3: with credentials besides, they are what counts."""
    response = await up.server.post_as(
        (up.client[0], "wrong"), "/token", grant_type=GRANT_TYPE, assertion=workload_token()
    )
    await refused_as_client(response)
    await refused_as_client(
        await up.as_workload(workload_token(), client_id="nightly-report", client_secret="x")
    )
    assert await up.used() == 0


async def test_where_no_platform_is_trusted_an_assertion_says_nothing_of_its_client() -> None:
    async with federation(platforms=False) as up:
        await refused_as_client(await up.as_workload(workload_token()))
        # And the name of a workload is nobody's.
        await refused_as_client(await up.as_workload(workload_token(), client_id="nightly-report"))


async def test_without_trusted_issuers_the_grant_type_is_neither_known_nor_told_of() -> None:
    async with service() as server:
        client = await server.confidential_client(GRANT_TYPE)
        response = await server.post_as(client, "/token", grant_type=GRANT_TYPE, assertion=workload_token())
        assert response.json()["error"] == "unsupported_grant_type"
        document = (await server.http.get("/.well-known/oauth-authorization-server")).json()
        assert GRANT_TYPE not in document["grant_types_supported"]
        assert "authorization_grant_profiles_supported" not in document
