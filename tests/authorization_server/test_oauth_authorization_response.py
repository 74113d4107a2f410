"""The redirect back to the client."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from mcpauth.oauth.authorization_response import code_redirect, error_redirect
from mcpauth.oauth.errors import AccessDenied

ISSUER = "https://as.example/tenant"


@pytest.mark.parametrize("state", [None, "+", "%00", "a b&c=d#e", "ü", "x" * 4096, "\r\nX: y"])
def test_state_and_iss_come_back_exactly_once(state: str | None) -> None:
    """RFC 6749 §4.1.2, RFC 9207 §2."""
    expected = ([("state", state)] if state is not None else []) + [("iss", ISSUER)]
    code = code_redirect("https://client.example/cb", issuer=ISSUER, code="c", state=state)
    assert parse_qsl(urlsplit(code).query) == [("code", "c"), *expected]
    error = error_redirect(
        "https://client.example/cb", issuer=ISSUER, error=AccessDenied("the user said no"), state=state
    )
    assert parse_qsl(urlsplit(error).query) == [
        ("error", "access_denied"),
        ("error_description", "the user said no"),
        *expected,
    ]
    assert "\n" not in code


@pytest.mark.parametrize(
    ("redirect_uri", "start"),
    [
        ("https://client.example/cb?a=%2f&b", "https://client.example/cb?a=%2f&b&code=c"),
        ("https://client.example", "https://client.example?code=c"),
        ("com.example.app:/cb", "com.example.app:/cb?code=c"),
    ],
)
def test_the_redirect_uri_keeps_its_own_query(redirect_uri: str, start: str) -> None:
    """RFC 6749 §3.1.2: MUST be retained."""
    assert code_redirect(redirect_uri, issuer=ISSUER, code="c", state=None).startswith(start)
