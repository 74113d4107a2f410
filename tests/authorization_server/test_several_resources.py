"""One authorization for several resources, RFC 8707 §2: allowed in one go, and every token for one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mcpauth.events import ConsentGiven, TokenIssued
from mcpauth.oauth.resource_registry import Resource, Scope
from tests.authorization_server.front_helpers import (
    ISSUER,
    NOTES,
    SETTINGS,
    TASKS,
    VERIFIER,
    Browser,
    Running,
    Value,
    answer_of,
    form_of,
    running,
)
from tests.authorization_server.grants_helpers import claims_of

if TYPE_CHECKING:
    import httpx2

    from mcpauth.oauth.client import Client

pytestmark = pytest.mark.anyio

BOTH: dict[str, Value] = {"resource": [NOTES, TASKS], "scope": "notes:write tasks:read"}


async def tokens(browser: Browser, **changed: Value) -> dict[str, Any]:
    response = await browser.redeem(await browser.to_code(**BOTH), **changed)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def refresh(browser: Browser, token: str, **changed: Value) -> httpx2.Response:
    form: dict[str, Value] = {
        "grant_type": "refresh_token",
        "client_id": browser.client.client_id,
        "refresh_token": token,
    }
    return await browser.http.post("/token", data=form | changed)


def of_token(body: dict[str, Any]) -> tuple[str, str]:
    claims = claims_of(body["access_token"])
    assert claims["scope"] == body["scope"]
    return claims["aud"], claims["scope"]


async def test_the_consent_page_shows_each_server_with_what_is_asked_for_there() -> None:
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent(**BOTH)
        assert "<bdi>Team notes</bdi> and <bdi>Tasks</bdi>?" in page.text
        assert page.text.count("<fieldset>") == 2
        for text in (NOTES, TASKS, "at <bdi>Team notes</bdi>", "at <bdi>Tasks</bdi>"):
            assert text in page.text
        assert form_of(page).checkboxes == ["scope 1 notes:read", "scope 1 notes:write", "scope 2 tasks:read"]


async def test_a_token_is_for_the_first_resource_unless_the_request_names_another() -> None:
    """RFC 8707 §2.2: one `aud`, and only the scopes that the resource knows."""
    async with running() as server, server.browser() as browser:
        first = await tokens(browser)
        assert of_token(first) == (NOTES, "notes:read notes:write")
        other = (await refresh(browser, first["refresh_token"], resource=TASKS)).json()
        assert of_token(other) == (TASKS, "tasks:read")
        again = (await refresh(browser, other["refresh_token"])).json()
        assert of_token(again) == (NOTES, "notes:read notes:write")


async def test_the_code_request_can_name_any_granted_resource() -> None:
    async with running() as server, server.browser() as browser:
        assert of_token(await tokens(browser, resource=TASKS)) == (TASKS, "tasks:read")
        (issued,) = [event for event in server.happened if isinstance(event, TokenIssued)]
        assert (issued.resource, issued.scopes) == (TASKS, ("tasks:read",))
        (given,) = [event for event in server.happened if isinstance(event, ConsentGiven)]
        assert given.allowed == {NOTES: ("notes:read", "notes:write"), TASKS: ("tasks:read",)}


async def test_no_token_is_for_two_resources() -> None:
    """RFC 8707 §2.2; the code stays good, since nothing came of it."""
    async with running() as server, server.browser() as browser:
        code = await browser.to_code(**BOTH)
        refused = await browser.redeem(code, resource=[NOTES, TASKS])
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
        body = (await browser.redeem(code, resource=TASKS)).json()
        refused = await refresh(browser, body["refresh_token"], resource=[NOTES, TASKS])
        assert refused.json()["error"] == "invalid_target"
        assert (await refresh(browser, body["refresh_token"])).status_code == 200


async def test_a_scope_of_one_resource_is_not_had_at_the_other() -> None:
    async with running() as server, server.browser() as browser:
        body = await tokens(browser)
        refused = await refresh(browser, body["refresh_token"], resource=TASKS, scope="notes:read")
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")
        both = await refresh(browser, body["refresh_token"], resource=TASKS, scope="notes:read tasks:read")
        assert of_token(both.json()) == (TASKS, "tasks:read")


async def test_a_resource_that_the_user_unticks_is_not_granted() -> None:
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent(**BOTH)
        ticked = {"decision": "allow", "scope 2 tasks:read": "allow"}
        answer = answer_of(await browser.follow(await browser.submit(page, ticked)))
        refused = await browser.redeem(answer["code"], resource=NOTES)
        assert refused.json()["error"] == "invalid_target"
        assert of_token((await browser.redeem(answer["code"])).json()) == (TASKS, "tasks:read")


async def test_the_lost_answer_of_one_resource_is_not_given_for_another() -> None:
    """Within the replay window the same question gets the same answer, and another question none."""
    async with running() as server, server.browser() as browser:
        token = (await tokens(browser))["refresh_token"]
        first = await refresh(browser, token, resource=TASKS)
        again = await refresh(browser, token, resource=TASKS)
        assert again.json() == first.json()
        other = await refresh(browser, token)
        assert (other.status_code, other.json()["error"]) == (400, "invalid_grant")
        assert (await refresh(browser, first.json()["refresh_token"])).status_code == 200, "nothing ended"


async def test_equal_names_at_two_resources_are_allowed_one_by_one() -> None:
    """A scope means something only together with its resource."""
    read = Scope("read", "Read everything")
    settings = replace(
        SETTINGS, resources=(Resource(NOTES, "Notes", (read,)), Resource(TASKS, "Tasks", (read,)))
    )
    async with running(settings=settings) as server, server.browser() as browser:
        page = await browser.to_consent(resource=[NOTES, TASKS], scope="read")
        ticked = {"decision": "allow", "scope 2 read": "allow"}
        answer = answer_of(await browser.follow(await browser.submit(page, ticked)))
        refused = await browser.redeem(answer["code"], resource=NOTES)
        assert refused.json()["error"] == "invalid_target"
        assert of_token((await browser.redeem(answer["code"])).json()) == (TASKS, "read")


@pytest.mark.parametrize("field", ["scope 3 notes:read", "scope 1 tasks:read", "scope notes:read", "scope 1"])
async def test_a_checkbox_that_was_not_shown_counts_for_nothing(field: str) -> None:
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent(**BOTH)
        response = await browser.submit(page, {"decision": "allow", field: "allow"})
        assert response.status_code == 400
        assert await server.store.list("authorization_code") == []


async def test_introspection_of_a_refresh_token_names_every_resource() -> None:
    """RFC 7662 §2.2: `aud` may be several, where the token is for the authorization server alone."""
    async with running() as server:
        client, secret = await confidential(server)
        async with server.browser(client) as browser:
            code = await browser.to_code(**BOTH)
            auth = (client.client_id, secret)
            form = {"grant_type": "authorization_code", "code": code}
            form |= {"redirect_uri": client.redirect_uris[0], "code_verifier": VERIFIER}
            body = (await browser.http.post("/token", data=form, auth=auth)).json()
            asked = await browser.http.post("/introspect", data={"token": body["refresh_token"]}, auth=auth)
            assert asked.json()["aud"] == [NOTES, TASKS]
            assert asked.json()["scope"] == "notes:read notes:write tasks:read"
            assert asked.json()["iss"] == ISSUER


async def confidential(server: Running) -> tuple[Client, str]:
    metadata = {
        "redirect_uris": ["https://app.example/cb"],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    client, secret = await server.clients.register(metadata, source="pre-registered")
    assert secret is not None
    return client, secret
