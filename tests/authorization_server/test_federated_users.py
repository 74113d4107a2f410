"""Which user an identity provider's subject is, and that its tokens end like those of everybody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from mcpauth.events import AssertionRefused, AssertionTokenIssued, UserProvisioned
from mcpauth.oauth.form import Form
from mcpauth.oauth.user import Users
from mcpauth.signin import SignInRefused
from mcpauth.signin.password import Passwords, PasswordSignIn
from mcpauth.signin.usual_places import UsualPlaces
from mcpauth.web.throttle import Throttle
from tests.authorization_server.core_helpers import NOTES
from tests.authorization_server.front_helpers import CHEAP
from tests.authorization_server.grants_helpers import claims_of
from tests.authorization_server.issuer_helpers import (
    IDP,
    OTHER_IDP,
    OTHER_IDP_KEY,
    SUBJECT,
    Federation,
    federation,
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


@pytest.fixture
async def unlinked() -> AsyncGenerator[Federation]:
    async with federation(linked=False) as up:
        yield up


@pytest.fixture
async def provisioning() -> AsyncGenerator[Federation]:
    async with federation(linked=False, idp={"provision": True}) as up:
        yield up


async def test_a_subject_that_is_nobody_here_is_refused_like_anything_else(unlinked: Federation) -> None:
    """Who is a user here is not for clients to find out."""
    response = await unlinked.present(unlinked.id_jag())
    await refused(unlinked, response, "sub is no user here")
    bad = await unlinked.present(unlinked.id_jag(exp=1))
    assert response.json() == bad.json()
    assert [user.username for user in await unlinked.server.users.list()] == ["ada"]


@pytest.mark.parametrize("claim", ["email", "preferred_username", "name", "aud_sub", "upn"])
async def test_no_name_or_address_leads_to_an_account(unlinked: Federation, claim: str) -> None:
    """Whoever can choose theirs at the provider could choose whose account they get."""
    for value in ("ada", unlinked.server.ada.user_id):
        told = {claim: value, "email_verified": True}
        await refused(unlinked, await unlinked.present(unlinked.id_jag(**told)), "sub is no user here")
        await refused(
            unlinked, await unlinked.present(unlinked.id_jag(sub=value, **told)), "sub is no user here"
        )


async def test_the_same_subject_of_another_issuer_is_somebody_else(up: Federation) -> None:
    """Draft §3.1: a subject is unique with its issuer only."""
    assertion = up.id_jag(iss=OTHER_IDP, by=OTHER_IDP_KEY)
    await refused(up, await up.present(assertion), "sub is no user here")


async def test_a_user_who_comes_to_be_has_the_same_sub_ever_after(provisioning: Federation) -> None:
    up = provisioning
    first = issued(await up.present(up.id_jag()))
    second = issued(await up.present(up.id_jag(jti="second")))
    sub = claims_of(first["access_token"])["sub"]
    assert claims_of(second["access_token"])["sub"] == sub
    assert sub not in (SUBJECT, up.server.ada.user_id)
    (event,) = up.server.events(UserProvisioned)
    assert (event.user_id, event.issuer, event.subject) == (sub, IDP, SUBJECT)
    (identity,) = await up.identities.of(sub)
    assert (identity.issuer, identity.subject) == (IDP, SUBJECT)
    other = issued(await up.present(up.id_jag(sub="other", jti="third")))
    assert claims_of(other["access_token"])["sub"] != sub


async def test_ten_first_assertions_at_once_make_one_user(provisioning: Federation) -> None:
    up = provisioning
    subs: set[str] = set()

    async def present(number: int) -> None:
        body = issued(await up.present(up.id_jag(jti=f"number {number}")))
        subs.add(claims_of(body["access_token"])["sub"])

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(present, number)
    assert len(subs) == 1
    assert len(await up.server.users.list()) == 2


async def test_a_refused_assertion_makes_no_user(provisioning: Federation) -> None:
    up = provisioning
    for response in (
        await up.present(up.id_jag(aud="https://other.example")),
        await up.present(up.id_jag(by=OTHER_IDP_KEY)),
        await up.present(up.id_jag(), resource="https://unknown.example"),
        await up.present(up.id_jag(), scope="notes:admin"),
        await up.present(up.id_jag(iss=OTHER_IDP, by=OTHER_IDP_KEY)),
    ):
        assert response.status_code == 400
    assert [user.username for user in await up.server.users.list()] == ["ada"]
    assert up.server.events(UserProvisioned) == []


async def test_a_name_that_somebody_with_a_password_has_is_not_taken_over(provisioning: Federation) -> None:
    up = provisioning
    issued(await up.present(up.id_jag()))
    (made,) = [user for user in await up.server.users.list() if user.username != "ada"]
    async with federation(linked=False, idp={"provision": True}) as fresh:
        assert await fresh.server.users.add(made.username, CHEAP.hash("a password"))
        await refused(fresh, await fresh.present(fresh.id_jag()), "sub is no user here")


async def test_nobody_signs_in_with_a_password_as_a_user_without_one(provisioning: Federation) -> None:
    up = provisioning
    issued(await up.present(up.id_jag()))
    (made,) = [user for user in await up.server.users.list() if user.username != "ada"]
    assert made.password_hash is None
    sign_in = PasswordSignIn(
        up.server.users,
        Passwords(CHEAP),
        Throttle(now=up.server.clock),
        UsualPlaces(up.server.store, now=up.server.clock),
    )
    for password in ("", "None", "null", SUBJECT):
        form = Form([("username", made.username), ("password", password)])
        with pytest.raises(SignInRefused):
            await sign_in.authenticate(form, address="192.0.2.1")


async def test_a_disabled_user_gets_no_token_and_the_assertion_is_kept(up: Federation) -> None:
    users = Users(up.server.store, now=up.server.clock)
    assert await users.set_disabled(up.server.ada, disabled=True)
    assertion = up.id_jag()
    await refused(up, await up.present(assertion), "the user is disabled")
    disabled = await users.by_name("ada")
    assert disabled is not None
    assert await users.set_disabled(disabled, disabled=False)
    issued(await up.present(assertion))


async def test_disabling_the_user_ends_the_tokens_that_there_are(up: Federation) -> None:
    body = issued(await up.present(up.id_jag()))
    token = body["access_token"]
    assert (await up.server.introspect(up.client, token))["active"] is True
    users = Users(up.server.store, now=up.server.clock)
    assert await users.set_disabled(up.server.ada, disabled=True)
    await up.server.grants.suspend(up.server.ada.user_id)
    assert await up.server.introspect(up.client, token) == {"active": False}
    revoked = (await up.server.http.get("/revoked")).json()["revoked"]
    assert [entry["grant_id"] for entry in revoked] == [claims_of(token)["grant_id"]]


async def test_there_is_a_grant_that_lists_and_ends_like_any_other(up: Federation) -> None:
    """RFC 7009 §2: revoking the token ends it, for those who verify tokens themselves, too."""
    token = issued(await up.present(up.id_jag()))["access_token"]
    (grant,) = await up.server.grants.list(up.server.ada.user_id)
    assert (grant.client_id, grant.resources) == (up.client_id, (NOTES,))
    assert claims_of(token)["grant_id"] == grant.grant_id
    response = await up.server.post_as(up.client, "/revoke", token=token)
    assert response.status_code == 200
    assert await up.server.introspect(up.client, token) == {"active": False}
    assert await up.server.grants.list() == ()
    # The assertion does not bring it back.
    assert (await up.present(up.id_jag())).json()["error"] == "invalid_grant"


async def test_the_grant_ends_with_its_token(up: Federation) -> None:
    """There is nothing to refresh it with."""
    issued(await up.present(up.id_jag()))
    up.server.clock.advance(601)
    assert await up.server.grants.list() == ()


async def test_the_token_lives_as_long_as_others_do_and_not_as_the_assertion(up: Federation) -> None:
    """Draft §4.4.2 shows a day with five minutes: exp of an ID-JAG bounds when it is handed in."""
    up.server.clock.advance(290)
    body = issued(await up.present(up.id_jag()))
    assert body["expires_in"] == 600
    claims = claims_of(body["access_token"])
    assert claims["exp"] - claims["iat"] == 600


async def test_what_somebody_was_linked_to_can_be_undone(up: Federation) -> None:
    issued(await up.present(up.id_jag()))
    bob = await up.server.users.add("bob", None)
    assert bob is not None
    assert not await up.identities.link(bob, IDP, SUBJECT)
    assert not await up.identities.unlink(bob, IDP, SUBJECT)
    assert await up.identities.unlink(up.server.ada, IDP, SUBJECT)
    assert not await up.identities.unlink(up.server.ada, IDP, SUBJECT)
    response = await up.present(up.id_jag(jti="second"))
    assert response.json()["error"] == "invalid_grant"
    assert up.server.events(AssertionRefused)[-1].reason == "sub is no user here"
    assert await up.identities.link(bob, IDP, SUBJECT)
    body = issued(await up.present(up.id_jag(jti="second")))
    assert claims_of(body["access_token"])["sub"] == bob.user_id


async def test_a_link_to_a_user_who_is_gone_leads_nowhere(up: Federation) -> None:
    assert await up.server.store.take("user", "ada")
    await refused(up, await up.present(up.id_jag()), "sub is no user here")


async def test_the_audit_tells_who_vouched_for_whom(up: Federation) -> None:
    await up.present(up.id_jag())
    (event,) = up.server.events(AssertionTokenIssued)
    assert (event.client_id, event.user_id) == (up.client_id, up.server.ada.user_id)
    assert (event.issuer, event.subject, event.assertion_id) == (IDP, SUBJECT, "first")
    assert (event.resource, event.scopes) == (NOTES, ("notes:read", "notes:write"))
    await up.present(up.id_jag(by=OTHER_IDP_KEY, sub="x" * 1000))
    forged = up.server.events(AssertionRefused)[-1]
    assert (forged.issuer, forged.proved, forged.reason) == (IDP, False, "the signature")
    assert forged.subject == "x" * 200
    await up.present(up.id_jag(aud="https://other.example"))
    assert up.server.events(AssertionRefused)[-1].proved
