"""Grant types: the ways to get tokens, RFC 6749 §1.3. One file each, named after its `grant_type`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth.oauth.access_token import AccessToken
    from mcpauth.oauth.client import Client
    from mcpauth.oauth.form import Form

TokenResponse: TypeAlias = dict[str, Any]


class GrantType(Protocol):
    """A way to get tokens. The token endpoint has authenticated the client and seen that it may use it."""

    async def __call__(self, client: Client, form: Form) -> TokenResponse:
        """Answer a token request, RFC 6749 §5.1.

        Raises:
            OAuthError: the request breaks one of the grant type's rules.
        """
        ...


def token_response(
    access_token: AccessToken, scopes: Sequence[str], refresh_token: str | None
) -> TokenResponse:
    """The members of RFC 6749 §5.1. `scope` is always there: it may be another one than was asked for."""
    response: TokenResponse = {
        "access_token": access_token.value,
        "token_type": "Bearer",
        "expires_in": access_token.expires_in,
        "scope": " ".join(scopes),
    }
    return response | ({"refresh_token": refresh_token} if refresh_token is not None else {})
