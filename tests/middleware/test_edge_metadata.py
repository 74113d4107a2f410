"""Protected resource metadata and the other public paths: RFC 9728."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from mcpauth_middleware import Policy, Rule
from tests.middleware.edge_helpers import (
    ISSUER,
    RESOURCE,
    RecordingApp,
    bearer,
    client_of,
    edge_options,
    post,
    protect,
)

pytestmark = pytest.mark.anyio

PATH_FORM = "/.well-known/oauth-protected-resource/mcp"
ROOT_FORM = "/.well-known/oauth-protected-resource"


@pytest.mark.parametrize("path", [PATH_FORM, ROOT_FORM])
async def test_the_document_is_at_the_path_form_and_at_the_root(path: str) -> None:
    """RFC 9728 §3.1; some clients know only one of the two."""
    app = RecordingApp()
    options = {"resource_name": "Files", "resource_documentation": "https://rs.example/docs"}

    response = await client_of(protect(app, **options)).get(path)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == {
        "resource": RESOURCE,
        "authorization_servers": [ISSUER],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256", "ES384", "Ed25519", "EdDSA", "PS256", "RS256"],
        "scopes_supported": ["files:read", "files:write"],
        "resource_name": "Files",
        "resource_documentation": "https://rs.example/docs",
    }
    assert not app.scopes


async def test_members_without_a_value_are_left_out() -> None:
    """RFC 9728 §3.2: no empty arrays, no null."""
    app = protect(RecordingApp(), scopes_supported=[], dpop="off")
    document = (await client_of(app).get(ROOT_FORM)).json()

    assert document.keys() == {"resource", "authorization_servers", "bearer_methods_supported"}


async def test_a_rule_that_is_added_later_is_advertised() -> None:
    """Decorators beside the tools may run after the middleware is built."""
    policy = Policy()
    client = client_of(protect(RecordingApp(), policy=policy))
    policy.add(Rule(id="late", effect="allow", tools=("x",), scopes=("late",)))

    assert (await client.get(ROOT_FORM)).json()["scopes_supported"] == ["late"]


async def test_the_document_is_readable_by_every_web_page_from_every_host() -> None:
    """It is public; a preflight comes because clients send MCP-Protocol-Version with it."""
    client = client_of(protect(RecordingApp()))
    page = {"Origin": "https://app.example", "Host": "whatever.example"}

    preflight = await client.options(
        PATH_FORM,
        headers={
            **page,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "mcp-protocol-version",
        },
    )
    response = await client.get(PATH_FORM, headers=page)

    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "*" in preflight.headers["Access-Control-Allow-Headers"]
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    for answer in (preflight, response):
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_head_gives_the_headers_alone_and_other_methods_nothing() -> None:
    """RFC 9110 §9.3.2."""
    app = RecordingApp()
    client = client_of(protect(app))

    head = await client.head(PATH_FORM)
    assert head.status_code == 200
    assert head.content == b""
    for method in ("POST", "PUT", "DELETE"):
        response = await client.request(method, PATH_FORM, headers=bearer())
        assert response.status_code == 405
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert not app.scopes


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-protected-resource/other",
        "/.well-known/oauth-protected-resource/",
        "/.well-known/oauth-protected-resource/mcp/",
        "/.well-known/",
    ],
)
@pytest.mark.parametrize("headers", [{}, bearer()], ids=["without token", "with token"])
async def test_other_well_known_paths_are_not_found(path: str, headers: dict[str, str]) -> None:
    """Clients probe them before they have a token: 404 tells them to look elsewhere."""
    app = RecordingApp()

    response = await client_of(protect(app)).get(path, headers=headers)

    assert response.status_code == 404
    assert "WWW-Authenticate" not in response.headers
    assert not app.scopes


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("https://rs.example", "/.well-known/oauth-protected-resource"),
        ("https://rs.example/a/b", "/.well-known/oauth-protected-resource/a/b"),
        ("https://rs.example/a%20b", "/.well-known/oauth-protected-resource/a%20b"),
    ],
)
async def test_the_challenge_names_an_address_that_works(resource: str, path: str) -> None:
    """RFC 9728 §5.1."""
    client = client_of(protect(RecordingApp(), resource=resource))

    challenge = (await client.get("/")).headers["WWW-Authenticate"]
    url = challenge.partition('resource_metadata="')[2].partition('"')[0]

    assert url == f"https://rs.example{path}"
    assert (await client.get(url)).json()["resource"] == resource


async def test_only_the_very_paths_that_were_named_are_public() -> None:
    """No prefix, no pattern, no other spelling."""
    app = RecordingApp()
    client = client_of(protect(app, public_paths=["/health"]))

    assert (await client.get("/health", headers={"Host": "10.0.0.1"})).status_code == 200
    for path in ("/health/", "/healthz", "/Health", "/health/x", "/x/health"):
        assert (await client.get(path)).status_code == 401
    assert [scope["path"] for scope in app.scopes] == ["/health"]


@pytest.mark.parametrize(
    "paths",
    [["health"], ["/*"], ["/mcp"], ["/mcp/"], ["/a?b"], ["/a#b"], ["/{id}"], ["/%2e"], [""]],
)
def test_a_public_path_that_would_open_more_is_refused_at_start(paths: list[str]) -> None:
    """Deny by default."""
    with pytest.raises(ValueError, match="public_paths"):
        protect(RecordingApp(), public_paths=paths)


async def test_a_public_path_does_not_see_a_token_either() -> None:
    """A client may send it with every request."""
    app = RecordingApp()

    await client_of(protect(app, public_paths=["/health"])).get("/health", headers=bearer())

    assert b"authorization" not in dict(app.scopes[0]["headers"])
    assert "mcpauth.principal" not in app.scopes[0]


async def mounted(request_path: str, **options: Any) -> tuple[httpx2.Response, RecordingApp]:
    """A GET to a server that is mounted at /api of another application."""
    app = RecordingApp()
    inner = protect(app, resource="https://rs.example/api/mcp", **options)
    outer = Starlette(routes=[Mount("/api", inner)])
    return await client_of(outer).get(request_path), app


async def test_a_mounted_server_is_protected_and_names_the_address_its_clients_see() -> None:
    """RFC 9728 §3.1: the well-known part comes before the whole path."""
    response, app = await mounted("/api/mcp")

    assert response.status_code == 401
    assert (
        '"https://rs.example/.well-known/oauth-protected-resource/api/mcp"'
        in response.headers["WWW-Authenticate"]
    )
    assert not app.scopes


async def test_a_mounted_server_has_its_document_and_public_paths_below_its_prefix() -> None:
    """A parent application must route the well-known path at the root; below the prefix it is there too."""
    document, _ = await mounted("/api/.well-known/oauth-protected-resource")
    public, app = await mounted("/api/health", public_paths=["/health"])
    protected, untouched = await mounted("/api/api/health", public_paths=["/health"])

    assert document.json()["resource"] == "https://rs.example/api/mcp"
    assert public.status_code == 200
    assert len(app.scopes) == 1
    assert protected.status_code == 401
    assert not untouched.scopes


async def test_add_middleware_on_the_parent_serves_the_document_at_the_root() -> None:
    """The simplest way for a server below a prefix."""
    from mcpauth_middleware import McpAuthMiddleware

    app = RecordingApp()
    outer = Starlette(routes=[Mount("/api", app)])
    outer.add_middleware(McpAuthMiddleware, **edge_options(resource="https://rs.example/api/mcp"))
    client = client_of(outer)

    path = "/.well-known/oauth-protected-resource/api/mcp"
    assert (await client.get(path)).json()["resource"] == "https://rs.example/api/mcp"
    assert (await client.get("/api/mcp")).status_code == 401
    assert not app.scopes
    good = bearer(aud="https://rs.example/api/mcp")
    assert (
        await post(client, "ping", revision="2025-06-18", path="/api/mcp", headers=good)
    ).status_code == 200
    assert [scope["path"] for scope in app.scopes] == ["/api/mcp"]


async def test_a_stripped_prefix_does_not_confuse_paths() -> None:
    """ASGI: `path` holds `root_path` only where the server puts it there."""
    app = RecordingApp()
    client = httpx2.AsyncClient(
        transport=httpx2.ASGITransport(protect(app, public_paths=["/health"]), root_path="/api"),
        base_url="https://rs.example",
    )

    assert (await client.get("/health")).status_code == 200
    assert (await client.get("/apihealth")).status_code == 401
    assert (await client.get("/api/health")).status_code == 200
    assert (await client.get(PATH_FORM)).status_code == 200


async def test_starlette_routes_of_a_parent_are_its_own() -> None:
    """The middleware guards what it wraps, and nothing else."""
    outer = Starlette(routes=[Mount("/mcp", protect(RecordingApp()))])
    outer.add_route("/open", lambda _request: PlainTextResponse("open"))

    assert (await client_of(outer).get("/open")).text == "open"
