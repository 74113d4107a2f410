"""Authorization server metadata, RFC 8414, and the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from joserfc.jwk import ECKey

from mcpauth.endpoints.metadata import Features, metadata_document, well_known_paths
from tests.authorization_server.core_helpers import ISSUER, NOTES, REGISTRY, TASKS, CoreServer, core_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

WITH_PROOF = ["client_secret_basic", "client_secret_post", "private_key_jwt"]

ALGORITHMS = ["ES256", "RS256", "PS256", "EdDSA", "Ed25519"]


@pytest.fixture
async def server() -> AsyncGenerator[CoreServer]:
    async with core_server() as server:
        yield server


async def test_the_document_says_what_is_enabled(server: CoreServer) -> None:
    """RFC 8414 §2, RFC 9207 §3, RFC 9728 §4."""
    response = await server.http.get("/.well-known/oauth-authorization-server")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "pushed_authorization_request_endpoint": f"{ISSUER}/par",
        "require_pushed_authorization_requests": False,
        "token_endpoint": f"{ISSUER}/token",
        "registration_endpoint": f"{ISSUER}/register",
        "revocation_endpoint": f"{ISSUER}/revoke",
        "introspection_endpoint": f"{ISSUER}/introspect",
        "jwks_uri": f"{ISSUER}/jwks",
        "scopes_supported": ["notes:read", "notes:write", "notes:admin", "tasks:read"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", *WITH_PROOF],
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "revocation_endpoint_auth_methods_supported": ["none", *WITH_PROOF],
        "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "introspection_endpoint_auth_methods_supported": WITH_PROOF,
        "introspection_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "authorization_response_iss_parameter_supported": True,
        "mcpauth_revocation_list_uri": f"{ISSUER}/revoked",
        "protected_resources": [NOTES, TASKS],
    }


async def test_the_alias_says_the_same(server: CoreServer) -> None:
    documents = [(await server.http.get(path)).json() for path in well_known_paths(ISSUER)]
    assert len(documents) == 2
    assert documents[0] == documents[1]


async def test_the_host_of_a_request_does_not_change_it(server: CoreServer) -> None:
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    response = await server.http.get("/.well-known/oauth-authorization-server", headers=headers)
    assert "evil" not in response.text
    assert response.json()["issuer"] == ISSUER


async def test_registration_that_is_off_is_not_announced() -> None:
    assert "registration_endpoint" not in metadata_document(ISSUER, REGISTRY, Features(registration=False))


@pytest.mark.parametrize(
    ("issuer", "paths"),
    [
        (
            "https://as.example",
            ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"),
        ),
        (
            "https://as.example/",
            ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"),
        ),
        (
            "https://as.example/tenant/one",
            (
                "/.well-known/oauth-authorization-server/tenant/one",
                "/.well-known/openid-configuration/tenant/one",
                "/tenant/one/.well-known/openid-configuration",
            ),
        ),
        (
            "https://as.example/tenant/",
            (
                "/.well-known/oauth-authorization-server/tenant",
                "/.well-known/openid-configuration/tenant",
                "/tenant/.well-known/openid-configuration",
            ),
        ),
    ],
)
async def test_the_well_known_paths_of_an_issuer(issuer: str, paths: tuple[str, ...]) -> None:
    """RFC 8414 §3.1 and §5."""
    assert well_known_paths(issuer) == paths


@pytest.mark.parametrize(
    "issuer", ["https://as.example", "https://as.example/", "https://as.example/t/", "http://127.0.0.1:1"]
)
async def test_the_issuer_stays_byte_for_byte_and_endpoints_have_no_double_slash(issuer: str) -> None:
    document = metadata_document(issuer, REGISTRY, Features(registration=True))
    assert document["issuer"] == issuer
    assert document["token_endpoint"] == f"{issuer.rstrip('/')}/token"


@pytest.mark.parametrize(
    "issuer", ["http://as.example", "https://as.example?x", "https://as.example#x", "", "as"]
)
async def test_an_issuer_that_cannot_be_one_stops_the_start(issuer: str) -> None:
    """RFC 8414 §2, checked by Authlib."""
    with pytest.raises(ValueError, match="issuer"):
        metadata_document(issuer, REGISTRY, Features(registration=True))


async def test_the_key_set_is_public_and_complete(server: CoreServer) -> None:
    """RFC 7517 §4; RFC 7638 for the kid. No private member ever."""
    (jwk,) = (await server.http.get("/jwks")).json()["keys"]
    assert jwk.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (jwk["kty"], jwk["crv"], jwk["use"], jwk["alg"]) == ("EC", "P-256", "sig", "ES256")
    assert jwk["kid"] == ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y")}).thumbprint()


async def test_pages_of_any_origin_may_read_them(server: CoreServer) -> None:
    """In-browser clients send MCP-Protocol-Version, which makes a preflight."""
    for path in (*well_known_paths(ISSUER), "/jwks"):
        asked = {"Origin": "https://app.example", "Access-Control-Request-Headers": "mcp-protocol-version"}
        preflight = await server.http.options(path, headers=asked | {"Access-Control-Request-Method": "GET"})
        answer = await server.http.get(path, headers={"Origin": "https://app.example"})
        assert (preflight.status_code, answer.status_code) == (204, 200)
        assert "mcp-protocol-version" in preflight.headers["access-control-allow-headers"].lower()
        assert answer.headers["access-control-allow-origin"] == "*"
