"""Pushed authorization requests, RFC 9126: what may be pushed, and by whom."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

import anyio
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mcpauth.events import AuthorizationPushed, AuthorizationPushRefused, ClientAuthenticationFailed
from tests.authorization_server.assertion_helpers import ASSERTION_TYPE, claims_of, client_with, key, signed
from tests.authorization_server.core_helpers import basic
from tests.authorization_server.front_helpers import (
    CHALLENGE,
    ISSUER,
    LOOPBACK,
    NOTES,
    TASKS,
    Browser,
    Running,
    answer_of,
    running,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

    from mcpauth.oauth.client import Client

pytestmark = pytest.mark.anyio

OURS = "urn:ietf:params:oauth:request_uri:"


@pytest.fixture
async def server() -> AsyncGenerator[Running]:
    async with running() as server:
        yield server


@pytest.fixture
async def browser(server: Running) -> AsyncGenerator[Browser]:
    async with server.browser() as browser:
        yield browser


async def with_secret(server: Running, method: str = "client_secret_basic") -> tuple[Client, str]:
    client, secret = await server.clients.register(
        {"redirect_uris": [LOOPBACK], "token_endpoint_auth_method": method}, source="pre-registered"
    )
    assert secret is not None
    return client, secret


async def kept(server: Running) -> int:
    return len(await server.store.list("pushed_authorization_request"))


async def refused(server: Running, response: httpx2.Response, error: str, status: int = 400) -> None:
    """JSON for the client's developer; nobody is sent anywhere, and nothing is kept."""
    assert response.status_code == status, response.text
    assert response.json()["error"] == error
    assert response.headers["cache-control"] == "no-store"
    assert "location" not in response.headers
    assert await kept(server) == 0


async def test_a_pushed_request_gets_a_reference(server: Running, browser: Browser) -> None:
    """RFC 9126 §2.2: 201, an unguessable request_uri and its lifetime; nothing of the request in it."""
    response = await browser.push()
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert set(response.json()) == {"request_uri", "expires_in"}
    assert response.json()["expires_in"] == 60
    request_uri = response.json()["request_uri"]
    assert re.fullmatch(re.escape(OURS) + r"[A-Za-z0-9_-]{43}", request_uri)
    assert (await browser.push()).json()["request_uri"] != request_uri
    assert request_uri not in str(await server.store.list("pushed_authorization_request"))
    assert await server.store.list("authorization_request") == []
    pushed = [event for event in server.happened if isinstance(event, AuthorizationPushed)]
    assert [event.client_id for event in pushed] == [browser.client.client_id] * 2


async def test_the_endpoint_is_announced(browser: Browser) -> None:
    """RFC 9126 §5."""
    metadata = (await browser.http.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["pushed_authorization_request_endpoint"] == f"{ISSUER}/par"
    assert metadata["require_pushed_authorization_requests"] is False


# What /authorize refuses, and whom it tells, is in test_authorization_endpoint.py.
WRONG: list[tuple[dict[str, str | None], str]] = [
    ({"response_type": None}, "invalid_request"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_type": 'co"de'}, "unsupported_response_type"),
    ({"response_mode": "fragment"}, "invalid_request"),
    ({"code_challenge": None}, "invalid_request"),
    ({"code_challenge": "short"}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge_method": None}, "invalid_request"),
    ({"scope": 'a"b'}, "invalid_scope"),
    ({"scope": "unknown"}, "invalid_scope"),
    ({"resource": "https://stranger.example"}, "invalid_target"),
    ({"resource": NOTES + "#part"}, "invalid_target"),
    ({"prompt": "none login"}, "invalid_request"),
    ({"request": "eyJhbGciOiJub25lIn0.e30."}, "request_not_supported"),
]


@pytest.mark.parametrize(("changed", "error"), WRONG)
async def test_what_authorize_would_refuse_is_refused_with_the_same_words(
    server: Running, browser: Browser, changed: dict[str, str | None], error: str
) -> None:
    """RFC 9126 §2.1: validated as an authorization request would be; §2.3: and told in the answer."""
    response = await browser.push(**changed)
    await refused(server, response, error)
    at_authorize = answer_of(await browser.authorize(**changed))
    assert response.json() == {name: at_authorize[name] for name in ("error", "error_description")}
    told = [event for event in server.happened if isinstance(event, AuthorizationPushRefused)]
    assert [(event.client_id, event.error) for event in told] == [(browser.client.client_id, error)]


@pytest.mark.parametrize(
    "redirect_uri", ["https://evil.example/cb", LOOPBACK + "/", LOOPBACK + "?x=1", "javascript:alert(1)", "x"]
)
async def test_a_redirect_uri_that_is_not_registered_comes_before_every_other_error(
    server: Running, browser: Browser, redirect_uri: str
) -> None:
    """RFC 9126 §2.3: invalid_request; it could only be told to the user at /authorize."""
    response = await browser.push(redirect_uri=redirect_uri, scope='"', response_type="token")
    await refused(server, response, "invalid_request")
    assert response.json()["error_description"] == "the redirect_uri is not registered for this client"


async def test_a_missing_redirect_uri_needs_exactly_one_registered(server: Running, browser: Browser) -> None:
    """RFC 6749 §3.1.2.3."""
    assert (await browser.push(redirect_uri=None)).status_code == 201
    several = await server.register(redirect_uris=[LOOPBACK, "http://localhost/callback"])
    async with server.browser(several) as other:
        assert (await other.push(redirect_uri=None)).json()["error"] == "invalid_request"


@pytest.mark.parametrize("nested", [OURS + "x" * 43, "https://client.example/request", "x"])
async def test_a_pushed_request_is_not_a_reference_itself(
    server: Running, browser: Browser, nested: str
) -> None:
    """RFC 9126 §2.1: the request_uri parameter MUST NOT be provided."""
    await refused(server, await browser.push(request_uri=nested), "invalid_request")


async def test_a_reference_that_was_given_out_cannot_be_pushed_again(
    server: Running, browser: Browser
) -> None:
    request_uri = (await browser.push()).json()["request_uri"]
    response = await browser.push(request_uri=request_uri)
    assert response.json()["error"] == "invalid_request"
    assert await kept(server) == 1


async def test_a_client_with_a_secret_has_to_show_it(server: Running) -> None:
    """RFC 9126 §2: client authentication as at the token endpoint."""
    client, secret = await with_secret(server)
    async with server.browser(client) as browser:
        await refused(server, await browser.push(), "invalid_client", 401)
        await refused(server, await browser.push(client_secret="wrong"), "invalid_client", 401)
        wrong = basic(f"{client.client_id}:wrong")
        response = await browser.http.post("/par", data=browser.request_parameters(), headers=wrong)
        await refused(server, response, "invalid_client", 401)
        assert response.headers["www-authenticate"] == 'Basic realm="token"'
        failed = [event for event in server.happened if isinstance(event, ClientAuthenticationFailed)]
        assert [event.reason for event in failed] == ["wrong_method", "wrong_secret", "wrong_secret"]
        right = basic(f"{client.client_id}:{secret}")
        response = await browser.http.post("/par", data=browser.request_parameters(), headers=right)
        assert response.status_code == 201


async def test_an_unknown_client_pushes_nothing(server: Running, browser: Browser) -> None:
    await refused(server, await browser.push(client_id="unknown"), "invalid_client", 401)
    await refused(server, await browser.push(client_id=None), "invalid_client", 401)
    await refused(server, await browser.push(client_secret="a secret"), "invalid_client", 401)


async def test_a_client_that_authenticates_in_the_header_need_not_name_itself_again(server: Running) -> None:
    """The request is that of the client that authenticated, whether the form says so or not."""
    client, secret = await with_secret(server)
    async with server.browser(client) as browser:
        response = await browser.http.post(
            "/par",
            data=browser.request_parameters(client_id=None),
            headers=basic(f"{client.client_id}:{secret}"),
        )
        query = {"client_id": client.client_id, "request_uri": response.json()["request_uri"]}
        page = await browser.follow(await browser.http.get("/authorize", params=query))
        assert "<h1>Sign in</h1>" in page.text


async def test_a_client_cannot_push_in_anothers_name(server: Running, browser: Browser) -> None:
    client, secret = await with_secret(server)
    response = await browser.http.post(
        "/par", data=browser.request_parameters(), headers=basic(f"{client.client_id}:{secret}")
    )
    assert response.status_code in {400, 401}
    assert response.json()["error"] in {"invalid_request", "invalid_client"}
    assert await kept(server) == 0


async def test_a_client_may_prove_itself_with_an_assertion_for_this_endpoint(server: Running) -> None:
    """RFC 9126 §2: the URL of the endpoint is one of the audiences that MUST be accepted."""
    client = await client_with(server, key().jwk)
    proof = {
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": signed(key(), claims_of(client.client_id, aud=f"{ISSUER}/par")),
    }
    async with server.browser(client) as browser:
        assert (await browser.push(**proof)).status_code == 201
        again = await browser.push(**proof)
        assert (again.status_code, again.json()["error"]) == (401, "invalid_client")
        assert await kept(server) == 1


async def test_no_proof_of_the_client_is_kept(server: Running) -> None:
    """What authenticated the client belongs to the push alone."""
    client, secret = await with_secret(server, "client_secret_post")
    async with server.browser(client) as browser:
        assert (await browser.push(client_secret=secret)).status_code == 201
    records = str(await server.store.list("pushed_authorization_request"))
    assert secret not in records
    assert "client_secret" not in records
    assert CHALLENGE in records


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
async def test_only_post_is_answered(server: Running, browser: Browser, method: str) -> None:
    """RFC 9126 §2.3: 405 for any other method."""
    response = await browser.http.request(method, "/par", params=browser.request_parameters())
    assert response.status_code == 405
    assert "POST" in response.headers["allow"]
    assert await kept(server) == 0


async def test_a_body_that_is_too_long_is_refused(server: Running, browser: Browser) -> None:
    """RFC 9126 §2.3: 413."""
    await refused(server, await browser.push(state="x" * 70_000), "invalid_request", 413)


async def test_parameters_are_in_a_form_and_nowhere_else(server: Running, browser: Browser) -> None:
    """RFC 9126 §2: application/x-www-form-urlencoded."""
    parameters = browser.request_parameters()
    await refused(server, await browser.http.post("/par", json=parameters), "invalid_request", 415)
    await refused(server, await browser.http.post("/par?state=x", data=parameters), "invalid_request")
    await refused(server, await browser.http.post("/par", params=parameters), "invalid_request")
    twice = {**parameters, "state": ["a", "b"]}
    await refused(server, await browser.http.post("/par", data=twice), "invalid_request")


async def test_a_client_in_a_browser_may_push(browser: Browser) -> None:
    """Fetch Standard §3.2.2, as at the token endpoint."""
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    preflight = await browser.http.options("/par", headers=headers)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-methods"] == "POST"
    response = await browser.push()
    assert response.headers["access-control-allow-origin"] == "*"


names = st.sampled_from(
    (
        "client_id",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
        "redirect_uri",
        "request",
        "request_uri",
        "resource",
        "response_mode",
        "response_type",
        "scope",
        "state",
        "prompt",
        "login_hint",
        "code_challenge",
        "code_challenge_method",
    )
)
values = st.one_of(
    st.sampled_from(["code", "S256", CHALLENGE, "notes:read", NOTES, TASKS, OURS, LOOPBACK]).map(str.encode),
    st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=80),
)
headers = st.one_of(
    st.none(), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map("Basic {}".format)
)


@hypothesis_settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(names, values), max_size=6), st.booleans(), headers)
def test_no_form_is_a_failure(changes: list[tuple[str, bytes]], whole: bool, header: str | None) -> None:
    """Whatever is pushed is kept or refused; and what is kept can be opened."""

    async def run() -> None:
        async with running() as server, server.browser() as browser:
            changed = {name for name, _ in changes}
            good = browser.request_parameters() if whole else {"client_id": browser.client.client_id}
            form = [(name, str(value).encode()) for name, value in good.items() if name not in changed]
            body = "&".join(f"{name}={quote_from_bytes(value)}" for name, value in [*form, *changes])
            sent = {"Content-Type": "application/x-www-form-urlencoded"}
            sent |= {"Authorization": header} if header is not None else {}
            response = await browser.http.post("/par", content=body, headers=sent)
            assert response.status_code in {201, 400, 401}, response.text
            if response.status_code != 201:
                assert response.json()["error"] != "server_error"
                return
            query = {"client_id": browser.client.client_id, "request_uri": response.json()["request_uri"]}
            opened = await browser.http.get("/authorize", params=query)
            assert opened.status_code == 303

    anyio.run(run)
