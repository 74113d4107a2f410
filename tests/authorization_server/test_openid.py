"""OpenID Connect: who signed in, when and how; told to the client that its user lets know."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from mcpauth.oauth.identity import identity_resource
from mcpauth.oauth.resource_registry import Resource, Scope
from mcpauth.settings import ConfigurationError, Settings
from tests.authorization_server.dpop_helpers import Prover
from tests.authorization_server.front_helpers import (
    ISSUER,
    NOTES,
    SETTINGS,
    TASKS,
    Browser,
    Running,
    Value,
    answer_of,
    form_of,
    running,
)
from tests.authorization_server.grants_helpers import claims_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

pytestmark = pytest.mark.anyio

USERINFO = f"{ISSUER}/userinfo"
PASSWORD_ACR = "urn:mcpauth:acr:password"
# A sign-in alone, as a client sends it that knows nothing of resources.
SIGN_IN: dict[str, Value] = {"scope": "openid profile", "resource": None}


@pytest.fixture
async def server() -> AsyncGenerator[Running]:
    async with running() as server:
        yield server


@pytest.fixture
async def browser(server: Running) -> AsyncGenerator[Browser]:
    async with server.browser() as browser:
        yield browser


async def tokens(browser: Browser, **changed: Value) -> dict[str, Any]:
    response = await browser.redeem(await browser.to_code(**changed))
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def userinfo(browser: Browser, token: str, **headers: str) -> httpx2.Response:
    return await browser.http.get("/userinfo", headers={"Authorization": f"Bearer {token}", **headers})


async def test_an_id_token_tells_the_client_who_signed_in_when_and_how(
    server: Running, browser: Browser
) -> None:
    """OpenID Connect Core §2, §3.1.3.7: signed, for this client, tied to its request by `nonce`."""
    body = await tokens(browser, **SIGN_IN, nonce="n-0S6_WzA2Mj")
    (key,) = (await browser.http.get("/jwks")).json()["keys"]
    claims = jwt.decode(
        body["id_token"],
        jwt.PyJWK(key),
        [key["alg"]],
        audience=browser.client.client_id,
        issuer=ISSUER,
        options={"verify_exp": False, "verify_iat": False},
    )
    user = await server.users.by_name("ada")
    assert user is not None
    assert claims == {
        "iss": ISSUER,
        "sub": user.user_id,
        "aud": browser.client.client_id,
        "iat": int(server.clock()),
        "exp": int(server.clock()) + 600,
        "nonce": "n-0S6_WzA2Mj",
        "auth_time": int(server.clock()),
        "acr": PASSWORD_ACR,
        "amr": ["pwd"],
    }


async def test_a_sign_in_alone_gives_a_token_for_the_userinfo_endpoint(browser: Browser) -> None:
    """Core §5.3: what is told is what the user allowed."""
    body = await tokens(browser, **SIGN_IN)
    claims = claims_of(body["access_token"])
    assert (claims["aud"], claims["scope"]) == (USERINFO, "openid profile")
    answer = await userinfo(browser, body["access_token"])
    assert answer.json() == {"sub": claims["sub"], "preferred_username": "ada"}
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == "*"
    posted = await browser.http.post("/userinfo", headers={"Authorization": f"Bearer {body['access_token']}"})
    assert posted.json() == answer.json()


async def test_the_page_of_a_sign_in_alone_says_so(browser: Browser) -> None:
    page = await browser.to_consent(**SIGN_IN)
    assert "to know who you are?" in page.text
    assert "<dt>Server</dt>" not in page.text


async def test_without_profile_only_the_subject_is_told(browser: Browser) -> None:
    body = await tokens(browser, scope="openid", resource=None)
    assert (await userinfo(browser, body["access_token"])).json().keys() == {"sub"}


@pytest.mark.parametrize("scope", ["notes:read", "notes:read profile email"])
async def test_without_openid_there_is_no_id_token(browser: Browser, scope: str) -> None:
    assert "id_token" not in await tokens(browser, scope=scope)


async def test_an_mcp_client_gets_both_and_the_token_for_its_server(browser: Browser) -> None:
    """RFC 8707 §2.2: one audience; what is at /userinfo stays between the user and the client."""
    body = await tokens(browser, scope="openid profile notes:read")
    claims = claims_of(body["access_token"])
    assert (claims["aud"], claims["scope"]) == (NOTES, "notes:read")
    assert "id_token" in body
    refused = await userinfo(browser, body["access_token"])
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    form = {"grant_type": "refresh_token", "client_id": browser.client.client_id}
    form |= {"refresh_token": body["refresh_token"], "resource": USERINFO}
    other = (await browser.http.post("/token", data=form)).json()
    assert claims_of(other["access_token"])["aud"] == USERINFO
    assert (await userinfo(browser, other["access_token"])).json()["preferred_username"] == "ada"


async def test_clients_that_ask_for_openid_and_nothing_of_the_server_get_its_default(
    browser: Browser,
) -> None:
    """A proxy of the field asks for `openid email profile` when no document names a scope."""
    body = await tokens(browser, scope="openid email profile offline_access")
    assert claims_of(body["access_token"])["aud"] == NOTES
    assert body["scope"] == "notes:read"


async def test_without_a_named_server_its_scopes_mean_the_default_one(browser: Browser) -> None:
    body = await tokens(browser, scope="openid notes:write", resource=None)
    assert claims_of(body["access_token"])["aud"] == NOTES
    assert body["scope"] == "notes:read notes:write"


async def test_naming_the_userinfo_endpoint_asks_for_it_alone(browser: Browser) -> None:
    body = await tokens(browser, scope="openid notes:read", resource=USERINFO)
    assert claims_of(body["access_token"])["aud"] == USERINFO
    refused = await browser.authorize(scope="notes:read", resource=USERINFO)
    assert answer_of(refused)["error"] == "invalid_scope"


async def test_a_scope_of_a_server_that_looks_like_a_claim_is_the_servers() -> None:
    mail = Resource(NOTES, "Mail", (Scope("email", "Read your mail"), Scope("send", "Send mail")))
    settings = replace(SETTINGS, resources=(mail,))
    async with running(settings=settings) as server, server.browser() as browser:
        body = await tokens(browser, scope="openid email")
        assert (claims_of(body["access_token"])["aud"], body["scope"]) == (NOTES, "email")


async def test_the_user_can_refuse_to_be_known(server: Running, browser: Browser) -> None:
    page = await browser.to_consent(scope="openid profile notes:read")
    assert "use <bdi>Team notes</bdi>, and to know who you are?" in page.text
    assert USERINFO not in page.text
    boxes = form_of(page).checkboxes
    assert boxes == ["scope 1 notes:read", "scope 2 openid", "scope 2 profile"]
    assert "See your user name" in page.text
    response = await browser.submit(page, {"decision": "allow", boxes[0]: "allow"})
    code = answer_of(await browser.follow(response))["code"]
    body = (await browser.redeem(code)).json()
    assert "id_token" not in body
    refused = await browser.http.post(
        "/token",
        data={
            "grant_type": "refresh_token",
            "client_id": browser.client.client_id,
            "refresh_token": body["refresh_token"],
            "resource": USERINFO,
        },
    )
    assert refused.json()["error"] == "invalid_target"


async def test_profile_brings_openid_along(browser: Browser) -> None:
    page = await browser.to_consent(**SIGN_IN)
    response = await browser.submit(page, {"decision": "allow", "scope 1 profile": "allow"})
    body = (await browser.redeem(answer_of(await browser.follow(response))["code"])).json()
    assert "id_token" in body
    assert body["scope"] == "openid profile"


@pytest.mark.parametrize(
    "authorization", [None, "Basic YTpi", "Bearer", "Bearer a.b.c", "DPoP x", "Bearer ü"]
)
async def test_the_userinfo_endpoint_wants_a_token(browser: Browser, authorization: str | None) -> None:
    """RFC 6750 §3.1."""
    headers = {} if authorization is None else {b"Authorization": authorization.encode("latin-1")}
    answer = await browser.http.get("/userinfo", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_the_userinfo_endpoint_stops_with_the_grant_and_the_user(
    server: Running, browser: Browser
) -> None:
    first = await tokens(browser, **SIGN_IN)
    form = {"client_id": browser.client.client_id, "token": first["refresh_token"]}
    await browser.http.post("/revoke", data=form)
    assert (await userinfo(browser, first["access_token"])).status_code == 401
    async with server.browser(browser.client) as again:
        second = await tokens(again, **SIGN_IN)
        user = await server.users.by_name("ada")
        assert user is not None
        await server.users.set_disabled(user, disabled=True)
        assert (await userinfo(again, second["access_token"])).status_code == 401


async def test_an_id_token_is_no_access_token(browser: Browser) -> None:
    """RFC 8725 §3.11."""
    body = await tokens(browser, **SIGN_IN)
    assert (await userinfo(browser, body["id_token"])).status_code == 401
    assert jwt.get_unverified_header(body["id_token"])["typ"] == "JWT"
    revoked = {"client_id": browser.client.client_id, "token": body["id_token"]}
    assert (await browser.http.post("/revoke", data=revoked)).status_code == 200
    assert (await userinfo(browser, body["access_token"])).status_code == 200, "nothing was revoked"


async def test_a_bound_token_needs_its_key_here_too(server: Running, browser: Browser) -> None:
    """RFC 9449 §7.1: the scheme DPoP, and a proof for this request and this token."""
    prover = Prover(server.clock)
    code = await browser.to_code(**SIGN_IN)
    form = {"grant_type": "authorization_code", "client_id": browser.client.client_id, "code": code}
    form |= {"redirect_uri": browser.client.redirect_uris[0]}
    form |= {"code_verifier": "a-code-verifier-that-is-long-enough-for-the-rule"}
    proof = prover.proof(htu=f"{ISSUER}/token")
    token = (await browser.http.post("/token", data=form, headers={"DPoP": proof})).json()["access_token"]

    async def ask(scheme: str, proof: str | None) -> httpx2.Response:
        headers = {"Authorization": f"{scheme} {token}"} | ({"DPoP": proof} if proof else {})
        return await browser.http.get("/userinfo", headers=headers)

    def made(by: Prover = prover, **changed: Any) -> str:
        good: dict[str, Any] = {"htu": USERINFO, "htm": "GET", "ath": prover.ath(token)}
        return by.proof(**(good | changed))

    assert (await ask("Bearer", None)).json()["error"] == "invalid_token"
    assert (await ask("Bearer", made())).json()["error"] == "invalid_token"
    for wrong in (
        None,
        made(ath=prover.ath("another")),
        made(ath=None),
        made(htm="POST"),
        made(htu=f"{ISSUER}/token"),
        made(Prover(server.clock)),
    ):
        refused = await ask("DPoP", wrong)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_dpop_proof")
        assert refused.headers["www-authenticate"].startswith("DPoP")
    proof = made()
    assert (await ask("DPoP", proof)).json()["preferred_username"] == "ada"
    assert (await ask("DPoP", proof)).status_code == 401, "once"


async def test_a_sign_in_that_is_too_old_is_asked_for_again(server: Running, browser: Browser) -> None:
    """Core §3.1.2.1: `max_age`, and RFC 9470 §4: how a resource server steps up."""
    await tokens(browser, **SIGN_IN)
    server.clock.advance(300)
    page = await browser.follow(await browser.authorize(**SIGN_IN, max_age="300"))
    assert "It will be able to" in page.text, "just new enough"
    server.clock.advance(1)
    page = await browser.follow(await browser.authorize(**SIGN_IN, max_age="300"))
    assert "<h1>Sign in</h1>" in page.text
    consent = await browser.sign_in(page)
    code = answer_of(await browser.decide(consent))["code"]
    body = (await browser.redeem(code)).json()
    assert claims_of(body["id_token"])["auth_time"] == int(server.clock())
    assert claims_of(body["access_token"])["auth_time"] == int(server.clock())


async def test_a_sign_in_that_was_new_enough_for_the_decision_is_for_the_answer(
    server: Running, browser: Browser
) -> None:
    """The answer tells the `auth_time` of the decision, so a sign-in in between would not be in it."""
    await tokens(browser, **SIGN_IN)
    server.clock.advance(300)
    page = await browser.follow(await browser.authorize(**SIGN_IN, max_age="300"))
    decided = await browser.submit(page, {"decision": "allow", "scope 1 openid": "allow"})
    server.clock.advance(1)
    code = answer_of(await browser.follow(decided))["code"]
    claims = claims_of((await browser.redeem(code)).json()["id_token"])
    assert claims["auth_time"] == int(server.clock()) - 301


async def test_a_decision_needs_a_sign_in_that_is_still_new_enough(server: Running, browser: Browser) -> None:
    await tokens(browser, **SIGN_IN)
    server.clock.advance(300)
    page = await browser.follow(await browser.authorize(**SIGN_IN, max_age="300"))
    codes = await server.store.list("authorization_code")
    server.clock.advance(1)
    late = await browser.submit(page, {"decision": "allow", "scope 1 openid": "allow"})
    assert late.status_code == 400
    assert await server.store.list("authorization_code") == codes
    assert all(record["approved"] is None for _, record in await server.store.list("authorization_request"))


async def test_a_max_age_of_zero_asks_for_a_sign_in_and_ends_there(server: Running, browser: Browser) -> None:
    await tokens(browser, **SIGN_IN)
    server.clock.advance(1)
    page = await browser.follow(await browser.authorize(**SIGN_IN, max_age="0"))
    consent = await browser.sign_in(page)
    server.clock.advance(5)
    assert "code" in answer_of(await browser.decide(consent))


@pytest.mark.parametrize("max_age", ["-1", "1.5", "a", "1e3", "９", "1" * 10, " 5"])
async def test_a_max_age_that_is_no_number_is_refused(browser: Browser, max_age: str) -> None:
    assert answer_of(await browser.authorize(max_age=max_age))["error"] == "invalid_request"


async def test_one_of_the_acr_values_has_to_be_reached(browser: Browser) -> None:
    """RFC 9470 §5: whoever steps up is told at once that it leads nowhere."""
    refused = answer_of(await browser.authorize(acr_values="urn:example:hardware-key"))
    assert refused["error"] == "unmet_authentication_requirements"
    assert refused["iss"] == ISSUER
    body = await tokens(browser, **SIGN_IN, acr_values=f"urn:example:hardware-key {PASSWORD_ACR}")
    assert claims_of(body["access_token"])["acr"] == PASSWORD_ACR
    metadata = (await browser.http.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["acr_values_supported"] == [PASSWORD_ACR]


async def test_a_session_of_another_kind_of_sign_in_is_not_enough(server: Running, browser: Browser) -> None:
    await tokens(browser, **SIGN_IN)
    ((key, record),) = await server.store.list("session")
    assert await server.store.replace("session", key, record, {**record, "acr": "urn:example:badge"})
    page = await browser.follow(await browser.authorize(**SIGN_IN))
    assert "It will be able to" in page.text
    page = await browser.follow(await browser.authorize(**SIGN_IN, acr_values=PASSWORD_ACR))
    assert "<h1>Sign in</h1>" in page.text


async def test_introspection_tells_of_the_sign_in(server: Running) -> None:
    """RFC 9470 §6.2."""
    metadata = {
        "redirect_uris": ["https://app.example/cb"],
        "grant_types": ["authorization_code"],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    client, secret = await server.clients.register(metadata, source="pre-registered")
    assert secret is not None
    async with server.browser(client) as browser:
        code = await browser.to_code()
        auth = (client.client_id, secret)
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": "https://app.example/cb"}
        form["code_verifier"] = "a-code-verifier-that-is-long-enough-for-the-rule"
        body = (await browser.http.post("/token", data=form, auth=auth)).json()
        told = await browser.http.post("/introspect", data={"token": body["access_token"]}, auth=auth)
        assert told.json()["acr"] == PASSWORD_ACR
        assert told.json()["auth_time"] == int(server.clock())


async def test_the_metadata_says_what_openid_clients_look_for(browser: Browser) -> None:
    """OpenID Connect Discovery §3: the members that are REQUIRED, at its own path as well."""
    for path in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
        metadata = (await browser.http.get(path)).json()
        assert metadata["userinfo_endpoint"] == USERINFO
        assert metadata["subject_types_supported"] == ["public"]
        assert metadata["id_token_signing_alg_values_supported"] == ["ES256"]
        assert metadata["claims_supported"] == ["sub", "preferred_username"]
        assert metadata["request_uri_parameter_supported"] is False
        assert "openid" not in metadata["scopes_supported"]
        assert USERINFO not in metadata["protected_resources"]


async def test_turned_off_it_is_neither_offered_nor_done() -> None:
    async with (
        running(settings=replace(SETTINGS, openid=False)) as server,
        server.browser() as browser,
    ):
        metadata = (await browser.http.get("/.well-known/openid-configuration")).json()
        assert not {"userinfo_endpoint", "id_token_signing_alg_values_supported"} & metadata.keys()
        assert (await browser.http.get("/userinfo")).status_code == 404
        assert "id_token" not in await tokens(browser, scope="openid notes:read")
        assert answer_of(await browser.authorize(scope="openid"))["error"] == "invalid_scope"


def test_no_other_resource_can_have_the_name_of_the_userinfo_endpoint() -> None:
    taken = Resource(f"{ISSUER}/userinfo", "Mine", (Scope("x", "X"),))
    with pytest.raises(ConfigurationError, match="two have the same identifier"):
        Settings(ISSUER, (taken,))
    with pytest.raises(ConfigurationError, match="is not declared"):
        Settings(ISSUER, SETTINGS.resources, identity_resource(ISSUER).identifier)


async def test_several_servers_and_the_identity_at_once(browser: Browser) -> None:
    body = await tokens(browser, resource=[TASKS, NOTES], scope="openid tasks:read notes:read")
    assert claims_of(body["access_token"])["aud"] == TASKS
    assert "id_token" in body
