"""No code, token, secret or verifier in what is written down: logs, audit journal, events."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mcpauth.oauth.key_schedule import LATE, PUBLISHED_AHEAD
from mcpauth.oauth.signing_keys import KIND, SigningKeys
from tests.authorization_server.front_helpers import (
    LOOPBACK,
    NOTES,
    PASSWORD,
    SETTINGS,
    VERIFIER,
    running,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.authorization_server.front_helpers import Browser

pytestmark = pytest.mark.anyio


async def dance(browser: Browser) -> set[str]:
    """Code, tokens, refresh, replay, revocation; gives every secret that went over the wire."""
    code = await browser.to_code()
    client = {"client_id": browser.client.client_id, "resource": NOTES}
    redeem = {
        **client,
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": VERIFIER,
        "redirect_uri": LOOPBACK,
    }
    first = (await browser.http.post("/token", data=redeem)).json()
    refresh = {**client, "grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = (await browser.http.post("/token", data=refresh)).json()
    assert (await browser.http.post("/token", data=redeem)).status_code == 400  # replayed
    await browser.http.post("/revoke", data={**client, "token": second["access_token"]})
    await browser.http.post("/token", data={**refresh, "refresh_token": second["refresh_token"]})
    tokens = {answer[name] for answer in (first, second) for name in ("access_token", "refresh_token")}
    cookies = {cookie.value or "" for cookie in browser.http.cookies.jar}
    return {code, VERIFIER, PASSWORD, *tokens, *cookies}


async def test_no_line_of_a_whole_run_holds_a_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With everything logged there is, through a rotation of the keys, wrong requests included."""
    caplog.set_level(logging.DEBUG)
    journal = tmp_path / "audit.jsonl"
    async with running(settings=replace(SETTINGS, audit_journal=str(journal))) as server:
        secrets: set[str] = set()
        async with server.browser() as browser:
            secrets |= await dance(browser)
        await (await SigningKeys.load(server.store, server.clock)).rotate()
        for seconds in (31, PUBLISHED_AHEAD, 600 + LATE):
            server.clock.advance(seconds)
            async with server.browser() as browser:
                await browser.http.get("/jwks")
                secrets |= await dance(browser)
        for _, record in await server.store.list(KIND):
            secrets.add(record["private_jwk"]["d"])
        happened = repr(server.happened)
    written = journal.read_text()
    assert written.count("\n") > 10
    # What the test's own HTTP client says is not the server's.
    lines = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    text = "\n".join(lines) + written + happened
    assert len(secrets) > 15
    assert [secret for secret in secrets if len(secret) >= 8 and secret in text] == []
