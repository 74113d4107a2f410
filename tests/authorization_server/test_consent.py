"""The consent page: what the user sees, and that nothing but their own click counts."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from mcpauth.events import ConsentDenied, ConsentGiven
from tests.authorization_server.front_helpers import (
    ISSUER,
    LOOPBACK,
    PASSWORD,
    TASKS,
    VERIFIER,
    Browser,
    answer_of,
    form_of,
    kept_codes,
    running,
)

pytestmark = pytest.mark.anyio

ALLOW = {"decision": "allow", "scope 1 notes:read": "allow", "scope 1 notes:write": "allow"}


async def granted_scope(browser: Browser, code: str) -> str:
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    form |= {"client_id": browser.client.client_id, "redirect_uri": browser.client.redirect_uris[0]}
    response = await browser.http.post("/token", data=form)
    scope: str = response.json()["scope"]
    return scope


async def test_the_page_says_who_asks_for_what_and_where_the_browser_goes() -> None:
    """MCP security best practices: name, scopes and redirect URI MUST be shown."""
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent()
        for text in (
            "Robo Notes",
            "Runs on this computer",
            "127.0.0.1:3000",
            "Team notes",
            "https://notes.example/mcp",
            "ada",
            "Read your notes",
            "notes:read",
            "Change your notes",
        ):
            assert text in page.text
        assert "Manage everything" not in page.text
        assert form_of(page).checkboxes == ["scope 1 notes:read", "scope 1 notes:write"]


async def test_a_self_registered_client_on_this_computer_comes_with_a_warning() -> None:
    """MCP authorization: SHOULD display additional warnings for `localhost`-only redirect URIs."""
    async with running() as server:
        async with server.browser() as browser:
            assert "Any program on this computer can say so" in (await browser.to_consent()).text
        web = await server.register(redirect_uris=["https://app.example/cb"])
        async with server.browser(web) as browser:
            page = await browser.to_consent()
            assert "This application named itself." in page.text
            assert "app.example" in page.text
        vouched = await server.register(source="pre-registered", redirect_uris=["https://app.example/cb"])
        async with server.browser(vouched) as browser:
            page = await browser.to_consent()
            assert "This application named itself." not in page.text
            assert "Any program on this computer" not in page.text


async def test_denying_tells_the_client_and_grants_nothing() -> None:
    """RFC 6749 §4.1.2.1: access_denied."""
    async with running() as server, server.browser() as browser:
        response = await browser.decide(await browser.to_consent(), "deny")
        assert answer_of(response) == {
            "error": "access_denied",
            "error_description": "the user said no",
            "state": "a state",
            "iss": ISSUER,
        }
        assert await kept_codes(server) == 0
        assert await server.store.list("grant") == []
        assert any(isinstance(event, ConsentDenied) for event in server.happened)
        assert not any(isinstance(event, ConsentGiven) for event in server.happened)


async def test_allowing_nothing_is_a_no() -> None:
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent()
        response = await browser.follow(await browser.submit(page, {"decision": "allow"}))
        assert answer_of(response)["error"] == "access_denied"
        assert await kept_codes(server) == 0


@pytest.mark.parametrize("site", [None, "none", "same-origin", "cross-site"])
async def test_a_user_who_has_allowed_it_is_asked_again(site: str | None) -> None:
    """No consent is remembered: whoever leads a browser to /authorize gets nothing without its user."""
    headers = {"Sec-Fetch-Site": site} if site is not None else {}
    async with running() as server, server.browser() as browser:
        await granted_scope(browser, await browser.to_code())
        begun = await browser.http.get("/authorize", params=browser.request_parameters(), headers=headers)
        page = await browser.follow(begun)
        assert form_of(page).checkboxes == ["scope 1 notes:read", "scope 1 notes:write"]
        assert await kept_codes(server) == 1


async def test_only_what_is_ticked_is_granted() -> None:
    """RFC 6749 §3.3: the server MAY fully or partially ignore the scope requested."""
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent(scope="notes:read notes:admin")
        answer = answer_of(await browser.decide(page, "allow", "notes:read"))
        assert await granted_scope(browser, answer["code"]) == "notes:read"


async def test_a_scope_brings_along_what_it_implies() -> None:
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent(scope="notes:write")
        assert "includes <code>notes:read</code>" in page.text
        answer = answer_of(await browser.decide(page, "allow", "notes:write"))
        assert await granted_scope(browser, answer["code"]) == "notes:read notes:write"


@pytest.mark.parametrize("scope", ["notes:admin", "tasks:read"])
async def test_a_scope_that_was_not_asked_for_cannot_be_allowed(scope: str) -> None:
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent()
        response = await browser.submit(page, {**ALLOW, f"scope 1 {scope}": "allow"})
        assert response.status_code == 400
        # Nothing was decided: the page can still be answered properly.
        assert "code" in answer_of(await browser.decide(page))


@pytest.mark.parametrize("decision", [None, "", "maybe"])
async def test_a_form_without_a_decision_decides_nothing(decision: str | None) -> None:
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent()
        values = {name: value for name, value in ALLOW.items() if name != "decision"}
        response = await browser.submit(page, values | ({} if decision is None else {"decision": decision}))
        assert response.status_code == 400
        assert await kept_codes(server) == 0


@pytest.mark.parametrize("token", [None, "", "x", "a.b", "é" * 40, "A" * 5000])
async def test_a_form_without_its_token_is_refused(token: str | None) -> None:
    """RFC 9700 §4.7 and RFC 6749 §10.12: CSRF protection for the authorization endpoint."""
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent()
        fields = {name: value for name, value in form_of(page).fields.items() if name != "csrf"}
        response = await browser.http.post(
            "/consent", data={**fields, **ALLOW, **({} if token is None else {"csrf": token})}
        )
        assert response.status_code == 403
        assert "location" not in response.headers
        assert await kept_codes(server) == 0
        assert "code" in answer_of(await browser.decide(page))


async def test_the_token_of_another_session_is_refused() -> None:
    """Another user's page, in another browser or left open in this one."""
    async with running() as server:
        client = await server.register()
        await server.add_user("bob")
        async with server.browser(client) as browser, server.browser(client) as other:
            page, others_page = await browser.to_consent(), await other.to_consent()
            foreign = form_of(others_page).fields["csrf"]
            assert (await browser.submit(page, {**ALLOW, "csrf": foreign})).status_code == 403
            sign_in = await browser.http.get("/sign-in", params={"request": form_of(page).fields["request"]})
            await browser.sign_in(sign_in, "bob", PASSWORD)
            assert (await browser.submit(page, ALLOW)).status_code == 403
            assert await kept_codes(server) == 0


async def test_the_token_of_another_form_is_refused() -> None:
    """A token is for one purpose and one request."""
    async with running() as server, server.browser() as browser:
        sign_in_token = form_of(await browser.to_sign_in()).fields["csrf"]
        first = await browser.to_consent()
        second = await browser.follow(await browser.authorize())
        for token in (sign_in_token, form_of(first).fields["csrf"]):
            assert (await browser.submit(second, {**ALLOW, "csrf": token})).status_code == 403
        assert await kept_codes(server) == 0


async def test_a_form_that_another_site_sends_is_refused() -> None:
    """Fetch Metadata: the browser itself says where the form came from."""
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent()
        form = {**form_of(page).fields, **ALLOW}
        for site in ("cross-site", "same-site"):
            response = await browser.http.post("/consent", data=form, headers={"Sec-Fetch-Site": site})
            assert response.status_code == 403
        assert await kept_codes(server) == 0


async def test_a_form_counts_once() -> None:
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent()
        await browser.decide(page)
        again = await browser.submit(page, ALLOW)
        assert again.status_code == 400
        assert "This page has expired" in again.text
        assert await kept_codes(server) == 1


async def test_of_two_decisions_at_the_same_moment_one_counts() -> None:
    """The decision is one compare-and-set."""
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent()
        statuses: list[int] = []

        async def decide(decision: str) -> None:
            statuses.append((await browser.submit(page, {**ALLOW, "decision": decision})).status_code)

        async with anyio.create_task_group() as tasks:
            for decision in ("allow", "deny", "allow", "deny"):
                tasks.start_soon(decide, decision)
        assert sorted(statuses) == [303, 400, 400, 400]


async def test_nothing_in_the_form_changes_the_request() -> None:
    """The request is in the store, not in the form."""
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent()
        tampered = {
            "client_id": "another",
            "redirect_uri": "https://evil.example/cb",
            "resource": TASKS,
            "scope": "notes:admin",
        }
        response = await browser.follow(await browser.submit(page, {**ALLOW, **tampered}))
        assert response.headers["location"].startswith(f"{LOOPBACK}?code=")
        assert await granted_scope(browser, answer_of(response)["code"]) == "notes:read notes:write"


async def test_without_a_session_consent_leads_back_to_sign_in() -> None:
    async with running() as server, server.browser() as browser:
        request_id = form_of(await browser.to_sign_in()).fields["request"]
        page = await browser.follow(await browser.http.get("/consent", params={"request": request_id}))
        assert "<h1>Sign in</h1>" in page.text


async def test_a_disabled_user_cannot_consent_any_more() -> None:
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent()
        ada = await server.users.by_name("ada")
        assert ada is not None
        await server.users.set_disabled(ada, disabled=True)
        assert (await browser.submit(page, ALLOW)).status_code == 400
        assert await kept_codes(server) == 0


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "\u202eevil\u2066\u200b",
        "A" * 10_000,
        "&amp;\" onload='x",
        "e" + "\u0301" * 500,
        "line\nbreak\ttab",
        "",
    ],
)
async def test_a_hostile_client_name_is_harmless_on_the_page(name: str) -> None:
    """The name is the client's own claim (RFC 7591 §5)."""
    async with running() as server:
        client = replace(await server.register(), client_id="hostile", client_name=name)
        await server.clients.add(client)
        async with server.browser(client) as browser:
            page = await browser.to_consent()
            assert "<script" not in page.text
            assert "onload='" not in page.text
            assert not {"\u202e", "\u2066", "\u200b"} & set(page.text)
            assert "A" * 61 not in page.text
            assert "\u0301" * 5 not in page.text
            assert len(page.text) < 10_000


async def test_the_page_cannot_be_framed_scripted_cached_or_told_on() -> None:
    """RFC 9700 §4.16: X-Frame-Options and frame-ancestors; §4.2.4: Referrer-Policy."""
    async with running() as server, server.browser() as browser:
        page = await browser.to_consent()
        assert page.headers["content-security-policy"] == (
            "default-src 'none'; style-src 'self'; img-src 'self';"
            " form-action 'self' http://127.0.0.1:3000; frame-ancestors 'none'; base-uri 'none'"
        )
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in page.headers
        assert "<style" not in page.text
        assert " style=" not in page.text


@pytest.mark.parametrize(
    ("redirect_uri", "target"),
    [
        ("https://app.example:8443/cb?x=1", "https://app.example:8443"),
        ("https://app.example/cb", "https://app.example"),
        ("http://localhost:3000/cb", "http://localhost:3000"),
        ("http://[::1]:3000/cb", "http:"),
        ("com.example.app:/done", "com.example.app:"),
        ("cursor://anysphere.cursor-mcp/oauth/callback", "cursor:"),
    ],
)
async def test_the_way_back_to_the_client_is_open(redirect_uri: str, target: str) -> None:
    """Browsers apply `form-action` to the redirect after the post."""
    async with running() as server:
        client = await server.register(redirect_uris=[redirect_uri])
        async with server.browser(client) as browser:
            page = await browser.to_consent()
            assert f"form-action 'self' {target};" in page.headers["content-security-policy"]
            assert (await browser.decide(page)).headers["location"].startswith(redirect_uri)
