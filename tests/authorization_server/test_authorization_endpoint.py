"""The authorization endpoint: what becomes of a client's request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcpauth.events import AuthorizationRefused, ConsentGiven, SignedIn
from tests.authorization_server.document_helpers import Network
from tests.authorization_server.front_helpers import (
    ISSUER,
    LOOPBACK,
    NOTES,
    SETTINGS,
    VERIFIER,
    answer_of,
    form_of,
    kept_codes,
    running,
)

pytestmark = pytest.mark.anyio


async def test_a_request_becomes_a_code_and_the_code_becomes_tokens() -> None:
    """RFC 6749 §4.1, with `iss` of RFC 9207 and the audience of RFC 8707."""
    async with running() as server, server.browser() as browser:
        consent = await browser.to_consent(state="a+b %/ü")
        response = await browser.decide(consent)
        assert response.status_code == 303
        assert response.headers["location"].startswith(f"{LOOPBACK}?code=")
        answer = answer_of(response)
        assert set(answer) == {"code", "state", "iss"}
        assert answer["state"] == "a+b %/ü"
        assert answer["iss"] == ISSUER
        tokens = await browser.http.post(
            "/token",
            data={
                "grant_type": "authorization_code",
                "code": answer["code"],
                "client_id": browser.client.client_id,
                "redirect_uri": LOOPBACK,
                "code_verifier": VERIFIER,
                "resource": NOTES,
            },
        )
        assert tokens.status_code == 200, tokens.text
        assert tokens.json()["scope"] == "notes:read notes:write"
        given = [event for event in server.happened if isinstance(event, ConsentGiven)]
        assert [event.allowed for event in given] == [{NOTES: ("notes:read", "notes:write")}]
        assert any(isinstance(event, SignedIn) for event in server.happened)


async def test_the_first_get_may_be_repeated_and_consumes_nothing() -> None:
    """FastMCP asks once with its own HTTP client before the browser does; RFC 9110 §9.2.1: GET is safe."""
    async with running() as server:
        client = await server.register()
        async with server.browser(client) as probe, server.browser(client) as browser:
            probed = await probe.authorize()
            assert probed.status_code == 303
            assert (await browser.to_code()) is not None
            again = await probe.authorize()
            assert again.status_code == 303


async def test_a_new_browser_gets_a_cookie_and_a_known_one_keeps_its_own() -> None:
    async with running() as server, server.browser() as browser:
        first = await browser.authorize()
        cookie = first.headers["set-cookie"]
        assert cookie.startswith("__Host-mcpauth_browser=")
        assert all(part in cookie for part in ("HttpOnly", "Path=/", "SameSite=lax", "Secure"))
        assert "set-cookie" not in (await browser.authorize()).headers


async def test_on_loopback_http_the_cookie_has_a_plain_name() -> None:
    """RFC 6265: a `Secure` cookie would not come back over http."""
    async with (
        running(settings=replace(SETTINGS, issuer="http://127.0.0.1:9000")) as server,
        server.browser() as browser,
    ):
        cookie = (await browser.authorize()).headers["set-cookie"]
        assert cookie.startswith("mcpauth_browser=")
        assert "Secure" not in cookie


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "unknown"},
        {"client_id": None},
        {"redirect_uri": "https://evil.example/cb"},
        {"redirect_uri": LOOPBACK + "/"},
        {"redirect_uri": LOOPBACK + "?x=1"},
        {"redirect_uri": LOOPBACK + "#"},
        {"redirect_uri": "http://127.0.0.1:80@evil.example/callback"},
        {"redirect_uri": "http://localhost:80@evil.example/callback"},
        {"redirect_uri": "https:/\\evil.example"},
        {"redirect_uri": "https:\\\\evil.example"},
        {"redirect_uri": "//evil.example/callback"},
        {"redirect_uri": "http://localhost:3000/callback"},
        {"client_id": "unknown", "prompt": "none"},
        {"redirect_uri": "https://evil.example/cb", "prompt": "none"},
        {"state": "nul\0"},
    ],
)
async def test_nobody_is_sent_to_an_address_that_cannot_be_trusted(changed: dict[str, str | None]) -> None:
    """RFC 6749 §4.1.2.1: MUST NOT automatically redirect to an invalid redirection URI."""
    async with running() as server, server.browser() as browser:
        response = await browser.authorize(**changed)
        assert response.status_code == 400
        assert "location" not in response.headers
        assert "set-cookie" not in response.headers
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert "What you can do" in response.text
        assert await server.store.list("authorization_request") == []
        refused = [event for event in server.happened if isinstance(event, AuthorizationRefused)]
        assert [event.redirected for event in refused] in ([False], [])


@pytest.mark.parametrize("other", ["127.0.0.1", "[::1]", "localhost.evil.example"])
async def test_a_client_on_localhost_is_not_sent_to_another_name_of_loopback(other: str) -> None:
    """RFC 8252 §8.3: another program may listen there."""
    async with running() as server:
        client = await server.register(redirect_uris=["http://localhost/callback"])
        async with server.browser(client) as browser:
            assert (await browser.authorize(redirect_uri="http://localhost:4711/callback")).status_code == 303
            response = await browser.authorize(redirect_uri=f"http://{other}/callback")
    assert response.status_code == 400
    assert "location" not in response.headers


async def test_a_client_with_a_secret_needs_a_code_challenge_as_well() -> None:
    """OAuth 2.1 §7.5.1 (RFC 9700 §2.1.1): PKCE for confidential clients, too."""
    async with running() as server:
        metadata = {"redirect_uris": ["https://client.example/cb"]}
        client, secret = await server.clients.register(metadata, source="pre-registered")
        assert secret is not None
        async with server.browser(client) as browser:
            answer = answer_of(await browser.authorize(code_challenge=None))
    assert (answer["error"], answer["state"], answer["iss"]) == ("invalid_request", "a state", ISSUER)


async def test_a_request_object_is_neither_read_nor_fetched() -> None:
    """RFC 9101 §10.4: fetching what a stranger names is a way to attack others."""
    network = Network()
    async with running(fetch=network) as server, server.browser() as browser:
        by_value = await browser.authorize(request="eyJhbGciOiJub25lIn0.e30.")
        by_reference = await browser.authorize(request_uri="https://client.example/jar")
    assert answer_of(by_value)["error"] == "request_not_supported"
    assert answer_of(by_reference)["error"] == "request_uri_not_supported"
    assert network.asked == []


async def test_two_redirect_uris_are_not_followed() -> None:
    """RFC 6749 §3.1: parameters MUST NOT be included more than once."""
    async with running() as server, server.browser() as browser:
        parameters = browser.request_parameters()
        response = await browser.http.get("/authorize", params={**parameters, "redirect_uri": [LOOPBACK] * 2})
        assert response.status_code == 400
        assert "location" not in response.headers


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": 'co"de'}, "unsupported_response_type"),
        ({"response_type": "códe"}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"scope": 'a"b'}, "invalid_scope"),
        ({"scope": "unknown"}, "invalid_scope"),
        ({"resource": "https://stranger.example"}, "invalid_target"),
        ({"resource": NOTES + "#part"}, "invalid_target"),
        ({"resource": "notes"}, "invalid_target"),
        ({"request": "eyJhbGciOiJub25lIn0.e30."}, "request_not_supported"),
        ({"request_uri": "https://client.example/request"}, "request_uri_not_supported"),
        ({"prompt": "none"}, "login_required"),
    ],
)
async def test_other_errors_go_back_to_the_client_with_state_and_iss(
    changed: dict[str, str | None], error: str
) -> None:
    """RFC 6749 §4.1.2.1 and RFC 9207 §2: every authorization response carries `iss`, errors included."""
    state = "+%00 &=ü" * 100
    async with running() as server, server.browser() as browser:
        response = await browser.authorize(state=state, **changed)
        assert response.status_code == 303
        assert response.headers["location"].startswith(f"{LOOPBACK}?")
        answer = answer_of(response)
        assert answer["error"] == error
        assert answer["state"] == state
        assert answer["iss"] == ISSUER
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert await server.store.list("authorization_request") == []
        assert [event.redirected for event in server.happened if isinstance(event, AuthorizationRefused)] == [
            True
        ]


async def test_prompt_none_says_whether_a_sign_in_or_a_consent_is_missing() -> None:
    """OpenID Connect Core §3.1.2.6. Nothing is shown and nothing is decided."""
    async with running() as server, server.browser() as browser:
        await browser.to_consent()
        assert answer_of(await browser.authorize(prompt="none"))["error"] == "consent_required"


async def test_the_query_of_a_redirect_uri_is_kept() -> None:
    """RFC 6749 §3.1.2: the query component MUST be retained."""
    async with running() as server:
        client = await server.register(redirect_uris=["https://client.example/cb?tenant=a%2Fb"])
        async with server.browser(client) as browser:
            response = await browser.decide(await browser.to_consent())
            assert response.headers["location"].startswith("https://client.example/cb?tenant=a%2Fb&code=")


async def test_a_loopback_client_may_use_any_port() -> None:
    """RFC 8252 §7.3."""
    async with running() as server, server.browser() as browser:
        consent = await browser.to_consent(redirect_uri="http://127.0.0.1:49152/callback")
        assert "127.0.0.1:49152" in consent.text
        response = await browser.decide(consent)
        assert response.headers["location"].startswith("http://127.0.0.1:49152/callback?code=")


async def test_a_request_without_resource_scope_or_state_gets_the_defaults() -> None:
    """Older clients send none of them."""
    async with running() as server, server.browser() as browser:
        consent = await browser.to_consent(resource=None, scope=None, state=None)
        assert form_of(consent).checkboxes == ["scope 1 notes:read"]
        assert set(answer_of(await browser.decide(consent))) == {"code", "iss"}


async def test_only_the_browser_that_began_can_go_on() -> None:
    """RFC 9700 §4.7: a request id by itself, seen or guessed, leads nowhere."""
    async with running() as server:
        client = await server.register()
        async with server.browser(client) as browser, server.browser(client) as stranger:
            at_sign_in = (await browser.authorize()).headers["location"]
            request_id = at_sign_in.partition("=")[2]
            await stranger.to_consent()
            for path in ("/authorize", "/sign-in", "/consent"):
                response = await stranger.http.get(path, params={"request": request_id})
                assert response.status_code == 400
                assert "This page has expired" in response.text
            assert (await browser.follow(await browser.http.get(at_sign_in))).status_code == 200


@pytest.mark.parametrize("query", ["request=", "request=unknown", "request=a&request=b", "request=%00"])
async def test_an_unknown_request_id_gets_a_page(query: str) -> None:
    async with running() as server, server.browser() as browser:
        for path in ("/authorize", "/sign-in", "/consent"):
            response = await browser.http.get(f"{path}?{query}")
            assert response.status_code == 400
            assert "What you can do" in response.text


async def test_a_request_ends_after_ten_minutes() -> None:
    async with running() as server, server.browser() as browser:
        page = await browser.to_sign_in()
        server.clock.advance(601)
        assert (await browser.sign_in(page)).status_code == 400
        assert await kept_codes(server) == 0


async def test_prompt_login_asks_a_signed_in_user_again_and_only_once() -> None:
    """OpenID Connect Core §3.1.2.1: login - SHOULD prompt the End-User for reauthentication."""
    async with running() as server, server.browser() as browser:
        await browser.to_code()
        page = await browser.follow(await browser.authorize(prompt="login"))
        assert "<h1>Sign in</h1>" in page.text
        consent = await browser.sign_in(page)
        assert "code" in answer_of(await browser.decide(consent))


async def test_prompt_login_cannot_be_skipped_by_going_straight_to_consent() -> None:
    async with running() as server, server.browser() as browser:
        await browser.to_code()
        request_id = (await browser.authorize(prompt="login")).headers["location"].partition("=")[2]
        page = await browser.follow(await browser.http.get("/consent", params={"request": request_id}))
        assert "<h1>Sign in</h1>" in page.text


async def test_a_signed_in_user_goes_straight_to_consent() -> None:
    async with running() as server, server.browser() as browser:
        await browser.to_code()
        assert (await browser.authorize()).headers["location"].startswith("/consent?request=")


async def test_the_answer_is_given_once() -> None:
    """RFC 6749 §10.5: a code is short-lived and single-use; so is the request behind it."""
    async with running() as server, server.browser() as browser:
        consent = await browser.to_consent()
        names = dict.fromkeys(form_of(consent).checkboxes, "allow")
        decided = await browser.submit(consent, {"decision": "allow", **names})
        assert "code" in answer_of(await browser.http.get(decided.headers["location"]))
        again = await browser.http.get(decided.headers["location"])
        assert again.status_code == 400
        assert await kept_codes(server) == 1


async def test_a_decision_is_not_answered_to_another_user_of_the_browser() -> None:
    async with running() as server, server.browser() as browser:
        await server.add_user("bob")
        consent = await browser.to_consent()
        names = dict.fromkeys(form_of(consent).checkboxes, "allow")
        other_page = await browser.follow(await browser.authorize(prompt="login"))
        decided = await browser.submit(consent, {"decision": "allow", **names})
        await browser.submit(other_page, {"username": "bob", "password": "correct horse battery"})
        response = await browser.follow(decided)
        assert response.status_code == 400
        assert await kept_codes(server) == 0


async def test_a_removed_client_gets_no_answer() -> None:
    async with running() as server, server.browser() as browser:
        consent = await browser.to_consent()
        await server.clients.remove(browser.client.client_id)
        assert (await browser.decide(consent)).status_code == 400
        assert await kept_codes(server) == 0


async def test_authorize_takes_only_get() -> None:
    """RFC 6749 §3.1 lets the server choose POST; nothing uses it."""
    async with running() as server, server.browser() as browser:
        response = await browser.http.post("/authorize", data=browser.request_parameters())
        assert response.status_code == 405
        assert "GET" in response.headers["allow"]


@pytest.mark.parametrize("query", ["%ff%fe", "state=%80&client_id=x", "a=1&" * 200, "x" * 60_000])
async def test_hostile_queries_are_refused_quickly(query: str) -> None:
    async with running() as server, server.browser() as browser:
        response = await browser.http.get(f"/authorize?{query}")
        assert response.status_code in {400, 414}
        assert "location" not in response.headers
