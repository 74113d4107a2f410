"""Dynamic client registration, RFC 7591."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from mcpauth.events import ClientRegistered, RegistrationRefused
from tests.authorization_server.core_helpers import ISSUER, LOOPBACK, START, CoreServer, core_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

pytestmark = pytest.mark.anyio

WEB = "https://client.example/cb"


@pytest.fixture
async def server() -> AsyncGenerator[CoreServer]:
    async with core_server() as server:
        yield server


async def register(server: CoreServer, **metadata: object) -> httpx2.Response:
    return await server.http.post("/register", json={"redirect_uris": [WEB]} | metadata)


async def registered(server: CoreServer, **metadata: object) -> dict[str, Any]:
    response = await register(server, **metadata)
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


async def refused(server: CoreServer, response: httpx2.Response, error: str) -> None:
    """The refusal, and that nothing was stored."""
    assert response.status_code == 400, response.text
    assert response.json()["error"] == error
    assert await server.clients.list() == ()
    assert len(server.events(RegistrationRefused)) == 1


async def test_a_web_client_gets_an_id_and_a_secret_that_is_shown_once(server: CoreServer) -> None:
    """RFC 7591 §3.2.1."""
    body = await registered(server, client_name="Notes Reader", scope="notes:read")
    client_id = body.pop("client_id")
    assert re.fullmatch(r"[0-9a-f]{32}", client_id)
    assert re.fullmatch(rf"{client_id}\.[A-Za-z0-9_\-]{{43}}", body.pop("registration_access_token"))
    assert body.pop("registration_client_uri") == f"{ISSUER}/register/{client_id}"
    secret = body.pop("client_secret")
    assert re.fullmatch(r"[A-Za-z0-9_\-]{43}", secret)
    assert body == {
        "client_id_issued_at": START,
        "client_secret_expires_at": 0,
        "redirect_uris": [WEB],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "client_secret_basic",
        "client_name": "Notes Reader",
        "scope": "notes:read",
    }
    assert secret not in str(await server.store.list("client"))
    assert len(server.events(ClientRegistered)) == 1


@pytest.mark.parametrize(
    "redirect_uris",
    [[LOOPBACK], ["http://localhost/cb", "http://[::1]:8080/cb"], ["cursor://x/cb"], ["com.example.app:/cb"]],
)
async def test_a_native_client_that_says_nothing_of_itself_is_public(
    server: CoreServer, redirect_uris: list[str]
) -> None:
    """RFC 8252 §8.5; no application_type is needed."""
    body = await registered(server, redirect_uris=redirect_uris)
    assert body["token_endpoint_auth_method"] == "none"
    assert body["redirect_uris"] == redirect_uris
    assert "client_secret" not in body
    assert "client_secret_expires_at" not in body


async def test_one_web_redirect_makes_it_a_client_with_a_secret(server: CoreServer) -> None:
    body = await registered(server, redirect_uris=[LOOPBACK, WEB])
    assert body["token_endpoint_auth_method"] == "client_secret_basic"


@pytest.mark.parametrize("method", ["none", "client_secret_basic", "client_secret_post"])
async def test_the_method_that_is_asked_for_is_given(server: CoreServer, method: str) -> None:
    body = await registered(server, redirect_uris=[LOOPBACK], token_endpoint_auth_method=method)
    assert body["token_endpoint_auth_method"] == method
    assert ("client_secret" in body) == (method != "none")


async def test_absent_members_stay_absent(server: CoreServer) -> None:
    """The TypeScript clients refuse null and "" where they expect a URL."""
    body = await registered(server, client_uri="", logo_uri=None, scope="", client_name=None, contacts=[])
    assert not {"client_uri", "logo_uri", "scope", "client_name", "contacts"} & body.keys()
    assert None not in body.values()
    assert "" not in body.values()


async def test_what_a_client_says_of_itself_comes_back(server: CoreServer) -> None:
    told = {
        "client_uri": "https://client.example",
        "logo_uri": "https://client.example/logo.png",
        "tos_uri": "https://client.example/tos",
        "policy_uri": "http://client.example/policy?a=b",
        "contacts": ["a@client.example"],
        "software_id": "inspector",
        "software_version": "2.12 beta",
        "application_type": "native",
    }
    body = await registered(server, **told)
    assert {name: body[name] for name in told} == told


async def test_unknown_members_are_ignored(server: CoreServer) -> None:
    """RFC 7591 §2: MUST ignore; nor can a client choose what is ours to say."""
    body = await registered(
        server,
        client_id="https://evil.example/client",
        client_secret="chosen",
        source="pre-registered",
        first_party=True,
        resource="https://x.example",
        metadata={"a": 1},
        **{"client_name#ja": "x"},
    )
    assert not {"source", "first_party", "resource", "metadata", "client_name#ja"} & body.keys()
    assert not body["client_id"].startswith("https://")
    assert body["client_secret"] != "chosen"
    client = await server.clients.get(body["client_id"])
    assert client is not None
    assert client.source == "dynamic"


async def test_grant_and_response_types_of_other_servers_are_left_out(server: CoreServer) -> None:
    """RFC 7591 §3.2.1 lets the server change them; clients list all they could do."""
    body = await registered(
        server,
        grant_types=["authorization_code", "implicit", "password", "client_credentials", "urn:x:jwt-bearer"],
        response_types=["code", "token", "code id_token"],
    )
    assert body["grant_types"] == ["authorization_code"]
    assert body["response_types"] == ["code"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"grant_types": ["implicit"]},
        {"grant_types": ["password"]},
        {"grant_types": ["refresh_token"]},
        {"grant_types": ["client_credentials"], "token_endpoint_auth_method": "none"},
        {"response_types": ["token"]},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": "client_secret_jwt"},
        {"token_endpoint_auth_method": 1},
        {"grant_types": "authorization_code"},
        {"grant_types": [1]},
        {"grant_types": {"authorization_code": 1}},
        {"redirect_uris": "https://client.example/cb"},
        {"redirect_uris": [1]},
        {"redirect_uris": [None]},
        {"redirect_uris": [[WEB]]},
        {"redirect_uris": {}},
        {"client_name": 5},
        {"client_name": {"a": "b"}},
        {"client_name": True},
        {"scope": ["notes:read"]},
        {"scope": 0},
        {"contacts": "me"},
        {"contacts": [1]},
        {"contacts": ["x"] * 51},
        {"software_id": "x" * 2001},
        {"software_version": False},
        {"client_uri": "javascript:alert(1)"},
        {"client_uri": "java\tscript:alert(1)"},
        {"client_uri": "https://x.example/\u202e"},
        {"logo_uri": "data:image/png;base64,x"},
        {"logo_uri": "https://"},
        {"client_uri": "https://known.example@other.example/"},
        {"client_uri": "https://known.example\\@other.example/"},
        {"policy_uri": "ftp://x.example"},
        {"tos_uri": 'https://x.example/"onload="'},
    ],
)
async def test_metadata_that_cannot_be_registered_is_refused(
    server: CoreServer, metadata: dict[str, Any]
) -> None:
    """RFC 7591 §3.2.2: invalid_client_metadata, whatever the types."""
    await refused(server, await register(server, **metadata), "invalid_client_metadata")


@pytest.mark.parametrize(
    "redirect_uris",
    [
        [],
        None,
        ["http://client.example/cb"],
        ["javascript:alert(1)"],
        [WEB, "https://client.example/cb#fragment"],
        ["https://client.example/cb?code=x"],
        [f"{WEB}{n}" for n in range(21)],
    ],
)
async def test_redirect_uris_that_cannot_be_registered_are_refused(
    server: CoreServer, redirect_uris: list[str] | None
) -> None:
    """RFC 7591 §3.2.2: invalid_redirect_uri; which ones is told in test_oauth_redirect_uri."""
    await refused(server, await register(server, redirect_uris=redirect_uris), "invalid_redirect_uri")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"[,]",
        b'"text"',
        b"1",
        b"\xff",
        b'{"client_name": NaN, "redirect_uris": ["https://client.example/cb"]}',
        b'{"redirect_uris": ["https://a.example"], "redirect_uris": ["https://b.example"]}',
        b"[" * 60000,
        b'{"a":' * 10000,
        b'{"n": ' + b"9" * 5000 + b"}",
        '{"redirect_uris": []}'.encode("utf-16"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(server: CoreServer, body: bytes) -> None:
    """Never a 500, however deep or broken."""
    response = await server.http.post("/register", content=body, headers={"Content-Type": "application/json"})
    await refused(server, response, "invalid_client_metadata")


async def test_deep_nesting_in_an_unknown_member_is_ignored_or_refused_but_no_failure(
    server: CoreServer,
) -> None:
    body = '{"redirect_uris": ["https://client.example/cb"], "x": ' + "[" * 900 + "]" * 900 + "}"
    response = await server.http.post("/register", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (201, 400)


async def test_a_form_is_not_read_as_metadata(server: CoreServer) -> None:
    response = await server.http.post("/register", data={"redirect_uris": WEB})
    assert response.status_code == 415
    assert response.json()["error"] == "invalid_client_metadata"


async def test_a_body_over_64_kb_is_refused(server: CoreServer) -> None:
    response = await register(server, client_name="x" * 65536)
    assert response.status_code == 413
    assert await server.clients.list() == ()


async def test_a_name_is_cut_and_freed_of_what_misleads_the_eye(server: CoreServer) -> None:
    """A consent page shows it: no bidi overrides, controls or zero-width characters."""
    name = "\u202eGood\u2066 \x00Cl\u200bient\n\t  One\u2028!" + "x" * 300
    body = await registered(server, client_name=name)
    assert body["client_name"].startswith("Good Client One !xxx")
    assert len(body["client_name"]) == 200


@pytest.mark.parametrize("odd", ['"\\ud800"', "1e999", "[" * 65 + "]" * 65, "9" * 101])
@pytest.mark.parametrize("name", ["client_name", "scope", "jwks", "whatever"])
async def test_what_could_not_be_written_as_json_again_is_refused_wherever_it_stands(
    server: CoreServer, name: str, odd: str
) -> None:
    """RFC 8259 §6, §8.2 and §9: lone surrogates, numbers beyond a double, nesting without end."""
    text = json.dumps({"redirect_uris": [WEB], name: "HERE"}).replace('"HERE"', odd)
    response = await server.http.post("/register", content=text, headers={"Content-Type": "application/json"})
    await refused(server, response, "invalid_client_metadata")


async def test_unknown_scopes_are_dropped_and_the_scope_is_no_ceiling(server: CoreServer) -> None:
    """Clients register what the first challenge said, and step up later."""
    body = await registered(server, scope='notes:read nothing openid "x" tasks:read notes:read')
    assert body["scope"] == "notes:read tasks:read"
    assert "scope" not in await registered(server, scope="openid email")


async def test_a_registered_client_can_use_what_it_was_given(server: CoreServer) -> None:
    body = await registered(server)
    client = await server.clients.get(body["client_id"])
    assert client is not None
    form = {
        "grant_type": "authorization_code",
        "code": await server.code(client),
        "redirect_uri": WEB,
        "code_verifier": "a-code-verifier-that-is-long-enough-for-the-rule",
    }
    auth = (body["client_id"], body["client_secret"])
    assert (await server.post("/token", form, auth=auth)).status_code == 200
