"""No code, token, secret, verifier, password, cookie or form token is written down: RFC 9700 §4.2 and §4.14.

One run through everything, right and wrong, with every logger at its most talkative and the audit journal on;
what travelled is collected from the wire, and searched for in all that was written, texts of exceptions too.
"""

from __future__ import annotations

import json
import logging
import sys
from base64 import b64decode
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl, urlsplit

import pytest
from itsdangerous import BadSignature

from mcpauth.oauth.store import StoreUnavailable
from mcpauth.stores.memory import MemoryStore
from tests.authorization_server.assertion_helpers import claims_of, client_with, form, key, signed
from tests.authorization_server.front_helpers import (
    LOOPBACK,
    PASSWORD,
    SETTINGS,
    VERIFIER,
    Browser,
    Clock,
    Running,
    answer_of,
    form_of,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from types import FrameType

    import httpx2
    from _typeshed import TraceFunction

    from mcpauth.oauth.store import Record

pytestmark = pytest.mark.anyio

SECRET_NAMES = frozenset(
    {
        "access_token",
        "client_assertion",
        "client_secret",
        "code",
        "code_verifier",
        "csrf",
        "password",
        "refresh_token",
        "registration_access_token",
        "request",
        "request_uri",
        "state",
        "token",
    }
)
SHORTEST = 8
"""What is shorter could stand anywhere by chance."""


@dataclass
class Wire:
    """The secrets that travelled, by what they are called."""

    secrets: dict[str, str] = field(default_factory=dict[str, str])

    async def sent(self, request: httpx2.Request) -> None:
        self._pairs(parse_qsl(request.url.query.decode()))
        body = request.content.decode()
        self._pairs(parse_qsl(body))
        self._json(body)
        scheme, _, proof = request.headers.get("authorization", "").partition(" ")
        self._pairs([("secret of a header", b64decode(proof).decode() if scheme == "Basic" else proof)])
        if scheme == "Basic":
            self._pairs([("client_secret", b64decode(proof).decode().partition(":")[2])])

    async def came(self, response: httpx2.Response) -> None:
        await response.aread()
        self._pairs(parse_qsl(urlsplit(response.headers.get("location", "")).query))
        self._pairs([("cookie", value) for value in response.cookies.values()])
        self._json(response.text)
        if "<form" in response.text:
            self._pairs(list(form_of(response).fields.items()))

    def _json(self, text: str) -> None:
        with suppress(ValueError):
            members = json.loads(text)
            self._pairs([(name, value) for name, value in members.items() if isinstance(value, str)])

    def _pairs(self, pairs: list[tuple[str, str]]) -> None:
        for name, value in pairs:
            if (name in SECRET_NAMES or " " in name or name == "cookie") and len(value) >= SHORTEST:
                self.secrets.setdefault(value, name)


@contextmanager
def raised() -> Generator[list[str]]:
    """The texts of all exceptions that pass through the server's own code.

    Two do not count: StopIteration is how a coroutine returns its value, and itsdangerous tells `CsrfTokens`
    which form token it refuses, which catches that on the spot.
    """
    texts: list[str] = []

    def inside(_frame: FrameType, event: str, argument: object) -> TraceFunction:
        if event == "exception":
            _, error, _ = cast("tuple[object, ...]", argument)
            if not isinstance(error, StopIteration | BadSignature):
                texts.append(f"{error!s} {error!r}")
        return inside

    def entered(frame: FrameType, _event: str, _argument: object) -> TraceFunction | None:
        return inside if "/mcpauth/" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        yield texts
    finally:
        sys.settrace(before)


class Failing(MemoryStore):
    """A store that breaks in two ways when told to."""

    failing: Exception | None = None

    async def get(self, kind: str, key: str) -> Record | None:
        if self.failing is not None:
            raise self.failing
        return await super().get(kind, key)


async def everything(server: Running, browser: Browser, store: Failing) -> None:
    """Register, sign in, consent, redeem, refresh, introspect, revoke, manage; each of them wrong as well."""
    http = browser.http
    me = {"client_id": browser.client.client_id}
    registration = (
        await http.post("/register", json={"redirect_uris": ["https://client.example/cb"]})
    ).json()
    managed = f"/register/{registration['client_id']}"
    manager = {"Authorization": f"Bearer {registration['registration_access_token']}"}
    auth = (registration["client_id"], registration["client_secret"])

    page = await browser.to_sign_in(state="a state that is nobody's business")
    await browser.submit(page, {"username": PASSWORD, "password": "in the wrong field"})
    await browser.submit(page, {"username": "ada", "password": "not the password"})
    await browser.submit(page, {"username": "ada", "password": PASSWORD, "csrf": "made up for this test"})
    consent = await browser.sign_in(page)
    await browser.submit(consent, {"decision": "allow", "csrf": "made up for this test, too"})
    code = answer_of(await browser.decide(consent))["code"]
    pushed = (await http.post("/par", data=browser.request_parameters())).json()
    await http.get("/authorize", params={**me, "request_uri": pushed["request_uri"]})
    await http.get("/authorize", params={**me, "request_uri": pushed["request_uri"] + "x"})

    redeem = {**me, "grant_type": "authorization_code", "code": code, "redirect_uri": LOOPBACK}
    await http.post("/token", data={**redeem, "code_verifier": "a verifier that is not the one " + "x" * 20})
    await http.post("/token", data={**redeem, "code_verifier": VERIFIER, "resource": "not a resource"})
    tokens = (await http.post("/token", data={**redeem, "code_verifier": VERIFIER})).json()
    refresh = {**me, "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    newer = (await http.post("/token", data=refresh)).json()
    await http.post("/token", data=refresh)
    await http.post("/token", data={**refresh, "scope": "notes:admin"})
    await http.post("/token", data={**refresh, "refresh_token": newer["refresh_token"][:-1] + "_"})
    for name in ("access_token", "refresh_token"):
        await http.post("/introspect", data={"token": tokens[name]}, auth=auth)
        await http.post("/introspect", data={"token": tokens[name]}, auth=(auth[0], "a wrong secret of it"))
    signer = await client_with(server, key().jwk)
    for assertion in (signed(key(), claims_of(signer.client_id)), signed(key(number=1), claims_of("x" * 30))):
        for _ in range(2):
            await http.post("/revoke", data=form(assertion))
    await http.post("/token", data={**redeem, "code_verifier": VERIFIER})

    await http.get(managed, headers=manager)
    await http.put(managed, headers=manager, json={"client_id": "another", "client_secret": auth[1]})
    await http.get("/register/another", headers=manager)
    await http.post("/register", content=b'{"client_secret": "chosen by the client", ')
    await http.get("/token", params=redeem)
    await http.post("/token?client_secret=in-the-query-of-the-request", data=redeem)
    for failure in (StoreUnavailable("away"), RuntimeError("broken")):
        store.failing = failure
        await http.post("/token", data={**redeem, "code_verifier": VERIFIER}, auth=auth)
        await http.post("/revoke", data={**me, "token": newer["access_token"]})
        await http.get("/authorize", params=browser.request_parameters())
    store.failing = None
    await http.post("/revoke", data={**me, "token": newer["refresh_token"]})


async def test_nothing_that_travelled_is_in_what_was_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Logs with tracebacks, the audit journal, events and exceptions."""
    for name in [None, *logging.root.manager.loggerDict]:
        caplog.set_level(logging.DEBUG, logger=name)
    journal = tmp_path / "audit.jsonl"
    wire = Wire()
    store = Failing(Clock())
    async with running(store, replace(SETTINGS, audit_journal=str(journal))) as server:
        async with server.browser() as browser:
            browser.http.event_hooks = {"request": [wire.sent], "response": [wire.came]}
            with raised() as texts:
                await everything(server, browser, store)
        happened = repr(server.happened)
    formatter = logging.Formatter("%(name)s %(message)s")
    # What the test's own HTTP client says is not the server's.
    lines = [formatter.format(record) for record in caplog.records if not record.name.startswith("httpx")]
    kinds = set(wire.secrets.values())
    # A `token` is one of the others.
    assert {*SECRET_NAMES, "cookie", "secret of a header"} - {"token"} <= kinds
    assert len(wire.secrets) > 25
    assert len(texts) > 20
    assert "Traceback" in "\n".join(lines)
    assert journal.read_text().count("\n") > 15
    written = {"logs": "\n".join(lines), "journal": journal.read_text(), "events": happened}
    written["exceptions"] = "\n".join(texts)
    found = [
        (name, where)
        for value, name in wire.secrets.items()
        for where, text in written.items()
        if value in text
    ]
    assert found == []
