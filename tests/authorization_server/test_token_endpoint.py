"""The token endpoint: what holds for every grant type, and how clients authenticate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import pytest

from mcpauth.events import ClientAuthenticationFailed, TokenRefused
from mcpauth.oauth.client import MAX_READ, Clients
from mcpauth.oauth.store import digest
from tests.authorization_server.core_helpers import START, VERIFIER, CoreServer, basic, core_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from mcpauth.oauth.client import Client

pytestmark = pytest.mark.anyio

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def server() -> AsyncGenerator[CoreServer]:
    async with core_server() as server:
        yield server


def code_form(client: Client, code: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uris[0],
        "code_verifier": VERIFIER,
    }


async def still_redeems(server: CoreServer, client: Client, secret: str | None, code: str) -> bool:
    """Whether the code was left alone by what came before."""
    auth = (client.client_id, secret) if secret is not None else None
    form = code_form(client, code) | ({} if auth else {"client_id": client.client_id})
    return (await server.post("/token", form, auth=auth)).status_code == 200


async def test_a_client_that_was_changed_meanwhile_is_what_it_is_now(server: CoreServer) -> None:
    """RFC 6749 §2.3.1: what was read of it before, by this process or another, does not count."""
    client, secret = await server.secret_client()
    assert await still_redeems(server, client, secret, await server.code(client))
    elsewhere = Clients(server.store)
    changed = await elsewhere.change(
        client.client_id, lambda each: replace(each, client_secret_digest=digest("another"))
    )
    assert changed is not None
    code = await server.code(client)
    assert not await still_redeems(server, client, secret, code)
    assert await still_redeems(server, client, "another", code)
    assert await elsewhere.remove(client.client_id)
    assert not await still_redeems(server, client, "another", await server.code(client))


async def test_clients_that_were_read_are_not_kept_without_end(server: CoreServer) -> None:
    """More of them than are remembered are told apart all the same."""
    pairs = [await server.secret_client() for _ in range(3)]
    for n in range(MAX_READ + 10):
        await server.clients.add(replace(pairs[0][0], client_id=f"many-{n}"))
        assert await server.clients.get(f"many-{n}")
    for client, secret in pairs:
        assert await still_redeems(server, client, secret, await server.code(client))


async def test_an_unknown_client_is_told_401_and_the_same_as_one_with_a_wrong_secret(
    server: CoreServer,
) -> None:
    """RFC 6749 §5.2; clients register again on 401 invalid_client."""
    client, _ = await server.secret_client()
    form = code_form(client, "x")
    unknown = await server.post("/token", form, auth=("nobody", "secret"))
    wrong = await server.post("/token", form, auth=(client.client_id, "secret"))
    assert unknown.status_code == wrong.status_code == 401
    assert unknown.json()["error"] == "invalid_client"
    assert unknown.text == wrong.text
    assert unknown.headers["www-authenticate"] == wrong.headers["www-authenticate"] == 'Basic realm="token"'
    assert [each.reason for each in server.events(ClientAuthenticationFailed)] == [
        "unknown_client",
        "wrong_secret",
    ]


async def test_an_unknown_public_client_is_told_401_without_a_challenge(server: CoreServer) -> None:
    """RFC 6749 §5.2: the challenge answers a client that used the header."""
    response = await server.post("/token", {"grant_type": "authorization_code", "client_id": "nobody"})
    assert response.status_code == 401
    assert response.json()["error"] == "invalid_client"
    assert "www-authenticate" not in response.headers


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic YWJj",  # no colon
        "Basic YTpi junk",
        "Basic YTpi,",
        "Basic YTpi=",  # padding that does not belong
        "Basic /zr/",  # not UTF-8
        "Basic AGE6Yg==",  # a NUL
        "Basic OnNlY3JldA==",  # no id
        "Bearer abc",
        "Digest username=a",
        "",
    ],
)
async def test_a_malformed_authorization_header_is_an_invalid_client(server: CoreServer, header: str) -> None:
    """RFC 6749 §5.2, RFC 7617 §2: never a 500."""
    client = await server.public_client()
    form = code_form(client, await server.code(client)) | {"client_id": client.client_id}
    response = await server.http.post("/token", data=form, headers={"Authorization": header})
    assert response.status_code == 401
    assert response.json()["error"] == "invalid_client"
    assert response.headers["www-authenticate"].startswith("Basic ")
    assert await still_redeems(server, client, None, form["code"])


async def test_both_ways_of_sending_a_secret_work_for_a_client_registered_for_either(
    server: CoreServer,
) -> None:
    """Documented leniency: clients mix the two up."""
    for registered in ("client_secret_basic", "client_secret_post"):
        client, secret = await server.secret_client(registered)
        by_header = await server.post(
            "/token", code_form(client, await server.code(client)), auth=(client.client_id, secret)
        )
        body = {"client_id": client.client_id, "client_secret": secret}
        by_body = await server.post("/token", code_form(client, await server.code(client)) | body)
        assert by_header.status_code == by_body.status_code == 200


@pytest.mark.parametrize("encode", [quote_plus, str])
async def test_a_secret_with_special_characters_works_encoded_and_raw(
    server: CoreServer, encode: Callable[[str], str]
) -> None:
    """RFC 6749 §2.3.1 wants it form-encoded; the TypeScript SDK sends it raw."""
    client, _ = await server.secret_client()
    secret = "a b+c%d:é&=/%41"
    await server.clients.remove(client.client_id)
    await server.clients.add(replace(client, client_secret_digest=digest(secret)))
    code = await server.code(client)
    headers = basic(f"{encode(client.client_id)}:{encode(secret)}")
    response = await server.http.post("/token", data=code_form(client, code), headers=headers)
    assert response.status_code == 200


async def test_two_methods_at_once_are_refused(server: CoreServer) -> None:
    """RFC 6749 §2.3: MUST NOT use more than one."""
    client, secret = await server.secret_client()
    form = code_form(client, await server.code(client))
    both = form | {"client_id": client.client_id, "client_secret": secret}
    response = await server.post("/token", both, auth=(client.client_id, secret))
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_request"
    assert await still_redeems(server, client, secret, form["code"])


async def test_the_client_id_of_the_body_must_be_the_one_of_the_header(server: CoreServer) -> None:
    client, secret = await server.secret_client()
    other, _ = await server.secret_client()
    form = code_form(client, await server.code(client))
    auth = (client.client_id, secret)
    response = await server.post("/token", form | {"client_id": other.client_id}, auth=auth)
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_request"
    assert (await server.post("/token", form | {"client_id": client.client_id}, auth=auth)).status_code == 200


async def test_a_client_with_a_secret_has_to_show_it(server: CoreServer) -> None:
    """RFC 6749 §3.2.1, at every endpoint that authenticates clients."""
    client, secret = await server.secret_client()
    code = await server.code(client)
    for path in ("/token", "/revoke"):
        form = code_form(client, code) | {"client_id": client.client_id, "token": "x"}
        response = await server.post(path, form)
        assert response.status_code == 401
        assert response.json()["error"] == "invalid_client"
    assert await still_redeems(server, client, secret, code)


async def test_an_empty_secret_is_no_secret(server: CoreServer) -> None:
    """RFC 6749 §3.2: a parameter without a value is absent; and no digest of nothing is ever right."""
    client, _ = await server.secret_client()
    public = await server.public_client()
    form = {"grant_type": "authorization_code", "client_secret": ""}
    assert (await server.post("/token", form | {"client_id": client.client_id})).status_code == 401
    assert (await server.post("/token", form, auth=(client.client_id, ""))).status_code == 401
    assert (await server.post("/token", form, auth=(public.client_id, ""))).status_code == 401


async def test_a_public_client_that_sends_a_secret_is_refused(server: CoreServer) -> None:
    client = await server.public_client()
    form = code_form(client, await server.code(client))
    by_body = await server.post("/token", form | {"client_id": client.client_id, "client_secret": "x"})
    by_header = await server.post("/token", form, auth=(client.client_id, "x"))
    assert by_body.status_code == by_header.status_code == 401
    assert await still_redeems(server, client, None, form["code"])


async def test_a_secret_expires(server: CoreServer) -> None:
    """RFC 7591 §3.2.1: client_secret_expires_at."""
    client, secret = await server.secret_client()
    await server.clients.remove(client.client_id)
    await server.clients.add(replace(client, client_secret_expires_at=START + 10))
    assert await still_redeems(server, client, secret, await server.code(client))
    server.clock.advance(10)
    code = await server.code(client)
    response = await server.post("/token", code_form(client, code), auth=(client.client_id, secret))
    assert response.status_code == 401


async def test_an_assertion_is_not_mistaken_for_a_public_client(server: CoreServer) -> None:
    """RFC 7521 §4.2 is not spoken here, so what claims to prove the client must not be skipped."""
    client = await server.public_client()
    form = code_form(client, await server.code(client)) | {
        "client_id": client.client_id,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": "a.b.c",
    }
    assert (await server.post("/token", form)).status_code == 401


async def test_credentials_in_the_query_are_refused(
    server: CoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 6749 §2.3.1: MUST NOT be in the request URI. Nothing of them is logged."""
    client, secret = await server.secret_client()
    form = code_form(client, await server.code(client))
    url = f"/token?client_id={client.client_id}&client_secret={secret}"
    response = await server.http.post(url, data=form)
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_request"
    assert not [record for record in caplog.records if record.name.startswith("mcpauth")]
    assert await still_redeems(server, client, secret, form["code"])


async def test_only_post_is_answered(server: CoreServer) -> None:
    """RFC 6749 §3.2: the client MUST use POST."""
    for path in ("/token", "/revoke", "/register"):
        assert (await server.http.get(path)).status_code == 405
        assert (await server.http.put(path)).status_code == 405


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 415),
        ("multipart/form-data; boundary=x", 415),
        ("text/plain", 415),
        ("", 415),
        ("application/json, application/x-www-form-urlencoded", 400),
        ("application/x-www-form-urlencoded, application/json", 400),
        ("application/x-www-form-urlencoded; charset=utf-16", 415),
    ],
)
async def test_only_a_form_is_read(server: CoreServer, content_type: str, status: int) -> None:
    """RFC 6749 Appendix B."""
    client = await server.public_client()
    code = await server.code(client)
    body = "&".join(
        f"{k}={v}" for k, v in (code_form(client, code) | {"client_id": client.client_id}).items()
    )
    response = await server.http.post("/token", content=body, headers={"Content-Type": content_type})
    assert response.status_code == status
    assert response.json()["error"] == "invalid_request"
    assert await still_redeems(server, client, None, code)


async def test_a_charset_in_the_content_type_is_fine(server: CoreServer) -> None:
    client = await server.public_client()
    headers = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}
    response = await server.http.post("/token", content=f"client_id={client.client_id}", headers=headers)
    assert response.json()["error_description"] == "grant_type is missing"


@pytest.mark.parametrize("header", ["authorization", "content-type", "content-encoding"])
async def test_a_repeated_header_is_refused(server: CoreServer, header: str) -> None:
    """Two readers of one request could take different ones."""
    values = {"authorization": "Basic YTpi", "content-encoding": "identity"}
    value = values.get(header, FORM["Content-Type"])
    headers = [(name, value) for name, value in FORM.items() if name.lower() != header]
    response = await server.http.post(
        "/token", content="grant_type=x", headers=[*headers, (header, value), (header, value)]
    )
    assert response.status_code in (400, 415)
    assert response.json()["error"] == "invalid_request"


@pytest.mark.parametrize(
    "name",
    [
        "grant_type",
        "code",
        "refresh_token",
        "client_id",
        "client_secret",
        "scope",
        "code_verifier",
        "redirect_uri",
        "whatever",
    ],
)
async def test_a_repeated_parameter_is_refused(server: CoreServer, name: str) -> None:
    """RFC 6749 §3.2: MUST NOT be included more than once."""
    client = await server.public_client()
    form = {
        **code_form(client, await server.code(client)),
        "client_id": client.client_id,
        "scope": "notes:read",
    }
    pairs = [*form.items(), *[(name, form.get(name, "x"))] * 2]
    body = "&".join(f"{key}={quote_plus(value)}" for key, value in pairs)
    response = await server.http.post("/token", content=body, headers=FORM)
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_request"
    assert await still_redeems(server, client, None, form["code"])


@pytest.mark.parametrize("body", [b"client_id=%ff", b"client_id=\xff", b"client_id=a%00b", b"a=1&" * 101])
async def test_a_body_that_is_no_utf8_form_is_refused(server: CoreServer, body: bytes) -> None:
    response = await server.http.post("/token", content=body, headers=FORM)
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_request"


async def test_a_body_over_64_kb_is_refused(server: CoreServer) -> None:
    response = await server.http.post("/token", content=b"a=" + b"x" * 65536, headers=FORM)
    assert response.status_code == 413
    assert response.json()["error"] == "invalid_request"


async def test_a_compressed_body_is_refused(server: CoreServer) -> None:
    headers = FORM | {"Content-Encoding": "gzip"}
    response = await server.http.post("/token", content=b"\x1f\x8b", headers=headers)
    assert response.status_code == 415


async def test_the_grant_type_decides(server: CoreServer) -> None:
    """RFC 6749 §5.2: missing, unknown, not for this client."""
    client = await server.public_client(grant_types=["authorization_code"])
    me = {"client_id": client.client_id}
    missing = await server.post("/token", me)
    unknown = await server.post("/token", me | {"grant_type": "password"})
    not_theirs = await server.post("/token", me | {"grant_type": "refresh_token", "refresh_token": "x"})
    assert [(each.status_code, each.json()["error"]) for each in (missing, unknown, not_theirs)] == [
        (400, "invalid_request"),
        (400, "unsupported_grant_type"),
        (400, "unauthorized_client"),
    ]
    assert len(server.events(TokenRefused)) == 3


async def test_nobody_may_keep_an_answer(server: CoreServer) -> None:
    """RFC 6749 §5.1, of errors too; JSON with the characters of §5.2 alone."""
    client = await server.public_client()
    answers = [
        await server.redeem(client, await server.code(client)),
        await server.redeem(client, "nonsense"),
        await server.post("/token", {"grant_type": "x"}),
        await server.post("/revoke", {"client_id": client.client_id, "token": "x"}),
        await server.post("/revoke", {"token": "x"}),
        await server.http.post("/register", json={"redirect_uris": ["https://client.example/cb"]}),
        await server.http.post("/register", json={}),
    ]
    assert [each.status_code for each in answers] == [200, 400, 401, 200, 401, 201, 400]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        if answer.status_code >= 400:
            assert set(answer.json()) == {"error", "error_description"}
            assert answer.json()["error_description"].isascii()


async def test_pages_of_any_origin_may_call_it(server: CoreServer) -> None:
    """Fetch Standard §3.2: the preflight needs no client, and credentials are never allowed."""
    for path in ("/token", "/revoke", "/register"):
        preflight = await server.http.options(
            path,
            headers={
                "Origin": "https://app.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,mcp-protocol-version",
            },
        )
        assert preflight.status_code == 204
        allowed = preflight.headers["access-control-allow-headers"].lower()
        assert all(name in allowed for name in ("authorization", "content-type", "mcp-protocol-version"))
        assert preflight.headers["access-control-allow-methods"] == "POST"
        answer = await server.http.post(path, headers={"Origin": "https://app.example"})
        for each in (preflight, answer):
            assert each.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in each.headers
