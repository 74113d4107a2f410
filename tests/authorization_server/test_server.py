"""The whole app: which paths answer, to whom, and how it begins and ends."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx2
import pytest

from mcpauth.server import create_app
from mcpauth.stores.memory import MemoryStore
from tests.authorization_server.front_helpers import (
    ISSUER,
    NOTES,
    PASSWORD,
    SETTINGS,
    Running,
    answer_of,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from starlette.types import Message, Scope

    from mcpauth.oauth.store import Record

pytestmark = pytest.mark.anyio

WELL_KNOWN = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]
HTML = {"Accept": "text/html,application/xhtml+xml"}


@pytest.mark.parametrize("path", WELL_KNOWN)
async def test_metadata_names_only_addresses_that_answer(path: str) -> None:
    """RFC 8414 §2; `issuer` is the configured string, byte for byte."""
    async with running() as server, server.browser() as browser:
        document = (await browser.http.get(path)).json()
        assert document["issuer"] == ISSUER
        for key, value in document.items():
            if key.endswith("_endpoint") or key == "jwks_uri":
                assert value.startswith(f"{ISSUER}/")
                response = await browser.http.request("OPTIONS", value)
                assert response.status_code in {204, 405}
                assert (await browser.http.get(value)).status_code != 404


async def test_an_issuer_with_a_path_has_everything_under_it() -> None:
    """RFC 8414 §3.1 and OpenID Connect Discovery 1.0 §4: both places of the well-known part."""
    async with (
        running(settings=replace(SETTINGS, issuer="https://auth.example/tenant/one")) as server,
        server.browser() as browser,
    ):
        documents = [
            (await browser.http.get(path)).json()
            for path in (
                "/.well-known/oauth-authorization-server/tenant/one",
                "/.well-known/openid-configuration/tenant/one",
                "/tenant/one/.well-known/openid-configuration",
            )
        ]
        assert documents[0] == documents[1] == documents[2]
        assert documents[0]["authorization_endpoint"] == "https://auth.example/tenant/one/authorize"
        for path in (*WELL_KNOWN, "/authorize", "/token"):
            assert (await browser.http.get(path)).status_code == 404
        browser.http.base_url = httpx2.URL("https://auth.example/tenant/one")
        page = await browser.authorize()
        assert page.headers["location"].startswith("/tenant/one/sign-in?request=")


async def test_the_flow_works_under_a_path() -> None:
    async with (
        running(settings=replace(SETTINGS, issuer="https://auth.example/tenant")) as server,
        server.browser() as browser,
    ):
        page = await browser.follow(
            await browser.http.get("/tenant/authorize", params=browser.request_parameters())
        )
        assert 'href="/tenant/static/mcpauth.css?v=' in page.text
        response = await browser.decide(await browser.sign_in(page))
        assert answer_of(response)["iss"] == "https://auth.example/tenant"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/favicon.ico",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-authorization-server/other",
        "/.well-known/unknown",
        "/authorize/",
        "/static/",
        "/static/../settings.py",
        "/static/mcpauth.css/x",
        "/token/",
        "//evil.example/authorize",
    ],
)
async def test_everything_else_is_404_without_a_redirect(path: str) -> None:
    """Clients probe well-known paths and give up on anything but 404."""
    async with running() as server, server.browser() as browser:
        response = await browser.http.get(ISSUER + path)
        assert response.status_code == 404
        assert response.json() == {"error": "not_found"}
        assert "location" not in response.headers
        page = await browser.http.get(ISSUER + path, headers=HTML)
        assert page.status_code == 404
        assert "There is nothing here" in page.text
        assert page.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/authorize", {"GET", "HEAD"}),
        ("OPTIONS", "/authorize", {"GET", "HEAD"}),
        ("PUT", "/sign-in", {"GET", "HEAD", "POST"}),
        ("DELETE", "/consent", {"GET", "HEAD", "POST"}),
        ("GET", "/token", {"POST", "OPTIONS"}),
        ("GET", "/register", {"POST", "OPTIONS"}),
        ("GET", "/revoke", {"POST", "OPTIONS"}),
        ("POST", "/jwks", {"GET", "HEAD", "OPTIONS"}),
        ("POST", WELL_KNOWN[0], {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/static/mcpauth.css", {"GET", "HEAD"}),
        ("FOO", "/authorize", {"GET", "HEAD"}),
    ],
)
async def test_a_wrong_method_is_405_with_the_right_ones(method: str, path: str, allow: set[str]) -> None:
    """RFC 9110 §15.5.6: the response MUST have an Allow header field."""
    async with running() as server, server.browser() as browser:
        response = await browser.http.request(method, path)
        assert response.status_code == 405
        assert set(response.headers["allow"].replace(" ", "").split(",")) == allow


@pytest.mark.parametrize("path", ["/jwks", WELL_KNOWN[0], "/static/mcpauth.css", "/authorize"])
async def test_head_is_answered_like_get(path: str) -> None:
    async with running() as server, server.browser() as browser:
        head, get = await browser.http.head(path), await browser.http.get(path)
        assert head.status_code == get.status_code
        assert head.headers["content-type"] == get.headers["content-type"]


async def test_the_stylesheet_and_the_icon_may_be_kept_and_nothing_else_may() -> None:
    async with running() as server, server.browser() as browser:
        for name, media_type in (
            ("mcpauth.css", "text/css; charset=utf-8"),
            ("mcpauth.svg", "image/svg+xml"),
        ):
            asset = await browser.http.get(f"/static/{name}")
            assert asset.headers["content-type"] == media_type
            assert "immutable" in asset.headers["cache-control"]
        for path in ("/authorize", "/sign-in", "/consent", "/nothing"):
            response = await browser.http.get(path, headers=HTML)
            assert response.headers["cache-control"] == "no-store"


async def test_pages_link_to_the_very_content_that_is_served() -> None:
    async with running() as server, server.browser() as browser:
        page = await browser.to_sign_in()
        href = page.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
        assert (await browser.http.get(href)).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:99999", "", "a b", "é".encode().decode("latin-1")]
)
async def test_no_answer_is_built_from_the_host_header(host: str) -> None:
    """RFC 9110 §7.2: Host is the client's to choose."""
    async with running() as server, server.browser() as browser:
        headers = {
            b"Host": host.encode("latin-1"),
            b"X-Forwarded-Host": b"evil.example",
            b"X-Forwarded-Proto": b"http",
        }
        document = await browser.http.get(WELL_KNOWN[0], headers=headers)
        assert document.json()["issuer"] == ISSUER
        redirect = await browser.http.get("/authorize", params=browser.request_parameters(), headers=headers)
        assert redirect.headers["location"].startswith("/sign-in?")
        assert "evil" not in str(redirect.headers)


async def test_pages_for_people_have_no_cors_and_endpoints_for_clients_have() -> None:
    """Fetch Standard: another origin must not read a form token."""
    async with running() as server, server.browser() as browser:
        origin = {"Origin": "https://inspector.example"}
        for path in ("/authorize", "/sign-in", "/consent"):
            response = await browser.http.get(path, headers=origin)
            assert "access-control-allow-origin" not in response.headers
        for path in ("/jwks", *WELL_KNOWN):
            response = await browser.http.get(path, headers=origin)
            assert response.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in response.headers


async def test_registration_can_be_off() -> None:
    """Off is 404 and not advertised."""
    async with running(settings=replace(SETTINGS, registration=False)) as server, server.browser() as browser:
        assert "registration_endpoint" not in (await browser.http.get(WELL_KNOWN[0])).json()
        response = await browser.http.post("/register", json={"redirect_uris": ["https://a.example/cb"]})
        assert response.status_code == 404


async def raw(
    server: Running,
    method: str,
    path: str,
    *,
    query: bytes = b"",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> int:
    """The status of a request that no HTTP client would send."""
    sent: list[Message] = []
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": [
            (name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()
        ],
        "client": None,
        "server": ("auth.example", 443),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await server.app(scope, receive, send)
    status: int = sent[0]["status"]
    return status


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("path", ["/authorize", "/sign-in", "/consent"])
async def test_a_query_of_100_kb_is_refused_at_once(path: str) -> None:
    async with running() as server:
        assert await raw(server, "GET", path, query=b"request=" + b"x" * 100_000) == 414


@pytest.mark.parametrize("path", ["/token", "/revoke", "/introspect", "/sign-in", "/consent"])
@pytest.mark.parametrize("query", [b"a=b", b"\xff", b"%ff", b"%00", b"&"])
async def test_a_form_with_a_query_is_refused_whatever_the_query_is(path: str, query: bytes) -> None:
    """RFC 6749 §2.3.1: parameters are in the body. A query may be anything, not even text."""
    async with running() as server:
        assert (
            await raw(server, "POST", path, query=query, body=b"a=b", headers={"Content-Type": FORM}) == 400
        )


@pytest.mark.parametrize("path", ["/sign-in", "/consent"])
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"x=" + b"a" * 70_000, FORM, 413),
        (b"request=\xff", FORM, 400),
        (b"request=%ff", FORM, 400),
        (b"request=%00", FORM, 400),
        (b"request=a&request=b", FORM, 400),
        (b"a=1&" * 500, FORM, 400),
        (b"{}", "application/json", 415),
        (b"--x--", "multipart/form-data; boundary=x", 415),
        (b"request=a", "", 415),
        (b"", FORM, 403),
    ],
)
async def test_hostile_forms_get_a_page_and_no_traceback(
    path: str, body: bytes, content_type: str, status: int
) -> None:
    async with running() as server:
        headers = {
            "Content-Type": content_type,
            "Cookie": "__Host-mcpauth_browser=\xff; a=b; ;;=",
            "Sec-Fetch-Site": "none",
        }
        assert await raw(server, "POST", path, body=body, headers=headers) == status
        assert await server.store.list("session") == []


class Broken(MemoryStore):
    """A store that fails when told to."""

    failing = False

    async def get(self, kind: str, key: str) -> Record | None:
        if self.failing:
            raise RuntimeError("a secret detail")
        return await super().get(kind, key)


async def test_what_breaks_inside_becomes_a_page_without_details(caplog: pytest.LogCaptureFixture) -> None:
    store = Broken()
    async with running(store) as server, server.browser() as browser:
        page = await browser.to_sign_in()
        store.failing = True
        response = await browser.submit(page, {"username": "ada", "password": PASSWORD})
        assert response.status_code == 500
        assert "Something went wrong on this server" in response.text
        assert "secret detail" not in response.text
        assert "Traceback" not in response.text
        assert "a secret detail" in caplog.text
        assert PASSWORD not in caplog.text


async def test_events_go_to_the_audit_journal(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with (
        running(settings=replace(SETTINGS, audit_journal=str(path))) as server,
        server.browser() as browser,
    ):
        await browser.sign_in(await browser.to_sign_in(), "ada", "a wrong secret")
        code = await browser.to_code()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["type"] for line in lines] == ["sign_in_failed", "signed_in", "consent_given"]
    assert [line["outcome"] for line in lines] == ["refused", "ok", "ok"]
    assert lines[0]["details"]["login"] == "ada"
    assert lines[2]["details"]["allowed"] == {NOTES: ["notes:read", "notes:write"]}
    text = path.read_text()
    assert code not in text
    assert PASSWORD not in text
    assert "a wrong secret" not in text
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_database_is_opened_and_closed_with_the_app_and_keeps_the_keys(tmp_path: Path) -> None:
    settings = replace(SETTINGS, database=str(tmp_path / "auth.db"))
    served: list[str] = []
    for _ in range(2):
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            transport = httpx2.ASGITransport(app)
            async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
                served.append((await http.get("/jwks")).text)
    assert served[0] == served[1]
    assert json.loads(served[0])["keys"][0]["kty"] == "EC"
    assert "d" not in json.loads(served[0])["keys"][0]


async def test_two_processes_on_one_database_share_sessions_and_forms(tmp_path: Path) -> None:
    """A form shown by one process is taken by the other: the secret is in the store."""
    store = MemoryStore()
    async with running(store) as one, running(store) as other, one.browser() as browser:
        page = await browser.to_sign_in()
        transport = httpx2.ASGITransport(other.app)
        async with httpx2.AsyncClient(
            transport=transport, base_url=ISSUER, cookies=browser.http.cookies
        ) as http:
            browser.http = http
            assert (await browser.sign_in(page)).status_code == 200
