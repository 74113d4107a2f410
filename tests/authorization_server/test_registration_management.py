"""Client configuration, RFC 7592."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcpauth.events import ClientDeleted, ClientUpdated, RegistrationTokenRefused
from tests.authorization_server.front_helpers import (
    ISSUER,
    VERIFIER,
    Browser,
    Running,
    kept_codes,
    running,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

pytestmark = pytest.mark.anyio

WEB = "https://client.example/cb"
METADATA = {
    "client_name": "Web Notes",
    "redirect_uris": [WEB],
    "token_endpoint_auth_method": "none",
    "client_uri": "https://client.example",
}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def server() -> AsyncGenerator[Running]:
    async with running() as server:
        yield server


@pytest.fixture
async def browser(server: Running) -> AsyncGenerator[Browser]:
    async with server.browser() as browser:
        yield browser


class Registration:
    """A registered client that manages itself."""

    def __init__(self, http: httpx2.AsyncClient, body: dict[str, Any]) -> None:
        self.http = http
        self.body = body
        self.client_id: str = body["client_id"]
        self.token: str = body["registration_access_token"]
        self.path = f"/register/{self.client_id}"

    @classmethod
    async def of(cls, http: httpx2.AsyncClient, **metadata: Any) -> Registration:
        response = await http.post("/register", json=METADATA | metadata)
        assert response.status_code == 201, response.text
        return cls(http, response.json())

    async def ask(
        self, method: str, *, token: str | None = None, path: str | None = None, json: object = None
    ) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return await self.http.request(
            method, path or self.path, headers=headers, json=json if method == "PUT" else None
        )

    async def put(self, **changed: Any) -> httpx2.Response:
        values = METADATA | {"client_id": self.client_id} | changed
        return await self.ask(
            "PUT", json={name: value for name, value in values.items() if value is not None}
        )


async def test_the_registration_tells_where_and_with_what_to_manage_it(browser: Browser) -> None:
    """RFC 7592 §3; the store has only the token's digest."""
    registration = await Registration.of(browser.http)
    assert registration.body["registration_client_uri"] == f"{ISSUER}{registration.path}"
    assert len(registration.token) > 43


async def test_a_client_reads_its_registration(server: Running, browser: Browser) -> None:
    """RFC 7592 §2.1: everything but the secret, which is not kept."""
    registration = await Registration.of(browser.http, token_endpoint_auth_method="client_secret_post")
    response = await registration.ask("GET")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    shown = dict(registration.body)
    del shown["client_secret"], shown["client_secret_expires_at"]
    assert response.json() == shown
    kept = str(await server.store.list("client"))
    assert registration.token not in kept
    assert registration.body["client_secret"] not in kept


async def test_a_client_changes_its_registration(server: Running, browser: Browser) -> None:
    """RFC 7592 §2.2: the new metadata takes the place of all the old; what is left out is gone."""
    registration = await Registration.of(browser.http)
    response = await registration.put(client_name="Renamed", redirect_uris=[f"{WEB}2"], client_uri=None)
    assert response.status_code == 200, response.text
    body = response.json()
    assert (body["client_name"], body["redirect_uris"]) == ("Renamed", [f"{WEB}2"])
    assert "client_uri" not in body
    assert body["registration_access_token"] == registration.token
    client = await server.clients.get(registration.client_id)
    assert client is not None
    assert client.redirect_uris == (f"{WEB}2",)
    assert any(isinstance(event, ClientUpdated) for event in server.happened)
    assert (await registration.ask("GET")).json() == body


async def test_a_redirect_uri_that_was_taken_out_leads_nowhere_any_more(
    server: Running, browser: Browser
) -> None:
    registration = await Registration.of(browser.http)
    await registration.put(redirect_uris=[f"{WEB}2"])
    old = await browser.authorize(client_id=registration.client_id, redirect_uri=WEB)
    assert old.status_code == 400
    new = await browser.authorize(client_id=registration.client_id, redirect_uri=f"{WEB}2")
    assert new.status_code == 303


async def test_a_change_does_not_make_an_unconfirmed_registration_last(
    server: Running, browser: Browser
) -> None:
    registration = await Registration.of(browser.http)
    server.clock.advance(86000)
    await registration.put(client_name="Renamed")
    server.clock.advance(401)
    assert await server.clients.get(registration.client_id) is None
    assert (await registration.ask("GET")).status_code == 401


async def test_a_client_that_changes_to_a_secret_gets_one_and_keeps_it(
    server: Running, browser: Browser
) -> None:
    registration = await Registration.of(browser.http)
    first = (await registration.put(token_endpoint_auth_method="client_secret_post")).json()
    secret = first["client_secret"]
    form = {"token": "x", "client_id": registration.client_id}
    assert (await browser.http.post("/revoke", data=form | {"client_secret": secret})).status_code == 200
    told_back = await registration.put(token_endpoint_auth_method="client_secret_basic", client_secret=secret)
    assert told_back.status_code == 200
    assert "client_secret" not in told_back.json(), "it has one already"
    assert (await browser.http.post("/revoke", data=form | {"client_secret": secret})).status_code == 200
    await registration.put()
    assert (await browser.http.post("/revoke", data=form | {"client_secret": secret})).status_code == 401
    client = await server.clients.get(registration.client_id)
    assert client is not None
    assert client.client_secret_digest is None


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": None},
        {"client_id": "another"},
        {"client_id": 5},
        {"client_secret": "chosen"},
        {"client_secret": 5},
        {"registration_access_token": "x"},
        {"registration_client_uri": "https://x.example"},
        {"client_secret_expires_at": 0},
        {"client_id_issued_at": 0},
        {"client_name": 5},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"jwks": {"keys": []}},
    ],
)
async def test_what_is_not_the_clients_to_say_is_refused(
    server: Running, browser: Browser, changed: dict[str, Any]
) -> None:
    """RFC 7592 §2.2: MUST NOT include; and nothing has changed."""
    registration = await Registration.of(browser.http)
    before = await server.clients.get(registration.client_id)
    response = await registration.put(**changed)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
    assert await server.clients.get(registration.client_id) == before


async def test_a_redirect_uri_that_cannot_be_registered_cannot_be_changed_to(browser: Browser) -> None:
    registration = await Registration.of(browser.http)
    for redirect_uris in (["javascript:alert(1)"], [], ["http://client.example/cb"], None):
        response = await registration.put(redirect_uris=redirect_uris)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_redirect_uri")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"1", b"\xff", b"[" * 50000])
async def test_a_body_that_is_no_json_object_is_refused(browser: Browser, body: bytes) -> None:
    registration = await Registration.of(browser.http)
    headers = {"Authorization": f"Bearer {registration.token}", **JSON}
    response = await browser.http.put(registration.path, content=body, headers=headers)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")


async def test_a_client_cannot_give_itself_what_only_an_operator_gives(
    server: Running, browser: Browser
) -> None:
    registration = await Registration.of(browser.http)
    response = await registration.put(
        source="pre-registered", confirmed=True, terms={"scopes": ["notes:admin"]}
    )
    assert response.status_code == 200
    client = await server.clients.get(registration.client_id)
    assert client is not None
    assert (client.source, client.confirmed, client.terms.scopes) == ("dynamic", False, ())


async def test_a_client_ends_its_registration_and_everything_with_it(
    server: Running, browser: Browser
) -> None:
    """RFC 7592 §2.3: 204; the token, the codes and the tokens are dead."""
    registration = await Registration.of(browser.http)
    client = await server.clients.get(registration.client_id)
    assert client is not None
    form = {"client_id": registration.client_id, "redirect_uri": WEB, "code_verifier": VERIFIER}
    redeem = form | {"grant_type": "authorization_code"}
    async with server.browser(client) as theirs:
        tokens = (await theirs.http.post("/token", data=redeem | {"code": await theirs.to_code()})).json()
        code = answer_code(await theirs.decide(await theirs.follow(await theirs.authorize())))
        response = await registration.ask("DELETE")
        assert (response.status_code, response.content) == (204, b"")
        assert response.headers["cache-control"] == "no-store"
        assert (await registration.ask("GET")).status_code == 401
        assert (await theirs.http.post("/token", data=redeem | {"code": code})).status_code == 401
        refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        assert (await theirs.http.post("/token", data=form | refresh)).status_code == 401
        assert (await theirs.authorize()).status_code == 400
    assert await server.store.list("grant") == []
    assert len(await server.store.list("revoked_grant")) == 1, "resource servers hear of the access token"
    assert ClientDeleted(registration.client_id) in server.happened
    assert await kept_codes(server) == 2


def answer_code(response: httpx2.Response) -> str:
    return str(response.headers["location"].partition("code=")[2].partition("&")[0])


async def test_the_token_of_one_client_does_nothing_to_another_and_is_revoked(
    server: Running, browser: Browser
) -> None:
    """RFC 7592 §2: whoever tries has a token that is not theirs."""
    for method in ("GET", "PUT", "DELETE"):
        ours, theirs = await Registration.of(browser.http), await Registration.of(browser.http)
        response = await ours.ask(method, path=theirs.path, json={"client_id": theirs.client_id} | METADATA)
        assert response.status_code == 401
        assert response.json()["error"] == "invalid_token"
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert (await theirs.ask("GET")).status_code == 200, "the other client is untouched"
        assert (await ours.ask("GET")).status_code == 401, "the token is revoked"
        assert await server.clients.get(ours.client_id) is not None, "its client is not"
        misused = [event for event in server.happened if isinstance(event, RegistrationTokenRefused)]
        assert misused[-1] == RegistrationTokenRefused(ours.client_id, tried=theirs.client_id)


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer .", "Bearer \u00e9"]
)
async def test_without_its_token_nobody_manages_a_client(browser: Browser, authorization: str) -> None:
    registration = await Registration.of(browser.http)
    headers = [(b"authorization", authorization.encode("latin-1"))] if authorization else []
    for method in ("GET", "PUT", "DELETE"):
        response = await browser.http.request(method, registration.path, headers=headers)
        assert (response.status_code, response.json()["error"]) == (401, "invalid_token")
    assert (await registration.ask("GET")).status_code == 200


async def test_a_token_of_no_client_is_refused(server: Running, browser: Browser) -> None:
    registration = await Registration.of(browser.http)
    made_up = f"{registration.client_id}.{'x' * 43}"
    assert (await registration.ask("GET", token=made_up)).status_code == 401
    assert (await registration.ask("GET", token=registration.token + "x")).status_code == 401
    assert (await registration.ask("GET")).status_code == 200, "guessing revokes nothing"


async def test_a_client_without_a_token_cannot_be_managed_with_an_empty_one(
    server: Running, browser: Browser
) -> None:
    """Pre-registered and shared clients have none."""
    shared = await server.register()
    for token in (f"{shared.client_id}.", f"{shared.client_id}.{'0' * 43}", shared.client_id):
        headers = {"Authorization": f"Bearer {token}"}
        response = await browser.http.delete(f"/register/{shared.client_id}", headers=headers)
        assert response.status_code == 401
    assert await server.clients.get(shared.client_id) is not None


async def test_other_methods_and_unknown_clients(browser: Browser) -> None:
    registration = await Registration.of(browser.http)
    headers = {"Authorization": f"Bearer {registration.token}"}
    assert (await browser.http.post(registration.path, headers=headers)).status_code == 405
    assert (await browser.http.get("/register/", headers=headers)).status_code == 404
    assert (await browser.http.get("/register/a/b", headers=headers)).status_code == 404


async def test_a_client_in_a_browser_may_manage_itself_from_any_origin(browser: Browser) -> None:
    registration = await Registration.of(browser.http)
    preflight = await browser.http.options(registration.path)
    assert preflight.status_code == 204
    assert "DELETE" in preflight.headers["access-control-allow-methods"]
    assert (await registration.ask("GET")).headers["access-control-allow-origin"] == "*"
