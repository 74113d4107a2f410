"""The JWT bearer grant with assertions of an identity provider: for which resource, with which scopes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.authorization_server.assertion_helpers import signed
from tests.authorization_server.core_helpers import NOTES, TASKS
from tests.authorization_server.grants_helpers import claims_of
from tests.authorization_server.issuer_helpers import (
    IDP_KEY,
    Federation,
    federation,
    id_jag_claims,
    issued,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


pytestmark = pytest.mark.anyio


@pytest.fixture
async def up() -> AsyncGenerator[Federation]:
    async with federation() as up:
        yield up


# Resource and scope.


async def test_the_token_is_for_the_resource_of_the_assertion(up: Federation) -> None:
    """ext-auth §5.1: MUST be audience-restricted to it; the request may name it too."""
    body = issued(await up.present(up.id_jag(), resource=NOTES))
    assert claims_of(body["access_token"])["aud"] == NOTES


async def test_a_resource_that_is_not_the_assertions_is_an_invalid_target() -> None:
    """RFC 8707 §2. Of an unknown one as well."""
    both = {"resources": (NOTES, TASKS), "scopes": ("notes:read", "tasks:read")}
    async with federation(idp=both) as up:
        for wrong in (TASKS, "https://unknown.example", "not a uri"):
            await refused(up, await up.present(up.id_jag(), resource=wrong), error="invalid_target")
        unknown = up.id_jag(resource="https://unknown.example")
        await refused(
            up, await up.present(unknown, resource="https://unknown.example"), error="invalid_target"
        )
        await refused(up, await up.present(up.id_jag(), resource=[NOTES, TASKS]), error="invalid_target")


@pytest.mark.parametrize(
    "resource", ["https://unknown.example", [], ["https://unknown.example"], "x", 7, [7]]
)
async def test_an_assertion_for_no_resource_of_this_server_is_refused(
    up: Federation, resource: object
) -> None:
    """ext-auth §7.6.2: MUST reject with invalid_grant, or an assertion for another server would do here."""
    await refused(up, await up.present(up.id_jag(resource=resource)))


async def test_an_assertion_may_name_several_resources_and_a_token_is_for_one() -> None:
    """Draft §3.1: one URI or an array; what is not this server's is left out."""
    both = {"resources": (NOTES, TASKS), "scopes": ("notes:read", "tasks:read")}
    async with federation(idp=both) as up:
        several = {"resource": ["https://unknown.example", TASKS, NOTES], "scope": "notes:read tasks:read"}
        first = issued(await up.present(up.id_jag(**several)))
        assert (claims_of(first["access_token"])["aud"], first["scope"]) == (TASKS, "tasks:read")
        named = issued(await up.present(up.id_jag(jti="second", **several), resource=NOTES))
        assert (claims_of(named["access_token"])["aud"], named["scope"]) == (NOTES, "notes:read")


async def test_an_assertion_without_a_resource_is_good_where_the_operator_says(up: Federation) -> None:
    """ext-auth §4.3: the claim is optional. The ceiling of the settings is not."""
    body = issued(await up.present(up.id_jag(resource=None), resource=NOTES))
    assert claims_of(body["access_token"])["aud"] == NOTES
    default = issued(await up.present(up.id_jag(resource=None, jti="second")))
    assert claims_of(default["access_token"])["aud"] == NOTES


async def test_a_resource_that_is_not_the_issuers_to_give_is_an_invalid_target(up: Federation) -> None:
    for claim in (TASKS, None):
        assertion = up.id_jag(resource=claim, scope="tasks:read")
        await refused(up, await up.present(assertion, resource=TASKS), error="invalid_target")
    await refused(up, await up.present(up.id_jag(resource=TASKS)), error="invalid_target")


async def test_a_request_may_ask_for_less_and_never_for_more_than_the_assertion(up: Federation) -> None:
    """RFC 7521 §4.1: the requested scope MUST be equal to or less than the one originally granted."""
    less = issued(await up.present(up.id_jag(), scope="notes:read"))
    assert less["scope"] == "notes:read"
    assertion = up.id_jag(jti="second", scope="notes:read")
    for more in ("notes:write", "notes:read notes:write", "notes:read unknown"):
        response = await up.present(assertion, scope=more)
        assert response.json()["error"] == "invalid_scope"
    assert await up.used() == 1
    # Not burnt by it.
    assert issued(await up.present(assertion))["scope"] == "notes:read"


async def test_what_a_scope_of_the_assertion_implies_may_be_asked_for(up: Federation) -> None:
    assert (
        issued(await up.present(up.id_jag(scope="notes:write"), scope="notes:read"))["scope"] == "notes:read"
    )


@pytest.mark.parametrize("scope", ["unknown", "", " ", 7, ["notes:read"], 'notes:read"'])
async def test_a_scope_that_the_resource_does_not_know_is_refused(up: Federation, scope: object) -> None:
    """ext-auth §7.6.2: with invalid_grant; an empty one is not taken for the default."""
    assertion = signed(
        IDP_KEY, {**id_jag_claims(up.client_id), "scope": scope}, typ="oauth-id-jag+jwt", kid="idp"
    )
    await refused(up, await up.present(assertion), "scope names nothing that the resource knows")


async def test_the_operators_ceiling_cuts_what_the_assertion_says(up: Federation) -> None:
    """Draft §4.4.1: the scopes MAY be a subset; the answer says which."""
    body = issued(await up.present(up.id_jag(scope="notes:read notes:admin")))
    # notes:admin implies notes:write, which is within the ceiling.
    assert body["scope"] == "notes:read notes:write"
    async with federation(idp={"scopes": ("notes:read",)}) as lower:
        # Whoever may write may read, and that is all of it that is left.
        assert issued(await lower.present(lower.id_jag()))["scope"] == "notes:read"


async def test_an_assertion_without_a_scope_leaves_it_to_the_request_and_the_ceiling(up: Federation) -> None:
    assert issued(await up.present(up.id_jag(scope=None)))["scope"] == "notes:read"
    asked = issued(await up.present(up.id_jag(scope=None, jti="second"), scope="notes:write"))
    assert asked["scope"] == "notes:read notes:write"
    response = await up.present(up.id_jag(scope=None, jti="third"), scope="unknown")
    assert response.json()["error"] == "invalid_scope"
