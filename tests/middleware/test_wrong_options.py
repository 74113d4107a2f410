"""A wrong option of `McpAuthMiddleware` stops the start, and its error names the option and the mend."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2
import pytest
from mcp.server import MCPServer

from mcpauth_middleware import (
    AuditJournal,
    ClientCredentials,
    McpAuthMiddleware,
    MemoryLimiter,
    Policy,
    RateLimit,
    StaticTokens,
    TokenExchange,
    static_principal,
)
from tests.middleware.edge_helpers import ISSUER, RESOURCE, RecordingApp

_server = MCPServer("Notes")
_ISSUERS = [ISSUER]


def build(**options: Any) -> McpAuthMiddleware:
    right: dict[str, Any] = {
        "app": RecordingApp(),
        "resource": RESOURCE,
        "authorization_servers": _ISSUERS,
        "policy": Policy(),
    }
    return McpAuthMiddleware(**{**right, **options})


@pytest.mark.parametrize(
    ("option", "value", "mend"),
    [
        ("app", _server, "mcp.streamable_http_app()"),
        ("app", _server.streamable_http_app, "mcp.streamable_http_app()"),
        ("app", None, "mcp.streamable_http_app()"),
        ("resource", None, "give the public URL"),
        ("authorization_servers", [None], "each is an issuer or an AuthorizationServer"),
        (
            "authorization_servers",
            ["https://as.example/.well-known/oauth-authorization-server"],
            "give the issuer, not the address of its metadata: 'https://as.example'",
        ),
        ("limits", RateLimit("60/minute"), "give a list"),
        ("limits", "60/minute", "give a list"),
        ("limiter", MemoryLimiter, "give a Limiter"),
        ("audit", "audit.jsonl", 'AuditJournal("audit.jsonl")'),
        ("audit", AuditJournal, 'AuditJournal("audit.jsonl")'),
        ("audit_options", {"keep": {}}, "AuditOptions("),
        ("public_paths", [None], "each is a text"),
        ("max_body_bytes", "4MB", "as a number"),
        ("max_batch", "20", "as a number"),
        ("session_key", "k" * 32, "secrets.token_bytes(32)"),
        ("dpop_nonce_key", "k" * 32, "secrets.token_bytes(32)"),
        ("verified_token_lifetime", 60, "timedelta(seconds=60)"),
        ("verified_token_lifetime", 0, "timedelta(seconds=60)"),
        ("verifier", StaticTokens, "an object with `verify`"),
        ("upstream", "https://as.example", "TokenExchange("),
        ("http_client", lambda: None, "httpx2.AsyncClient"),
    ],
)
def test_a_wrong_option_names_itself_and_the_mend(option: str, value: object, mend: str) -> None:
    """Told at the start, not with the first request: a sink that is none would refuse each call with 503."""
    with pytest.raises(ValueError) as raised:
        build(**{option: value})
    assert str(raised.value).startswith(f"{option}: ")
    assert mend in str(raised.value)


@pytest.mark.parametrize("option", ["session_key", "dpop_nonce_key"])
def test_a_key_of_the_wrong_type_is_not_repeated(option: str) -> None:
    """What is a secret is in no message."""
    with pytest.raises(ValueError) as raised:
        build(**{option: "this is secret, and long enough for a key"})
    assert "this is secret" not in str(raised.value)


def test_a_protected_app_is_not_protected_again() -> None:
    """The inner one would refuse each request with 401, since the outer one takes the token off."""
    with pytest.raises(ValueError, match=r"^app: "):
        build(app=build())


def test_what_is_right_is_taken() -> None:
    """The same options, as they should be."""
    protected = build(
        app=_server.streamable_http_app(),
        resource="http://127.0.0.1:8000/mcp",
        limits=[RateLimit("60/minute")],
        limiter=MemoryLimiter(),
        session_key=b"k" * 32,
        dpop_nonce_key=b"k" * 32,
        verified_token_lifetime=timedelta(0),
        verifier=StaticTokens({"t": static_principal("ada")}),
        upstream=TokenExchange(ISSUER, ClientCredentials("notes", "secret")),
        http_client=httpx2.AsyncClient(),
    )
    assert protected.metadata.document()["resource"] == "http://127.0.0.1:8000/mcp"


@pytest.mark.parametrize("option", ["verifier", "upstream", "http_client", "limiter", "audit"])
def test_what_was_given_in_its_place_is_not_shown(option: str) -> None:
    """It may be a table of tokens."""
    with pytest.raises(ValueError) as raised:
        build(**{option: {"s3cret": "s3cret"}})
    assert str(raised.value).endswith("(got a dict)")
