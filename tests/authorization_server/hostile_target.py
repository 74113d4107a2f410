"""A whole server with everything switched on, attacked over ASGI: no client library smooths a request."""

from __future__ import annotations

from base64 import b64encode
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import anyio

from mcpauth.oauth.client_metadata import GRANT_TYPES, ClientMetadata
from mcpauth.oauth.operator_terms import OperatorTerms
from mcpauth.oauth.token_exchange import GRANT_TYPE as TOKEN_EXCHANGE
from mcpauth.oauth.token_exchange import ExchangeRule
from mcpauth_middleware.message.strict_json import parse
from tests.authorization_server.document_helpers import Network
from tests.authorization_server.front_helpers import (
    ISSUER,
    LOOPBACK,
    NOTES,
    SETTINGS,
    TASKS,
    VERIFIER,
    Running,
    answer_of,
    form_of,
    running,
)
from tests.authorization_server.hostile_endpoints import Attempt, Endpoint, filled
from tests.authorization_server.issuer_helpers import PLATFORM_KEY, platform, workload_token

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Message, Scope

    from mcpauth.oauth.client import Client

ALL = replace(
    SETTINGS,
    token_exchange=(ExchangeRule(NOTES, TASKS, ("tasks:read",)),),
    trusted_issuers=(platform(jwks_uri=None, jwks={"keys": [PLATFORM_KEY.with_kid("platform")]}),),
    device_authorization=True,
    registrations_per_hour=10**6,
    authorization_requests_per_hour=10**6,
)
ERROR_CHARACTERS = frozenset(map(chr, range(0x20, 0x7F))) - {'"', "\\"}  # RFC 6749 §5.2
RENEWED_AFTER = 50
HANGING = 20  # seconds, after which an answer will not come


@dataclass(frozen=True)
class Answer:
    """What a server sent."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: bytes) -> bytes:
        """All values of a header."""
        return b", ".join(value for each, value in self.headers if each == name)


@dataclass
class Target:
    """The server, and the clients that an attacker may use."""

    server: Running
    client: Client
    machine: tuple[Client, str]
    _values: dict[str, str] = field(default_factory=dict[str, str])
    _asked: int = 0

    async def values(self, *, renew: bool = True) -> dict[str, str]:
        """Everything that is secret or known and good: what an attempt fills in. Without `renew` what some
        attempts have used up is made anew now and then.
        """
        self._asked += 1
        if renew or not self._values or self._asked % RENEWED_AFTER == 0:
            self._values = await self._made()
        return self._values

    async def _made(self) -> dict[str, str]:
        # Another user each time: the guesses of the attempts have locked the last one out.
        user = await self.server.add_user(f"user {len(await self.server.users.list())}")
        async with self.server.browser(self.client) as browser:
            consent = await browser.sign_in(await browser.to_sign_in(), user.username)
            first = answer_of(await browser.decide(consent))["code"]
            consent = await browser.follow(await browser.authorize())
            code = answer_of(await browser.decide(consent))["code"]
            redeeming = {
                "grant_type": "authorization_code",
                "client_id": self.client.client_id,
                "code": first,
                "code_verifier": VERIFIER,
                "redirect_uri": LOOPBACK,
            }
            tokens = (await browser.http.post("/token", data=redeeming)).json()
            consent = await browser.follow(await browser.authorize(scope="openid notes:read"))
            about_user = {
                "code": answer_of(await browser.decide(consent))["code"],
                "resource": f"{ISSUER}/userinfo",
            }
            identity = (await browser.http.post("/token", data={**redeeming, **about_user})).json()
            form = form_of(await browser.follow(await browser.authorize()))
            asking = {"client_id": self.client.client_id}
            device = (await browser.http.post("/device_authorization", data=asking)).json()
            device_form = form_of(await browser.http.get("/device"))
            sign_in = form_of(await browser.http.get("/sign-in", params={"request": form.fields["request"]}))
            cookies = {cookie.name: cookie.value or "" for cookie in browser.http.cookies.jar}
            pushed = await browser.http.post("/par", data=browser.request_parameters())
            web = {"redirect_uris": ["https://client.example/cb"], "client_name": "Managed"}
            managed = (await browser.http.post("/register", json=web)).json()
        machine, secret = self.machine
        now = int(self.server.clock())
        return {
            "USER": user.username,
            "CLIENT": self.client.client_id,
            "CODE": code,
            "ACCESS": tokens["access_token"],
            "REFRESH": tokens["refresh_token"],
            "REQUEST": form.fields["request"],
            "CSRF": form.fields["csrf"],
            "DEVICE": device_form.fields["csrf"],
            "DEVICE-CODE": device["device_code"],
            "USER-CODE": device["user_code"],
            "SIGN-IN": sign_in.fields["csrf"],
            "BROWSER": cookies["__Host-mcpauth_browser"],
            "SESSION": cookies["__Host-mcpauth_session"],
            "BASIC": b64encode(f"{machine.client_id}:{secret}".encode()).decode(),
            "ASSERTION": workload_token(aud=ISSUER, iat=now, exp=now + 600, jti=code),
            "IDENTITY": identity["access_token"],
            "PUSHED": pushed.json()["request_uri"],
            "MANAGED": managed["client_id"],
            "MANAGEMENT": managed["registration_access_token"],
        }

    async def send(self, attempt: Attempt) -> Answer:
        """Make the attempt. Whoever makes it hangs up once there is an answer."""
        sent: list[Message] = []
        answered = anyio.Event()
        parts = list(attempt.body)

        async def receive() -> Message:
            if parts:
                part = parts.pop(0)
                return {"type": "http.request", "body": part, "more_body": bool(parts) or attempt.broken_off}
            if not attempt.broken_off:
                await answered.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)
            if message["type"] == "http.response.body":
                answered.set()

        with anyio.fail_after(HANGING):
            await self.server.app(_scope(attempt), receive, send)
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(sent[0]["status"], tuple(sent[0]["headers"]), body)


def _scope(attempt: Attempt) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": attempt.method,
        "scheme": "https",
        "path": attempt.path,
        "raw_path": attempt.path.encode("utf-8", "surrogateescape"),
        "root_path": "",
        "query_string": attempt.query,
        "headers": [(b"host", b"auth.example"), *attempt.headers],
        "client": ("198.51.100.9", 5000),
        "server": ("auth.example", 443),
    }


@asynccontextmanager
async def target() -> AsyncGenerator[Target]:
    """Start one; documents of clients lead nowhere."""
    async with running(settings=ALL, fetch=Network()) as server:
        terms = OperatorTerms(serves=(NOTES,), resources=(NOTES,), scopes=("notes:read",))
        grants = ("client_credentials", TOKEN_EXCHANGE)
        checked = ClientMetadata((), "Robo", grants, "client_secret_basic", None, None, {})
        machine, secret = await server.clients.admit(checked, source="pre-registered", terms=terms)
        assert secret is not None
        metadata = {"redirect_uris": [LOOPBACK], "grant_types": list(GRANT_TYPES)}
        client, _ = await server.clients.register(metadata, source="pre-registered")
        yield Target(server, client, (machine, secret))


async def attack(place: Target, attempt: Attempt, endpoint: Endpoint, values: dict[str, str]) -> Answer:
    """Make the attempt, and hold the answer against what every answer of this server is."""
    sent = filled(attempt, values)
    answer = await place.send(sent)
    told = f"{sent}\n-> {answer.status} {answer.headers!r}\n{answer.body[:500]!r}"
    assert 200 <= answer.status < 500, told
    for name, value in answer.headers:
        assert not set(b"\r\n\0") & set(name + value), told
    location = answer.header(b"location")
    assert not location or location.startswith((b"/", LOOPBACK.encode())), told
    assert not location.startswith(b"//"), told
    assert b"Traceback" not in answer.body, told
    kept = answer.header(b"cache-control")
    if answer.status >= 400:
        assert kept == b"no-store", told
        assert attempt.method == "HEAD" or _is_readable_error(answer), told
    elif answer.status != 204 and not location:
        assert endpoint.kept.encode() in kept, told
    return answer


def _is_readable_error(answer: Answer) -> bool:
    if answer.header(b"content-type").startswith(b"text/html"):
        return b"</html>" in answer.body
    body = parse(answer.body)
    if not isinstance(body, dict):
        return False
    members = cast("dict[str, str]", body)
    texts = [members.get("error", ""), members.get("error_description", "")]
    return bool(texts[0]) and all(set(text) <= ERROR_CHARACTERS for text in texts)
