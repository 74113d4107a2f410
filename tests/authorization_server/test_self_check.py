"""The start-up check: the metadata says what the server does, and nothing else."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from starlette.routing import Route

from mcpauth.oauth.domain_policy import DomainPolicy
from mcpauth.oauth.token_exchange import ExchangeRule
from mcpauth.self_check import MetadataContradiction, check_metadata
from tests.authorization_server.front_helpers import ISSUER, NOTES, SETTINGS, TASKS, Running, running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2
    from starlette.routing import BaseRoute

    from mcpauth.settings import Settings

pytestmark = pytest.mark.anyio

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
RULE = ExchangeRule(NOTES, TASKS, ("tasks:read",))

_COMBINED = [
    replace(
        SETTINGS,
        issuer=ISSUER + path,
        registration=registration,
        client_id_metadata_documents=DomainPolicy(enabled=documents),
        token_exchange=exchange,
        signing_algorithm=algorithm,
    )
    for path, registration, documents, exchange, algorithm in (
        *product(("", "/tenant/one"), (True, False), (True, False), ((), (RULE,)), ("ES256",)),
        ("", True, True, (), "EdDSA"),
        ("", True, True, (), "RS256"),
    )
]
MATRIX = [
    *_COMBINED,
    replace(SETTINGS, dpop="off"),
    replace(SETTINGS, dpop="required"),
    replace(SETTINGS, require_pushed_authorization_requests=True),
    replace(SETTINGS, openid=False),
]


def named(settings: Settings) -> str:
    on = {
        "registration": settings.registration,
        "documents": settings.client_id_metadata_documents.enabled,
        "exchange": bool(settings.token_exchange),
        f"dpop-{settings.dpop}": settings.dpop != "accepted",
        "no-openid": not settings.openid,
        "pushed-only": settings.require_pushed_authorization_requests,
    }
    path = settings.path or "/"
    return " ".join([path, settings.signing_algorithm, *(name for name, is_on in on.items() if is_on)])


matrix = pytest.mark.parametrize("settings", MATRIX, ids=named)


@asynccontextmanager
async def asking(settings: Settings) -> AsyncGenerator[tuple[httpx2.AsyncClient, dict[str, Any], Running]]:
    """A started server and its metadata."""
    async with running(settings=settings) as server, server.browser() as browser:
        found = await browser.http.get(f"{ISSUER}/.well-known/oauth-authorization-server{settings.path}")
        assert found.status_code == 200
        yield browser.http, found.json(), server


@matrix
async def test_each_listed_url_answers(settings: Settings) -> None:
    """RFC 8414 §2. A POST without parameters is refused, and not with 404."""
    async with asking(settings) as (http, document, _):
        urls = [value for name, value in document.items() if name.endswith("_endpoint") or name == "jwks_uri"]
        assert len(urls) >= 5
        for url in urls:
            assert url.startswith(f"{settings.issuer}/")
            answers = {(await http.request(method, url)).status_code for method in ("GET", "POST")}
            assert 404 not in answers
            assert answers != {405}


@matrix
async def test_each_listed_grant_type_and_auth_method_is_known(settings: Settings) -> None:
    """RFC 6749 §5.2: `unsupported_grant_type` is for the others."""
    async with asking(settings) as (http, document, server):
        client = await server.register()
        for grant_type in document["grant_types_supported"]:
            form = {"grant_type": grant_type, "client_id": client.client_id}
            answer = await http.post(document["token_endpoint"], data=form)
            assert answer.status_code == 400
            assert answer.json()["error"] != "unsupported_grant_type"
        form = {"grant_type": "password", "client_id": client.client_id}
        answer = await http.post(document["token_endpoint"], data=form)
        assert answer.json()["error"] == "unsupported_grant_type"
        assert document["token_endpoint_auth_methods_supported"] == [
            "none",
            "client_secret_basic",
            "client_secret_post",
            "private_key_jwt",
        ]


@matrix
async def test_what_is_off_is_neither_listed_nor_there(settings: Settings) -> None:
    async with asking(settings) as (http, document, server):
        registered = await http.post(f"{settings.issuer}/register", json={"redirect_uris": ["https://a.b/c"]})
        assert ("registration_endpoint" in document) is settings.registration
        assert registered.status_code == (201 if settings.registration else 404)

        client_id = (await server.register()).client_id
        form = {"grant_type": EXCHANGE, "client_id": client_id}
        exchanged = (await http.post(f"{settings.issuer}/token", data=form)).json()
        assert (EXCHANGE in document["grant_types_supported"]) is bool(settings.token_exchange)
        assert (exchanged["error"] == "unsupported_grant_type") is not bool(settings.token_exchange)

        member = "client_id_metadata_document_supported"
        assert (member in document) is settings.client_id_metadata_documents.enabled

        assert ("dpop_signing_alg_values_supported" in document) is (settings.dpop != "off")
        assert ("userinfo_endpoint" in document) is settings.openid
        assert ("id_token_signing_alg_values_supported" in document) is settings.openid
        pushed_only = document["require_pushed_authorization_requests"]
        assert pushed_only is settings.require_pushed_authorization_requests

        for name in (
            "userinfo",
            "par",
            "device_authorization",
            "device",
            "introspect/x",
            "clients",
            "end_session",
        ):
            if f"{settings.issuer}/{name}" not in document.values():
                assert (await http.get(f"{settings.issuer}/{name}")).status_code == 404


# A document and routes that agree, for what a test then changes.

GRANT_TYPES = ("authorization_code", "refresh_token")
METHODS = ("none", "client_secret_basic", "client_secret_post", "private_key_jwt")


async def _answer() -> None: ...


def document(issuer: str = ISSUER, **changed: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "revocation_endpoint": f"{issuer}/revoke",
        "introspection_endpoint": f"{issuer}/introspect",
        "jwks_uri": f"{issuer}/jwks",
        "mcpauth_revocation_list_uri": f"{issuer}/revoked",
        "grant_types_supported": list(GRANT_TYPES),
        "token_endpoint_auth_methods_supported": list(METHODS),
        "introspection_endpoint_auth_methods_supported": list(METHODS[1:]),
        "op_policy_uri": "https://www.example/policy",
    }
    return {name: value for name, value in (made | changed).items() if value is not None}


def routes(issuer: str = ISSUER, *, without: str | None = None) -> list[BaseRoute]:
    at = urlsplit(issuer).path
    gets = [f"{at}/authorize", f"{at}/jwks", f"{at}/revoked"]
    gets += [f"/.well-known/{name}{at}" for name in ("oauth-authorization-server", "openid-configuration")]
    gets += [f"{at}/.well-known/openid-configuration"]
    posts = [f"{at}/token", f"{at}/revoke", f"{at}/introspect"]
    there = [(path, "GET") for path in gets] + [(path, "POST") for path in posts]
    return [Route(path, _answer, methods=[method]) for path, method in there if path != without]


def check(
    document: dict[str, Any],
    routes: list[BaseRoute],
    issuer: str = ISSUER,
    methods: tuple[str, ...] = METHODS,
) -> None:
    check_metadata(document, routes, issuer=issuer, grant_types=GRANT_TYPES, auth_methods=methods)


@pytest.mark.parametrize("issuer", [ISSUER, f"{ISSUER}/tenant/one"])
async def test_what_agrees_passes(issuer: str) -> None:
    check(document(issuer), routes(issuer), issuer)
    with pytest.raises(MetadataContradiction):
        check(document(issuer), routes(issuer), f"{issuer}/other")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"issuer": f"{ISSUER}/"}, "issuer is 'https://auth.example/'"),
        ({"issuer": "https://Auth.example"}, "issuer is 'https://Auth.example'"),
        ({"registration_endpoint": f"{ISSUER}/register"}, "nothing answers POST /register"),
        ({"userinfo_endpoint": f"{ISSUER}/userinfo"}, "nothing answers GET /userinfo"),
        ({"token_endpoint": "https://other.example/token"}, "token_endpoint .* is not below the issuer"),
        ({"token_endpoint": f"{ISSUER}.evil.example/token"}, "token_endpoint .* is not below the issuer"),
        ({"authorization_endpoint": f"{ISSUER}/token"}, "nothing answers GET /token"),
        ({"jwks_uri": f"{ISSUER}/keys"}, "jwks_uri is listed, and nothing answers GET /keys"),
        ({"grant_types_supported": [*GRANT_TYPES, "password"]}, "grant type password is listed and off"),
        ({"grant_types_supported": ["authorization_code"]}, "grant type refresh_token is on and not listed"),
        ({"authorization_endpoint": None}, "of grant type authorization_code and .* only one"),
        ({"token_endpoint_auth_methods_supported": [*METHODS, "tls_client_auth"]}, "tls_client_auth is not"),
        ({"introspection_endpoint_auth_methods_supported": ["bearer"]}, "introspection_.* bearer is not"),
        ({"token_endpoint_auth_methods_supported": ["none"]}, "private_key_jwt is on and not listed"),
    ],
)
async def test_each_contradiction_is_named(changed: dict[str, Any], problem: str) -> None:
    """RFC 8414 §2 and §3.3."""
    with pytest.raises(MetadataContradiction, match=f"the metadata of {ISSUER} is wrong: .*{problem}"):
        check(document(**changed), routes())


@pytest.mark.parametrize("path", ["/token", "/jwks", "/revoked", "/.well-known/openid-configuration"])
async def test_each_missing_route_is_named(path: str) -> None:
    with pytest.raises(MetadataContradiction, match=f"nothing answers (GET|POST) {path}"):
        check(document(), routes(without=path))


async def test_all_contradictions_are_told_at_once() -> None:
    with pytest.raises(MetadataContradiction) as told:
        check(document(issuer="https://x.example"), routes(without="/jwks"), methods=("none",))
    assert str(told.value).count(";") >= 4
