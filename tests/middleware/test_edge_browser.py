"""Host, Origin and CORS: MCP Streamable HTTP "Security", RFC 9110 §15.5.20, Fetch §3.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.middleware.edge_helpers import Journal, RecordingApp, bearer, client_of, message, post, protect

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import Receive, Scope, Send

pytestmark = pytest.mark.anyio

APP = "https://app.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, mcp-protocol-version, mcp-param-region",
}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("rs.example", 200),
        ("RS.EXAMPLE", 200),
        ("rs.example:443", 200),
        ("rs.example:8443", 421),
        ("evil.example", 421),
        ("rs.example.evil.example", 421),
        ("evil.example:443", 421),
        ("localhost", 421),
        ("127.0.0.1", 421),
        ("rs.example:443:443", 421),
        ("rs.example/x", 421),
        ("user@rs.example", 421),
    ],
)
async def test_only_the_resources_own_host_is_answered_for(host: str, status: int) -> None:
    """RFC 9110 §15.5.20; DNS rebinding arrives with the attacker's host name."""
    app = RecordingApp()

    response = await post(client_of(protect(app)), "tools/list", headers={**bearer(), "Host": host})

    assert response.status_code == status
    assert len(app.scopes) == (status == 200)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT"])
async def test_another_host_is_not_answered_for_on_any_method(method: str) -> None:
    """A page that had its name rebound to this address is of the same origin, so no preflight is asked."""
    app, journal = RecordingApp(), Journal()
    headers = {**bearer(), **PREFLIGHT, "Host": "evil.example", "Origin": "https://evil.example"}

    response = await client_of(protect(app, audit=journal)).request(method, "/mcp", headers=headers)

    assert response.status_code == 421
    assert "Access-Control-Allow-Origin" not in response.headers
    assert not app.scopes
    assert [event["reason"] for event in journal.events] == ["host"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9401", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:9401", 200),
        ("localhost", 200),
        ("evil.example:9401", 421),
    ],
)
async def test_a_server_on_loopback_answers_to_every_loopback_name(host: str, status: int) -> None:
    """Rebinding needs a name that somebody else owns."""
    app = RecordingApp()
    resource = "http://127.0.0.1:9401/mcp"

    response = await post(
        client_of(protect(app, resource=resource)),
        "tools/list",
        headers={**bearer(aud=resource), "Host": host},
    )

    assert response.status_code == status


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        ("backend", "backend", 200),
        ("backend", "backend:80", 421),
        ("Backend:8000", "backend:8000", 200),
        ("backend:*", "backend:8000", 200),
        ("backend:*", "backend", 200),
        ("backend:*", "backend.evil.example:1", 421),
        ("[::1]:*", "[::1]:7", 200),
    ],
)
async def test_further_hosts_can_be_allowed(allowed: str, host: str, status: int) -> None:
    """Behind a proxy that writes its own Host."""
    client = client_of(protect(RecordingApp(), allowed_hosts=[allowed]))

    assert (await post(client, "tools/list", headers={**bearer(), "Host": host})).status_code == status


@pytest.mark.parametrize(
    "host", ["https://backend", "*", "*.example", "", "a b", "backend/x", "backend:99999999"]
)
def test_a_host_that_is_none_is_refused_at_start(host: str) -> None:
    """The mistake is told with its mend."""
    with pytest.raises(ValueError, match="allowed_hosts"):
        protect(RecordingApp(), allowed_hosts=[host])


@pytest.mark.parametrize("count", [0, 2])
async def test_a_host_must_be_there_once(count: int) -> None:
    """RFC 9112 §3.2."""
    app = RecordingApp()
    headers, body = message("tools/list")

    async def with_hosts(scope: Scope, receive: Receive, send: Send) -> None:
        kept = [header for header in scope["headers"] if header[0] != b"host"]
        await protect(app)({**scope, "headers": [*kept, *[(b"host", b"rs.example")] * count]}, receive, send)

    response = await client_of(with_hosts).post("/mcp", headers={**headers, **bearer()}, content=body)

    assert response.status_code == 421
    assert not app.scopes


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://rs.example",
        "https://rs.example.evil",
        "https://RS.example",
        "",
    ],
)
async def test_a_page_of_another_origin_is_refused_on_every_method(method: str, origin: str) -> None:
    """MCP: servers MUST validate Origin and answer 403."""
    app = RecordingApp()
    headers = {**bearer(), **PREFLIGHT, "Origin": origin}

    response = await client_of(protect(app, allowed_origins=[APP])).request(method, "/mcp", headers=headers)

    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert "WWW-Authenticate" not in response.headers
    assert not app.scopes


@pytest.mark.parametrize(
    "origin", ["http://localhost:6274", "http://127.0.0.1:1", "http://[::1]:5", "https://localhost"]
)
async def test_a_page_on_this_machine_may_call_a_server_on_this_machine(origin: str) -> None:
    """For development; elsewhere it is an origin like any other."""
    local = protect(RecordingApp(), resource="http://localhost:9401/mcp")
    remote = protect(RecordingApp())

    assert (
        await client_of(local, base_url="http://localhost:9401").get("/mcp", headers={"Origin": origin})
    ).status_code == 401
    assert (await client_of(remote).get("/mcp", headers={"Origin": origin})).status_code == 403


@pytest.mark.parametrize("origin", [APP, "https://rs.example"])
async def test_a_preflight_of_an_allowed_origin_needs_no_token(origin: str) -> None:
    """Fetch §3.2.2: a browser never sends credentials with it."""
    app = RecordingApp()

    response = await client_of(protect(app, allowed_origins=[APP])).options(
        "/mcp", headers={**PREFLIGHT, "Origin": origin}
    )

    assert response.status_code == 204
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert response.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST, DELETE"
    assert response.headers["Access-Control-Allow-Headers"] == PREFLIGHT["Access-Control-Request-Headers"]
    assert response.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert not app.scopes


@pytest.mark.parametrize("headers", [bearer(), {}], ids=["answer", "challenge"])
async def test_an_allowed_page_can_read_answers_and_challenges(headers: dict[str, str]) -> None:
    """Fetch §3.2.3: without the exposed headers a browser client cannot find the authorization server."""
    client = client_of(protect(RecordingApp(), allowed_origins=[APP]))

    response = await post(client, "tools/list", headers={**headers, "Origin": APP})

    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert response.headers["Access-Control-Expose-Headers"] == (
        "WWW-Authenticate, DPoP-Nonce, Mcp-Session-Id, MCP-Protocol-Version, Retry-After,"
        " RateLimit-Policy, RateLimit"
    )
    assert "Access-Control-Allow-Credentials" not in response.headers


async def test_what_the_application_says_of_cors_is_replaced() -> None:
    """Two values of one header make a browser refuse the answer, and `*` with credentials is never right."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"access-control-allow-origin", b"*"),
            (b"Access-Control-Allow-Credentials", b"true"),
            (b"x-kept", b"1"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    client = client_of(protect(app, allowed_origins=[APP]))
    response = await post(client, "ping", revision="2025-06-18", headers={**bearer(), "Origin": APP})

    assert response.headers.get_list("Access-Control-Allow-Origin") == [APP]
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert response.headers["X-Kept"] == "1"


async def test_without_an_origin_nothing_is_said_of_cors() -> None:
    """Only browsers send it."""
    response = await post(client_of(protect(RecordingApp(), allowed_origins=[APP])), "tools/list")

    assert not [name for name in response.headers if name.startswith("access-control")]


async def test_a_preflight_cannot_put_anything_into_the_answer() -> None:
    """What is echoed are header names."""
    response = await client_of(protect(RecordingApp(), allowed_origins=[APP])).options(
        "/mcp",
        headers={
            "Origin": APP,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": 'a"<b>',
        },
    )

    assert response.status_code == 204
    assert "Access-Control-Allow-Headers" not in response.headers


@pytest.mark.parametrize(
    "origin", ["*", "null", "app.example", "https://app.example/path", "https://*.example", ""]
)
def test_an_origin_that_is_none_is_refused_at_start(origin: str) -> None:
    """`null` is the origin of every sandboxed frame, `*` is everyone."""
    with pytest.raises(ValueError, match="allowed_origins"):
        protect(RecordingApp(), allowed_origins=[origin])


async def test_origins_are_written_as_browsers_send_them() -> None:
    """RFC 6454 §6.2: lower case, no default port; other schemes as they are."""
    options: dict[str, Any] = {"allowed_origins": ["HTTPS://App.Example:443", "vscode-webview://abc"]}
    client = client_of(protect(RecordingApp(), **options))

    for origin in (APP, "vscode-webview://abc"):
        assert (await client.get("/mcp", headers={"Origin": origin})).headers[
            "Access-Control-Allow-Origin"
        ] == origin
