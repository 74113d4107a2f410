"""What becomes of a pushed authorization request at /authorize, RFC 9126 §4."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mcpauth.events import AuthorizationRefused
from mcpauth.stores.sqlite import SqliteStore
from tests.authorization_server.document_helpers import CLIENT_ID, Network, document
from tests.authorization_server.front_helpers import (
    CHALLENGE,
    ISSUER,
    LOOPBACK,
    NOTES,
    SETTINGS,
    TASKS,
    Browser,
    Clock,
    Running,
    Value,
    answer_of,
    form_of,
    kept_codes,
    running,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import httpx2

pytestmark = pytest.mark.anyio

AT_ONCE = 20
ONLY_PUSHED = replace(SETTINGS, require_pushed_authorization_requests=True)


@pytest.fixture
async def server() -> AsyncGenerator[Running]:
    async with running() as server:
        yield server


@pytest.fixture
async def browser(server: Running) -> AsyncGenerator[Browser]:
    async with server.browser() as browser:
        yield browser


async def pushed(browser: Browser, **changed: Value) -> str:
    """The request_uri of a good request, but for what is changed."""
    response = await browser.push(**changed)
    assert response.status_code == 201, response.text
    request_uri: str = response.json()["request_uri"]
    return request_uri


async def opened(browser: Browser, request_uri: Value, **more: Value) -> httpx2.Response:
    """What a browser is answered that the client sends off; None takes a parameter out."""
    query = {"client_id": browser.client.client_id, "request_uri": request_uri, **more}
    sent = {name: value for name, value in query.items() if value is not None}
    return await browser.http.get("/authorize", params=sent)


async def at_consent(browser: Browser, request_uri: str) -> httpx2.Response:
    """The consent page."""
    page = await browser.follow(await opened(browser, request_uri))
    if "<h1>Sign in</h1>" in page.text:
        page = await browser.sign_in(page)
    assert "<legend>It will be able to" in page.text
    return page


async def told_the_user(server: Running, response: httpx2.Response, error: str, begun: int = 0) -> None:
    """A page with the code for the developer: nobody is sent anywhere, and no request is begun."""
    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert error in response.text
    assert "location" not in response.headers
    assert len(await server.store.list("authorization_request")) == begun
    refused = [event for event in server.happened if isinstance(event, AuthorizationRefused)]
    assert (refused[-1].error, refused[-1].redirected) == (error, False)


async def test_a_pushed_request_becomes_a_code_and_the_code_becomes_tokens(
    server: Running, browser: Browser
) -> None:
    """RFC 9126 §1: the browser carries the client_id and the request_uri, and nothing else."""
    request_uri = await pushed(browser, state="a+b %/ü")
    response = await browser.decide(await at_consent(browser, request_uri))
    assert response.status_code == 303
    assert response.headers["location"].startswith(f"{LOOPBACK}?code=")
    answer = answer_of(response)
    assert set(answer) == {"code", "state", "iss"}
    assert answer["state"] == "a+b %/ü"
    assert answer["iss"] == ISSUER
    tokens = await browser.redeem(answer["code"], resource=NOTES)
    assert tokens.status_code == 200, tokens.text
    assert tokens.json()["scope"] == "notes:read notes:write"


async def test_several_resources_may_be_pushed(browser: Browser) -> None:
    """RFC 8707 §2.1: the one parameter that may be repeated."""
    request_uri = await pushed(browser, scope=None, resource=[TASKS, NOTES])
    consent = await at_consent(browser, request_uri)
    assert form_of(consent).checkboxes == ["scope 1 tasks:read", "scope 2 notes:read"]


@pytest.mark.parametrize(
    "beside",
    [
        {"redirect_uri": "https://evil.example/cb"},
        {"redirect_uri": "https://evil.example/cb", "response_type": "token", "scope": '"'},
        {"state": "another", "scope": "notes:admin", "resource": TASKS, "code_challenge": "x" * 43},
        {"prompt": "none"},
        {"request": "eyJhbGciOiJub25lIn0.e30."},
        {"state": ["a", "b"]},
    ],
)
async def test_parameters_beside_the_reference_are_ignored(
    browser: Browser, beside: dict[str, str | list[str]]
) -> None:
    """RFC 9126 §4 with RFC 9101 §6.3: only what was pushed counts; anybody can add to a link."""
    page = await browser.follow(await opened(browser, await pushed(browser), **beside))
    consent = await browser.sign_in(page)
    assert form_of(consent).checkboxes == ["scope 1 notes:read", "scope 1 notes:write"]
    response = await browser.decide(consent)
    assert response.headers["location"].startswith(f"{LOOPBACK}?code=")
    assert answer_of(response)["state"] == "a state"


async def test_a_reference_may_be_opened_again_until_it_is_answered(
    server: Running, browser: Browser
) -> None:
    """RFC 9126 §4 allows a reload; clients probe the address before they open a browser."""
    request_uri = await pushed(browser)
    async with server.browser(browser.client) as probe:
        for _ in range(3):
            assert (await opened(probe, request_uri)).status_code == 303
    for _ in range(2):
        assert (await opened(browser, request_uri)).status_code == 303
    assert "code" in answer_of(await browser.decide(await at_consent(browser, request_uri)))


@pytest.mark.parametrize("decision", ["allow", "deny"])
async def test_an_answered_reference_is_used_up(server: Running, browser: Browser, decision: str) -> None:
    """RFC 9126 §4: one-time use."""
    request_uri = await pushed(browser)
    answer = answer_of(await browser.decide(await at_consent(browser, request_uri), decision))
    assert ("code" in answer) == (decision == "allow")
    codes = await kept_codes(server)
    await told_the_user(server, await opened(browser, request_uri), "invalid_request_uri")
    async with server.browser(browser.client) as other:
        await told_the_user(server, await opened(other, request_uri), "invalid_request_uri")
    assert await kept_codes(server) == codes


async def test_of_two_browsers_that_opened_a_reference_one_gets_an_answer(
    server: Running, browser: Browser
) -> None:
    """RFC 9126 §4; whoever comes second is told that nothing has been allowed, also with a yes after a no."""
    request_uri = await pushed(browser)
    async with server.browser(browser.client) as other:
        first, second = await at_consent(browser, request_uri), await at_consent(other, request_uri)
        assert answer_of(await browser.decide(first, "deny"))["error"] == "access_denied"
        response = await other.decide(second)
        assert response.status_code == 400
        assert "Nothing has been allowed" in response.text
        assert "location" not in response.headers
        assert await kept_codes(server) == 0
        assert await server.store.list("authorization_request") == []
        assert (await other.http.get(str(response.url))).status_code == 400, "and it stays so"
    refused = [event for event in server.happened if isinstance(event, AuthorizationRefused)]
    assert [event.error for event in refused] == ["invalid_request_uri"]
    assert refused[0].client_id == browser.client.client_id


@pytest.mark.parametrize("handles", [1, 2])
async def test_of_20_answers_at_once_one_is_given(tmp_path: Path, handles: int) -> None:
    """RFC 9126 §4, within a process and over two connections to one database."""
    async with AsyncExitStack() as stack:
        clock = Clock()
        servers: list[Running] = []
        for _ in range(handles):
            store = await SqliteStore.open(tmp_path / "as.db", clock)
            stack.push_async_callback(store.aclose)
            servers.append(await stack.enter_async_context(running(store)))
        client = await servers[0].register()
        browsers = [
            await stack.enter_async_context(servers[n % handles].browser(client, address=f"192.0.2.{n}"))
            for n in range(AT_ONCE)
        ]
        request_uri = await pushed(browsers[0])
        pages = [await at_consent(each, request_uri) for each in browsers]
        decided = [browser.decide(page) for browser, page in zip(browsers, pages, strict=True)]
        responses = await asyncio.gather(*decided)
        (winner,) = [each for each in responses if each.status_code == 303]
        assert "code" in answer_of(winner)
        assert [each.status_code for each in responses].count(400) == AT_ONCE - 1
        for server in servers:
            assert await kept_codes(server) == 1
            assert await server.store.list("authorization_request") == []


async def test_a_reference_can_be_opened_for_a_minute(server: Running, browser: Browser) -> None:
    """RFC 9126 §4: an expired request_uri MUST be rejected. What was opened in time goes on."""
    request_uri = await pushed(browser)
    server.clock.advance(59)
    page = await browser.follow(await opened(browser, request_uri))
    server.clock.advance(1)
    await told_the_user(server, await opened(browser, request_uri), "invalid_request_uri", begun=1)
    server.clock.advance(500)
    assert "code" in answer_of(await browser.decide(await browser.sign_in(page)))


async def test_an_answer_is_remembered_as_long_as_another_browser_may_come_with_one(
    server: Running, browser: Browser
) -> None:
    """The slowest browser opened it in its last second and takes all its time."""
    request_uri = await pushed(browser)
    consent = await at_consent(browser, request_uri)
    server.clock.advance(59)
    async with server.browser(browser.client) as slow:
        page = await at_consent(slow, request_uri)
        assert "code" in answer_of(await browser.decide(consent))
        server.clock.advance(599)
        assert (await slow.decide(page)).status_code == 400
    assert await server.store.list("authorization_request") == []


@pytest.mark.parametrize("unknown", ["", "x", "x" * 43, "%00", "../" * 20])
async def test_an_unknown_reference_leads_nowhere(server: Running, browser: Browser, unknown: str) -> None:
    """RFC 9101 §7: invalid_request_uri; no redirect, since nothing says where to."""
    request_uri = f"urn:ietf:params:oauth:request_uri:{unknown}"
    response = await opened(browser, request_uri, redirect_uri=LOOPBACK, state="s")
    await told_the_user(server, response, "invalid_request_uri")


async def test_another_clients_reference_leads_nowhere_and_stays_good(
    server: Running, browser: Browser
) -> None:
    """RFC 9126 §2.2: the request_uri MUST be bound to the client that posted the request."""
    request_uri = await pushed(browser)
    async with server.browser() as other:
        assert other.client.client_id != browser.client.client_id
        await told_the_user(server, await opened(other, request_uri), "invalid_request_uri")
    await told_the_user(server, await opened(browser, request_uri, client_id="nobody"), "invalid_request_uri")
    assert "code" in answer_of(await browser.decide(await at_consent(browser, request_uri)))


async def test_a_reference_comes_with_the_client_id_and_once(server: Running, browser: Browser) -> None:
    """RFC 9101 §5: client_id is REQUIRED; RFC 6749 §3.1: neither may be repeated."""
    request_uri = await pushed(browser)
    client_id = browser.client.client_id
    wrong: list[dict[str, Value]] = [
        {"client_id": None},
        {"client_id": ""},
        {"client_id": [client_id, client_id]},
        {"request_uri": [request_uri, request_uri]},
        {"request_uri": ["https://client.example/request", request_uri]},
    ]
    for query in wrong:
        response = await opened(browser, **{"request_uri": request_uri, **query})
        await told_the_user(server, response, "invalid_request")


async def test_a_reference_to_elsewhere_is_not_followed() -> None:
    """RFC 9101 §5.2 with §10.4.1: request objects are not taken, and nothing is fetched."""
    network = Network()
    async with running(fetch=network) as server, server.browser() as browser:
        response = await browser.authorize(request_uri="https://client.example/request")
        assert answer_of(response)["error"] == "request_uri_not_supported"
        assert network.asked == []
        assert await server.store.list("authorization_request") == []


async def test_a_pushed_request_is_checked_again_when_it_is_opened(server: Running, browser: Browser) -> None:
    """RFC 9126 §4: validated as any other request; the client may have changed since."""
    request_uri = await pushed(browser)
    client_id = browser.client.client_id
    moved = "https://client.example/moved"
    await server.clients.change(client_id, lambda client: replace(client, redirect_uris=(moved,)))
    await told_the_user(server, await opened(browser, request_uri), "invalid_request")
    await server.clients.change(
        client_id, lambda client: replace(client, grant_types=(), redirect_uris=(LOOPBACK,))
    )
    assert answer_of(await opened(browser, request_uri))["error"] == "unauthorized_client"
    await server.clients.remove(client_id)
    await told_the_user(server, await opened(browser, request_uri), "invalid_client")


async def test_prompt_none_is_answered_and_uses_nothing_up(server: Running, browser: Browser) -> None:
    """OpenID Connect Core §3.1.2.6: nothing was shown and nothing decided."""
    request_uri = await pushed(browser, prompt="none")
    for _ in range(2):
        answer = answer_of(await opened(browser, request_uri))
        assert (answer["error"], answer["state"]) == ("login_required", "a state")
    assert await server.store.list("authorization_request") == []


async def test_where_requests_have_to_be_pushed_others_are_refused() -> None:
    """RFC 9126 §4 and §5: invalid_request, told to the client like every other error."""
    async with running(settings=ONLY_PUSHED) as server, server.browser() as browser:
        metadata = (await browser.http.get("/.well-known/oauth-authorization-server")).json()
        assert metadata["require_pushed_authorization_requests"] is True
        for plain in (
            await browser.authorize(),
            await browser.authorize(request_uri="https://client.example/request"),
            await browser.authorize(request="eyJhbGciOiJub25lIn0.e30."),
        ):
            assert plain.headers["location"].startswith(f"{LOOPBACK}?")
            answer = answer_of(plain)
            assert (answer["error"], answer["state"]) == ("invalid_request", "a state")
            assert answer["iss"] == ISSUER
        unknown = "urn:ietf:params:oauth:request_uri:unknown"
        await told_the_user(server, await opened(browser, unknown), "invalid_request_uri")
        evil = await browser.authorize(redirect_uri="https://evil.example/cb")
        await told_the_user(server, evil, "invalid_request")
        request_uri = await pushed(browser)
        assert "code" in answer_of(await browser.decide(await at_consent(browser, request_uri)))


async def test_a_client_may_say_that_it_always_pushes(server: Running) -> None:
    """RFC 9126 §6: kept, told back and honoured, for this client alone."""
    metadata = {"redirect_uris": [LOOPBACK], "client_name": "Careful"}
    async with server.browser() as other:
        member = {"require_pushed_authorization_requests": True}
        registered = (await other.http.post("/register", json={**metadata, **member})).json()
        assert registered["require_pushed_authorization_requests"] is True
        plain = (await other.http.post("/register", json=metadata)).json()
        assert "require_pushed_authorization_requests" not in plain
        assert plain["client_id"] != registered["client_id"]
        assert (await other.authorize()).headers["location"].startswith("/sign-in")
    client = await server.clients.get(registered["client_id"])
    async with server.browser(client) as browser:
        answer = answer_of(await browser.authorize())
        assert (answer["error"], answer["state"]) == ("invalid_request", "a state")
        request_uri = await pushed(browser)
        assert "code" in answer_of(await browser.decide(await at_consent(browser, request_uri)))


@pytest.mark.parametrize("value", ["true", 1, [True], {}])
async def test_a_client_says_so_with_true_or_false(server: Running, browser: Browser, value: object) -> None:
    metadata = {"redirect_uris": [LOOPBACK], "require_pushed_authorization_requests": value}
    response = await browser.http.post("/register", json=metadata)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
    assert [client.client_id for client in await server.clients.list()] == [browser.client.client_id]


async def test_a_client_may_say_so_in_its_document() -> None:
    """RFC 9126 §6 in a client ID metadata document."""
    described = document(require_pushed_authorization_requests=True)
    async with running(fetch=Network.of(described)) as server, server.browser() as browser:
        callback = described["redirect_uris"][0]
        answer = answer_of(await browser.authorize(client_id=CLIENT_ID, redirect_uri=callback))
        assert answer["error"] == "invalid_request"
        request_uri = await pushed(browser, client_id=CLIENT_ID, redirect_uri=callback)
        assert (await opened(browser, request_uri, client_id=CLIENT_ID)).status_code == 303


async def test_a_reference_is_not_in_the_store(server: Running, browser: Browser) -> None:
    """By digest, like every other secret; the code_challenge and the rest of the request are none."""
    request_uri = await pushed(browser)
    await browser.decide(await at_consent(browser, request_uri))
    for kind in ("pushed_authorization_request", "used_request_uri", "authorization_code"):
        records = str(await server.store.list(kind))
        assert records != "[]"
        assert request_uri.rpartition(":")[2] not in records
    assert CHALLENGE in str(await server.store.list("pushed_authorization_request"))
