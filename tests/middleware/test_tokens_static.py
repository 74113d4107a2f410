"""Tokens that are written down: for development, on one machine."""

from __future__ import annotations

from typing import Any

import pytest

from mcpauth_middleware import McpAuthMiddleware, Policy, StaticTokens, static_principal
from tests.middleware.edge_helpers import (
    LOOPBACK,
    LOOPBACK_RESOURCE,
    POLICY,
    RESOURCE,
    RecordingApp,
    bearer,
    client_of,
    post,
)

pytestmark = pytest.mark.anyio

TOKENS = {
    "token-of-ada": static_principal("ada", scopes=["files:read"]),
    "token-of-bob": static_principal("bob"),
}


def protected(app: RecordingApp, resource: str) -> McpAuthMiddleware:
    return McpAuthMiddleware(
        app,
        resource=resource,
        authorization_servers=["http://127.0.0.1:9000"],
        policy=Policy.from_toml(POLICY),
        verifier=StaticTokens(TOKENS),
    )


async def test_a_token_that_is_written_down_is_whom_it_says() -> None:
    """And the policy decides as for any other."""
    app = RecordingApp()
    client = client_of(protected(app, LOOPBACK_RESOURCE), base_url=LOOPBACK)
    params: dict[str, Any] = {"name": "read_file", "arguments": {}}

    ada = await post(client, "tools/call", params, headers=bearer("token-of-ada"))
    bob = await post(client, "tools/call", params, headers=bearer("token-of-bob"))
    nobody = await post(client, "tools/call", params, headers=bearer("token-of-eve"))

    assert (ada.status_code, bob.status_code, nobody.status_code) == (200, 403, 401)
    assert [scope["mcpauth.principal"].subject for scope in app.scopes if scope["method"] == "POST"][-1:] == [
        "ada"
    ]


def test_they_are_refused_where_the_server_is_not_on_loopback() -> None:
    """A password in a source file is no way to protect what others can reach."""
    with pytest.raises(ValueError, match=r"^verifier: StaticTokens are for development"):
        protected(RecordingApp(), RESOURCE)


@pytest.mark.parametrize(
    "tokens", [(), ("",), ("dev token",), ("dev-token", "töken"), ("=",), ("dev\ud800",)]
)
def test_no_token_and_one_that_cannot_be_sent_are_refused(tokens: tuple[str, ...]) -> None:
    """RFC 6750 §2.1: whoever sends nothing is nobody, and a request with the others is malformed."""
    with pytest.raises(ValueError, match=r"^StaticTokens: "):
        StaticTokens({token: static_principal("ada") for token in tokens})
