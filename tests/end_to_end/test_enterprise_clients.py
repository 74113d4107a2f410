"""Enterprise-managed authorization and workload identity with the real clients of the SDKs."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import httpx2
import jwt
import pytest
from mcp import Client
from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider
from mcp.client.streamable_http import streamable_http_client

from tests.end_to_end.enterprise import GRANT_TYPE, ID_TOKEN, IDP, SUBJECT, Enterprise, enterprise
from tests.end_to_end.serving import installed
from tests.requires import program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

pytestmark = pytest.mark.anyio


Method: TypeAlias = Literal["client_secret_post", "client_secret_basic"]


class Memory:
    """What the client keeps."""

    tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        raise AssertionError(f"nothing is registered: {client_info}")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Enterprise]:
    with enterprise(tmp_path) as up:
        yield up


async def exchanged(up: Enterprise, audience: str, resource: str) -> str:
    """The first leg, which the SDK leaves to the application."""
    form = {"subject_token": ID_TOKEN, "audience": audience, "resource": resource}
    async with httpx2.AsyncClient() as http:
        response = await http.post(up.idp.url, data=form)
    assertion: str = response.json()["access_token"]
    return assertion


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
async def test_the_python_client_gets_in_with_an_id_jag_and_steps_up_with_the_next(
    up: Enterprise, method: Method
) -> None:
    """ext-auth, enterprise-managed authorization: no browser, no consent, one account ever after."""

    async def assertion(audience: str, resource: str) -> str:
        return await exchanged(up, audience, resource)

    storage = Memory()
    provider = IdentityAssertionOAuthProvider(
        server_url=up.notes,
        storage=storage,
        client_id=up.client_id,
        client_secret=up.client_secret,
        issuer=up.issuer,
        assertion_provider=assertion,
        scope="notes:read",
        token_endpoint_auth_method=method,
    )
    async with (
        httpx2.AsyncClient(auth=provider, timeout=30) as http,
        Client(streamable_http_client(up.notes, http_client=http), mode="auto") as client,
    ):
        read = await client.call_tool("list_notes", {})
        assert not read.is_error
        written = await client.call_tool("add_note", {"text": "from the enterprise"})
        assert not written.is_error
    assert storage.tokens is not None
    assert storage.tokens.scope == "notes:read notes:write"
    assert storage.tokens.refresh_token is None
    first, second = up.happened("assertion_token_issued")
    assert first["actor"] == second["actor"]
    assert first["actor"]["client_id"] == up.client_id
    assert [each["details"]["scopes"] for each in (first, second)] == [
        ["notes:read"],
        ["notes:read", "notes:write"],
    ]
    assert (first["details"]["issuer"], first["details"]["subject"]) == (IDP, SUBJECT)
    assert up.happened("assertion_refused") == []
    assert first["actor"]["sub"] in str(written.content)


def test_the_typescript_client_exchanges_its_id_token_and_gets_in(up: Enterprise, tmp_path: Path) -> None:
    """It finds the authorization server by the resource, and asks the provider itself."""
    node = program("node")
    packages = installed(Path(__file__).with_name("typescript"), tmp_path / "typescript")
    options = {
        "url": up.notes,
        "issuer": up.issuer,
        "idp": up.idp.url,
        "idToken": ID_TOKEN,
        "clientId": up.client_id,
        "clientSecret": up.client_secret,
    }
    ran = subprocess.run(
        [node, "enterprise.mjs", json.dumps(options)],
        cwd=packages,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert json.loads(ran.stdout.splitlines()[-1]) == {"called": "list_notes", "failed": False}
    (issued,) = up.happened("assertion_token_issued")
    assert issued["details"]["subject"] == SUBJECT
    assert up.idp.asked[0]["audience"] == up.issuer
    assert up.idp.asked[0]["resource"] == up.notes


async def test_a_program_gets_in_with_the_token_of_its_platform(up: Enterprise) -> None:
    """ext-auth, workload identity federation: the token of the platform is all that it has."""
    now = int(time.time())
    claims = {
        "iss": "https://platform.example",
        "sub": "system:serviceaccount:ci:nightly",
        "aud": f"{up.issuer}/token",
        "iat": now,
        "exp": now + 3600,
        "jti": "one",
    }
    platform_token = jwt.encode(claims, up.idp.key.as_pem(private=True), algorithm="ES256")
    form = {"grant_type": GRANT_TYPE, "assertion": platform_token, "resource": up.notes}
    async with httpx2.AsyncClient() as http:
        response = await http.post(f"{up.issuer}/token", data=form)
        assert response.status_code == 200, response.text
        headers = {"Authorization": f"Bearer {response.json()['access_token']}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30) as authorized,
            Client(streamable_http_client(up.notes, http_client=authorized), mode="auto") as client,
        ):
            assert not (await client.call_tool("list_notes", {})).is_error
        again = await http.post(f"{up.issuer}/token", data=form)
    assert again.json()["error"] == "invalid_grant"
    (refused,) = up.happened("assertion_refused")
    assert refused["details"]["reason"] == "used before"
