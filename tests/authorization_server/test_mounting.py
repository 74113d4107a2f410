"""The authorization server as a part of a larger application, in every way in which one can be."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import mcpauth
from mcpauth import AuthorizationServerApp, authorization_server
from mcpauth.oauth.store import StoreUnavailable
from mcpauth.server import create_app
from mcpauth.stores.memory import MemoryStore
from tests.authorization_server.front_helpers import (
    ISSUER,
    LOOPBACK,
    SETTINGS,
    VERIFIER,
    Running,
    answer_of,
    running,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio

AT = "/tenant/auth"
MOUNTED = replace(SETTINGS, issuer=ISSUER + AT)
RFC8414 = "/.well-known/oauth-authorization-server" + AT
OPENID = "/.well-known/openid-configuration" + AT
OPENID_WITHIN = AT + "/.well-known/openid-configuration"
HTML = {"Accept": "text/html"}


async def home(_request: Request) -> Response:
    return PlainTextResponse("the other application")


HOME = Route("/", home)


def alone(app: AuthorizationServerApp) -> ASGIApp:
    return app


def mounted(app: AuthorizationServerApp) -> ASGIApp:
    return Starlette(routes=[HOME, *app.well_known_routes, Mount(AT, app)])


def mounted_twice(app: AuthorizationServerApp) -> ASGIApp:
    inner = Starlette(routes=[Mount("/auth", app)])
    return Starlette(routes=[HOME, *app.well_known_routes, Mount("/tenant", inner)])


def mounted_at_the_root(app: AuthorizationServerApp) -> ASGIApp:
    return Starlette(routes=[HOME, Mount("/", app)])


def stripped(app: AuthorizationServerApp) -> ASGIApp:
    """A framework that takes the mount off the path, as many do."""
    rest = Starlette(routes=[HOME, *app.well_known_routes])

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(f"{AT}/"):
            await app({**scope, "root_path": AT, "path": scope["path"].removeprefix(AT)}, receive, send)
        else:
            await rest(scope, receive, send)

    return outer


def root_path(app: ASGIApp) -> ASGIApp:
    """`uvicorn --root-path /tenant`: the proxy takes that off and the server puts it back, also in front of
    the well-known paths, which the proxy passes as they are.
    """

    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = "/tenant" + scope["path"].removeprefix("/tenant")
            scope = {**scope, "root_path": "/tenant", "path": path}
        await app(scope, receive, send)

    return server


def alone_behind_a_proxy(app: AuthorizationServerApp) -> ASGIApp:
    return root_path(app)


def behind_a_proxy(app: AuthorizationServerApp) -> ASGIApp:
    return root_path(Starlette(routes=[HOME, *app.well_known_routes, Mount("/auth", app)]))


KINDS = [alone, mounted, mounted_twice, mounted_at_the_root, stripped, alone_behind_a_proxy, behind_a_proxy]
kinds = pytest.mark.parametrize("kind", KINDS)


@asynccontextmanager
async def part_of(kind: Callable[[AuthorizationServerApp], ASGIApp]) -> AsyncGenerator[Running]:
    """A running server with the issuer https://auth.example/tenant/auth, reached through an outer app."""
    async with running(settings=MOUNTED) as server:
        yield reached(server, kind)


def reached(server: Running, kind: Callable[[AuthorizationServerApp], ASGIApp]) -> Running:
    """The same server through an outer app."""
    assert isinstance(server.app, AuthorizationServerApp)
    return replace(server, app=kind(server.app))


@kinds
async def test_the_whole_flow_works(kind: Callable[[AuthorizationServerApp], ASGIApp]) -> None:
    """RFC 6749 §4.1, RFC 9207 §2: from the first request to a token of this issuer."""
    async with part_of(kind) as server, server.browser() as browser:
        document = (await browser.http.get(RFC8414)).json()
        asked = await browser.http.get(
            document["authorization_endpoint"], params=browser.request_parameters()
        )
        page = await browser.follow(asked)
        stylesheet = page.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
        assert stylesheet.startswith(f"{AT}/static/")
        assert (await browser.http.get(stylesheet)).status_code == 200
        answer = answer_of(await browser.decide(await browser.sign_in(page)))
        assert answer["iss"] == MOUNTED.issuer
        form = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": LOOPBACK,
            "client_id": browser.client.client_id,
            "code_verifier": VERIFIER,
        }
        tokens = await browser.http.post(document["token_endpoint"], data=form)
        assert tokens.status_code == 200
        assert tokens.json()["scope"] == "notes:read notes:write"


@kinds
@pytest.mark.parametrize("path", [RFC8414, OPENID, OPENID_WITHIN])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "X-Forwarded-Port": "1"},
        {
            "Forwarded": "host=evil.example;proto=http",
            "X-Forwarded-Prefix": "/evil",
            "X-Original-URL": "/evil",
        },
    ],
)
async def test_the_metadata_is_at_every_well_known_form_and_nothing_in_a_request_changes_it(
    kind: Callable[[AuthorizationServerApp], ASGIApp], path: str, headers: dict[str, str]
) -> None:
    """RFC 8414 §3.1, §3.3 and §5, OpenID Connect Discovery 1.0 §4; `issuer` is the string of the settings."""
    async with part_of(kind) as server, server.browser() as browser:
        answer = await browser.http.get(path, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert f'"issuer":"{MOUNTED.issuer}"' in answer.text
        assert "evil" not in answer.text
        expected = await browser.http.get(RFC8414)
        assert answer.content == expected.content


@pytest.mark.parametrize("kind", [mounted, stripped, behind_a_proxy])
async def test_every_listed_address_is_answered_and_lies_under_the_issuer(
    kind: Callable[[AuthorizationServerApp], ASGIApp],
) -> None:
    async with part_of(kind) as server, server.browser() as browser:
        document = (await browser.http.get(RFC8414)).json()
        listed = {name: url for name, url in document.items() if name.endswith(("_endpoint", "_uri"))}
        assert len(listed) >= 6
        for url in listed.values():
            assert url.startswith(f"{MOUNTED.issuer}/")
            assert (await browser.http.get(url)).status_code != 404


@pytest.mark.parametrize("kind", [mounted, mounted_twice, stripped, behind_a_proxy])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("GET", "/authorize/"),
        ("POST", "/authorize"),
        ("HEAD", "/jwks"),
        ("OPTIONS", "/token"),
        ("OPTIONS", "/authorize"),
        ("GET", "/token"),
        ("PUT", "/sign-in"),
        ("GET", "/auth/token"),
        ("GET", "/.well-known/oauth-authorization-server"),
        ("GET", "/static/../settings.py"),
    ],
)
async def test_an_answer_below_the_mount_is_that_of_the_server_alone(
    kind: Callable[[AuthorizationServerApp], ASGIApp], method: str, path: str
) -> None:
    """Status, headers and body: 404, 405, HEAD and preflights included."""
    async with running(settings=MOUNTED) as server:
        answers: list[httpx2.Response] = []
        for each in (server, reached(server, kind)):
            async with each.browser() as browser:
                answers.append(await browser.http.request(method, f"{ISSUER}{AT}{path}"))
        assert answers[0].status_code == answers[1].status_code
        assert answers[0].content == answers[1].content
        assert {name: set(value.split(", ")) for name, value in answers[0].headers.items()} == {
            name: set(value.split(", ")) for name, value in answers[1].headers.items()
        }


@pytest.mark.parametrize("path", [RFC8414, OPENID])
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("OPTIONS", 204), ("POST", 405)])
async def test_the_well_known_routes_answer_as_the_server_does(method: str, status: int, path: str) -> None:
    async with part_of(mounted) as server, server.browser() as browser:
        answer = await browser.http.request(method, path)
        assert answer.status_code == status
        assert answer.headers.get("allow" if status == 405 else "access-control-allow-origin")


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/tenant",
        "/tenant/.well-known/openid-configuration",
        "/authorize",
        "/token",
        "/tenant/token",
        f"{AT}{AT}/jwks",
    ],
)
async def test_nothing_outside_the_mount_becomes_the_servers(path: str) -> None:
    """RFC 8414 §3.1: another issuer of the same host has its own document."""
    async with part_of(mounted) as server, server.browser() as browser:
        assert (await browser.http.get("/")).text == "the other application"
        assert (await browser.http.get(path)).status_code == 404


@pytest.mark.parametrize("kind", [mounted, stripped, behind_a_proxy])
async def test_no_answer_is_built_from_host_or_forwarded_headers(
    kind: Callable[[AuthorizationServerApp], ASGIApp],
) -> None:
    """RFC 9110 §7.2: they are the client's to choose."""
    headers = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "host=evil.example",
    }
    async with part_of(kind) as server, server.browser() as browser:
        asked = browser.request_parameters()
        redirect = await browser.http.get(f"{AT}/authorize", params=asked, headers=headers)
        assert redirect.headers["location"].startswith(f"{AT}/sign-in?request=")
        metadata = {"redirect_uris": [LOOPBACK], "token_endpoint_auth_method": "client_secret_basic"}
        registered = await browser.http.post(f"{AT}/register", json=metadata, headers=headers)
        assert registered.json()["registration_client_uri"].startswith(f"{MOUNTED.issuer}/register/")
        for answer in (redirect, registered):
            assert "evil" not in str(answer.headers) + answer.text


async def test_an_issuer_without_a_path_is_mounted_last_at_the_root() -> None:
    async with running() as server:
        app = Starlette(routes=[HOME, Mount("/", server.app)])
        async with replace(server, app=app).browser() as browser:
            assert (await browser.http.get("/")).text == "the other application"
            document = (await browser.http.get("/.well-known/oauth-authorization-server")).json()
            assert document["issuer"] == ISSUER
            assert (await browser.http.get(document["jwks_uri"])).status_code == 200
            assert answer_of(await browser.decide(await browser.to_consent()))["iss"] == ISSUER


async def test_a_mount_that_does_not_fit_the_issuer_answers_nothing_and_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its documents would send clients elsewhere."""
    async with running(settings=MOUNTED) as server:
        app = Starlette(routes=[Mount("/oauth", server.app)])
        async with replace(server, app=app).browser() as browser:
            for path in ("/token", "/authorize", "/jwks", f"{AT}/jwks", RFC8414, OPENID_WITHIN):
                assert (await browser.http.get(f"/oauth{path}")).status_code == 404
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert line == (
        f"The authorization server {MOUNTED.issuer} is mounted at '/oauth', where it cannot be found:"
        f" mount it at {AT!r}, or give it an issuer with the path of the mount."
    )


async def test_a_mount_of_any_name_is_told_of_once_and_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where the outer app lets a client choose the mount, it chooses neither lines nor memory."""
    async with running(settings=MOUNTED) as server:
        app = Starlette(routes=[Mount("/{tenant}", server.app)])
        async with replace(server, app=app).browser() as browser:
            for name in ("%0Aforged", "one", "two"):
                assert (await browser.http.get(f"/{name}/jwks")).status_code == 404
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "\n" not in line


@pytest.mark.parametrize("path", [f"{AT}/authorize", f"{AT}/token", f"{AT}/jwks", RFC8414, f"{AT}/nothing"])
async def test_what_does_not_run_answers_503_and_the_log_says_the_mend(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 9110 §15.6.4. A mount runs no lifespan; nothing is opened by a request that nobody would close."""
    store = MemoryStore()
    app = mounted(authorization_server(MOUNTED, store=store))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=ISSUER) as http:
        for _ in range(2):
            answer = await http.get(path)
            assert answer.status_code == 503
            assert answer.json()["error"] == "temporarily_unavailable"
            assert answer.headers["cache-control"] == "no-store"
        page = await http.get(path, headers=HTML)
        assert page.status_code == 503
        assert "This server does not run yet" in page.text
        assert page.headers["x-frame-options"] == "DENY"
    assert await store.list("signing_key") == []
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "enter `async with app.running()`" in line


async def test_it_answers_while_the_outer_lifespan_runs_it_and_can_be_run_again(tmp_path: Path) -> None:
    auth = authorization_server(replace(MOUNTED, database=str(tmp_path / "auth.db")))
    outer = Starlette(routes=[*auth.well_known_routes, Mount(AT, auth)], lifespan=auth.lifespan)
    transport = httpx2.ASGITransport(outer)
    served: list[str] = []
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        for _ in range(2):
            assert (await http.get(f"{AT}/jwks")).status_code == 503
            async with outer.router.lifespan_context(outer):
                served.append((await http.get(f"{AT}/jwks")).text)
        assert (await http.get(f"{AT}/jwks")).status_code == 503
    assert served[0] == served[1]
    assert '"kty":"EC"' in served[0]


async def test_it_runs_once_at_a_time() -> None:
    auth = authorization_server(SETTINGS)
    async with auth.running():
        with pytest.raises(RuntimeError, match="runs already"):
            async with auth.running():
                pass
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(auth), base_url=ISSUER) as http:
            assert (await http.get("/jwks")).status_code == 200


async def test_a_start_that_fails_leaves_it_closed_and_can_be_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    auth = authorization_server(replace(SETTINGS, database=str(folder / "auth.db")))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(auth), base_url=ISSUER) as http:
        with pytest.raises(StoreUnavailable):
            async with auth.running():
                pass
        assert (await http.get("/jwks")).status_code == 503
        folder.mkdir()
        async with auth.running():
            assert (await http.get("/jwks")).status_code == 200


async def test_a_websocket_is_refused() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async with part_of(mounted) as server:
        scope: Scope = {"type": "websocket", "path": f"{AT}/authorize", "root_path": "", "headers": []}
        await server.app(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_a_client_of_the_same_process_needs_no_network() -> None:
    """Names that do not exist: whatever answers, answers here."""
    auth = authorization_server(replace(SETTINGS, issuer="https://auth.invalid:8443/auth"))
    async with auth.http_client() as http:
        jwks = "https://auth.invalid:8443/auth/jwks"
        assert (await http.get(jwks)).status_code == 503
        async with auth.running():
            assert (await http.get(jwks)).json()["keys"]
            document = "https://auth.invalid:8443/.well-known/oauth-authorization-server/auth"
            assert (await http.get(document)).json()["jwks_uri"] == jwks


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/auth/jwks", "http://127.0.0.1:8443/jwks"])
async def test_such_a_client_reaches_others_over_the_network(url: str) -> None:
    """Another port or scheme is another server."""
    auth = authorization_server(replace(SETTINGS, issuer="https://127.0.0.1:1/auth"))
    async with auth.running(), auth.http_client() as http:
        with pytest.raises(httpx2.ConnectError):
            await http.get(url)


async def test_what_the_package_names_is_there() -> None:
    assert create_app is authorization_server
    for name in dir(mcpauth):
        assert getattr(mcpauth, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'authorisation_server'"):
        mcpauth.authorisation_server  # type: ignore[attr-defined]  # noqa: B018
