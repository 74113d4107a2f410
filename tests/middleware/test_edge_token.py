"""The bearer token of a request, and the answer to one without a good token: RFC 6750 §2, §3."""

from __future__ import annotations

import pytest

from mcpauth_middleware import JwtVerifier
from tests.middleware.edge_helpers import (
    ISSUER,
    METADATA_URL,
    RESOURCE,
    Clock,
    IssuerServer,
    Journal,
    RecordingApp,
    bearer,
    claims,
    client_of,
    message,
    mint,
    post,
    protect,
    served,
)

pytestmark = pytest.mark.anyio

DPOP = ', DPoP algs="ES256 ES384 Ed25519 EdDSA PS256 RS256"'
CHALLENGE = f'Bearer scope="files:read files:write", resource_metadata="{METADATA_URL}"{DPOP}'
CHALLENGE_INVALID = (
    f'Bearer error="invalid_token", scope="files:read files:write", resource_metadata="{METADATA_URL}", '
    f'error_description="The access token is invalid or has expired"{DPOP}'
)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "HEAD"])
async def test_without_a_token_every_method_is_challenged_and_no_error_is_named(method: str) -> None:
    """RFC 6750 §3.1; a client may start with a bare GET."""
    app = RecordingApp()

    response = await client_of(protect(app)).request(method, "/mcp")

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == CHALLENGE
    assert response.headers["Cache-Control"] == "no-store"
    assert not app.scopes


@pytest.mark.parametrize("path", ["/", "/mcp/", "/MCP", "//mcp", "/admin", "/mcp/../health", "/health"])
async def test_every_path_is_protected(path: str) -> None:
    """Nothing is open because it looks different."""
    app = RecordingApp()

    assert (await client_of(protect(app)).get(path)).status_code == 401
    assert not app.scopes


@pytest.mark.parametrize(
    "token",
    [
        "garbage",
        mint(claims(aud="https://other.example/mcp")),
        mint(claims(exp=1)),
        mint(typ="JWT"),
        "a b",
        "a,Bearer b",
        "\x00",
    ],
)
async def test_a_bad_token_is_invalid_token_and_says_no_more(token: str) -> None:
    """RFC 6750 §3.1."""
    app, journal = RecordingApp(), Journal()

    response = await post(client_of(protect(app, audit=journal)), "tools/list", headers=bearer(token))

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == CHALLENGE_INVALID
    assert response.json() == {
        "error": "invalid_token",
        "error_description": "The access token is invalid or has expired",
    }
    assert not app.scopes
    assert [event["outcome"] for event in journal.events] == ["refused"]
    assert token not in repr(journal.events)


@pytest.mark.parametrize("value", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "", "Bearertoken"])
async def test_another_scheme_is_no_token(value: str) -> None:
    """RFC 6750 §3.1: an unsupported method is answered as if nothing had come."""
    app = RecordingApp()

    response = await post(client_of(protect(app)), "tools/list", headers={"Authorization": value})

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == CHALLENGE
    assert not app.scopes


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
async def test_the_scheme_has_no_case(scheme: str) -> None:
    """RFC 9110 §11.1."""
    app = RecordingApp()

    assert (
        await post(client_of(protect(app)), "tools/list", headers={"Authorization": f"{scheme} {mint()}"})
    ).status_code == 200
    assert len(app.scopes) == 1


async def test_two_authorization_headers_are_refused_even_when_they_agree() -> None:
    """RFC 6750 §3.1: more than one method; which one the application would read is anyone's guess."""
    app = RecordingApp()
    headers, body = message("tools/list")
    twice = [*headers.items(), *bearer().items(), *bearer().items()]

    response = await client_of(protect(app)).post("/mcp", headers=twice, content=body)

    assert response.status_code == 400
    assert response.headers["WWW-Authenticate"].startswith(
        'Bearer error="invalid_request", resource_metadata='
    )
    assert response.json()["error"] == "invalid_request"
    assert not app.scopes


@pytest.mark.parametrize(
    "query", ["access_token={}", "a=1&access%5Ftoken={}", "access_token=", "access_token"]
)
@pytest.mark.parametrize("with_header", [True, False])
async def test_a_token_in_the_query_is_refused_and_written_nowhere(query: str, with_header: bool) -> None:
    """MCP: access tokens MUST NOT be in the query string."""
    app, journal, token = RecordingApp(), Journal(), mint()
    headers, body = message("tools/list")

    response = await client_of(protect(app, audit=journal)).post(
        f"/mcp?{query.format(token)}",
        headers={**headers, **(bearer(token) if with_header else {})},
        content=body,
    )

    assert response.status_code == 400
    assert response.json()["error"] == "invalid_request"
    assert not app.scopes
    assert token not in repr(journal.events)


async def test_a_query_of_a_thousand_fields_is_refused() -> None:
    """Hostile input gets an answer, not work."""
    app = RecordingApp()
    headers, body = message("tools/list")

    response = await client_of(protect(app)).post(
        "/mcp?" + "&".join(["a=1"] * 1000), headers={**headers, **bearer()}, content=body
    )

    assert response.status_code == 400
    assert not app.scopes


async def test_an_issuer_that_cannot_be_asked_is_503_and_not_401() -> None:
    """RFC 9110 §15.6.4: a 401 would make every client sign its user in again."""
    app, journal = RecordingApp(), Journal()
    server = IssuerServer(status=502)
    verifier = JwtVerifier(resource=RESOURCE, issuers=[ISSUER], http_client=server.client(), now=Clock())

    response = await post(client_of(protect(app, verifier=verifier, audit=journal)), "tools/list")

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "10"
    assert "WWW-Authenticate" not in response.headers
    assert not app.scopes
    assert journal.events[0]["outcome"] == "refused"


async def test_without_a_verifier_of_its_own_it_finds_the_issuers_keys_by_itself() -> None:
    """From nothing but the issuer's name (RFC 8414), and with the audience that was agreed on."""
    server, app = IssuerServer(), RecordingApp()

    def listening_at(url: str) -> IssuerServer:
        server.documents["/.well-known/oauth-authorization-server"] = {
            "issuer": url,
            "jwks_uri": f"{url}/jwks",
        }
        return server

    async with served(listening_at, lifespan="off") as url:
        guarded = protect(app, authorization_servers=[url], accepted_audiences=["guid"], verifier=None)
        for audience, status in ((RESOURCE, 200), ("guid", 200), ("other", 401)):
            response = await post(client_of(guarded), "tools/list", headers=bearer(iss=url, aud=audience))
            assert response.status_code == status

    assert len(app.scopes) == 2


async def test_a_challenge_names_the_scopes_that_were_chosen() -> None:
    """MCP: what a client asks for at first; and never an empty scope."""
    chosen = await client_of(protect(RecordingApp(), scopes_supported=["files:read"])).get("/mcp")
    none = await client_of(protect(RecordingApp(), scopes_supported=[])).get("/mcp")

    link = f'resource_metadata="{METADATA_URL}"'
    assert chosen.headers["WWW-Authenticate"] == f'Bearer scope="files:read", {link}{DPOP}'
    assert none.headers["WWW-Authenticate"] == f"Bearer {link}{DPOP}"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
@pytest.mark.parametrize("headers", [{}, bearer()], ids=["without token", "with token"])
async def test_other_methods_are_refused(method: str, headers: dict[str, str]) -> None:
    """RFC 9110 §15.5.6: what they carry would not be read, so it could not be judged."""
    app = RecordingApp()

    response = await client_of(protect(app)).request(method, "/mcp", headers=headers)

    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD, POST, DELETE, OPTIONS"
    assert not app.scopes
