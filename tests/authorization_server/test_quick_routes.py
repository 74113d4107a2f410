"""What `mcpauth serve` has before the application: the short way and the access log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from mcpauth.web.quick_routes import QuickRoutes
from mcpauth.web.request_log import RequestLog
from tests.authorization_server.grants_helpers import ISSUER, NOTES, service

if TYPE_CHECKING:
    from starlette.types import ASGIApp

pytestmark = pytest.mark.anyio

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/token", {"data": {"grant_type": "client_credentials"}}),
    ("POST", "/token", {"json": {"grant_type": "client_credentials"}}),
    ("GET", "/token", {}),
    ("HEAD", "/token", {}),
    ("OPTIONS", "/token", {"headers": {"Origin": "https://a.example"}}),
    ("POST", "/token/", {}),
    ("POST", "//token", {}),
    ("POST", "/Token", {}),
    ("POST", "/introspect", {"data": {"token": "x"}}),
    ("GET", "/.well-known/oauth-authorization-server", {}),
    ("GET", "/jwks?a=b", {}),
    ("POST", "/token?grant_type=client_credentials", {"data": {"grant_type": "client_credentials"}}),
    ("GET", "/nothing", {}),
    ("GET", "/sign-in", {}),
    ("DELETE", "/register/some-client", {}),
]


def asking(app: ASGIApp) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=ISSUER)


@pytest.mark.parametrize("settings", [{}, {"trusted_proxies": ("10.0.0.0/8",)}], ids=["plain", "proxied"])
@pytest.mark.parametrize(
    ("method", "path", "options"), REQUESTS, ids=[f"{method} {path}" for method, path, _ in REQUESTS]
)
async def test_the_short_way_leads_to_the_same_answer(
    method: str, path: str, options: dict[str, Any], settings: dict[str, Any]
) -> None:
    async with service(**settings) as server, asking(QuickRoutes(server.app)) as quick:
        usual = await server.http.request(method, path, **options)
        short = await quick.request(method, path, **options)
    assert (short.status_code, short.headers, short.content) == (
        usual.status_code,
        usual.headers,
        usual.content,
    )


async def test_the_short_way_ends_with_the_application() -> None:
    """What has been closed is not asked any more."""
    async with service() as server:
        app = QuickRoutes(server.app)
        async with asking(app) as quick:
            assert (await quick.get("/jwks")).status_code == 200
            server.app.router.routes = []
            assert (await quick.get("/jwks")).status_code == 404


async def test_the_access_log_has_a_line_for_each_answer_and_no_query() -> None:
    lines: list[str] = []
    async with (
        service() as server,
        asking(RequestLog(server.app, lines.append, now=lambda: 1_700_000_000.5)) as http,
    ):
        await http.get("/jwks", params={"code": "secret"})
        await http.post("/token", data={"client_secret": "secret"})
        await http.get("/a%0Ab%C3%A9", params={"resource": NOTES})
    assert [line.partition(" ")[2].partition(" ")[2] for line in lines] == [
        '127.0.0.1:123 "GET /jwks HTTP/1.1" 200 OK\n',
        '127.0.0.1:123 "POST /token HTTP/1.1" 401 Unauthorized\n',
        '127.0.0.1:123 "GET /a%0Ab%C3%A9 HTTP/1.1" 404 Not Found\n',
    ]
    assert all(",500 " in line for line in lines)


async def test_an_access_log_that_cannot_be_written_costs_no_answer() -> None:
    def write(_line: str) -> None:
        raise BrokenPipeError

    async with service() as server, asking(RequestLog(server.app, write, now=lambda: 1.0)) as http:
        assert (await http.get("/jwks")).status_code == 200
