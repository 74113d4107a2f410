"""The way back to the client, RFC 6749 §4.1.2 with the `iss` of RFC 9207 on every answer, errors included."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from mcpauth.oauth.errors import OAuthError


def code_redirect(redirect_uri: str, *, issuer: str, code: str, state: str | None) -> str:
    """Where the browser goes with a code."""
    return _redirect(redirect_uri, {"code": code}, issuer, state)


def error_redirect(redirect_uri: str, *, issuer: str, error: OAuthError, state: str | None) -> str:
    """Where the browser goes with an error."""
    answer = {"error": error.code, "error_description": error.description}
    return _redirect(redirect_uri, answer, issuer, state)


def _redirect(redirect_uri: str, answer: dict[str, str], issuer: str, state: str | None) -> str:
    # Appended as text: the registered query stays as it is, byte for byte (§3.1.2).
    parameters = answer | ({"state": state} if state is not None else {}) | {"iss": issuer}
    separator = "&" if "?" in redirect_uri else "?"
    return redirect_uri + separator + urlencode(parameters, quote_via=quote)
