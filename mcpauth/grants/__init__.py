"""Grant types: the ways to get tokens, RFC 6749 §1.3. One file each, named after its `grant_type`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from mcpauth.oauth.access_token import AccessToken
    from mcpauth.oauth.client import Client
    from mcpauth.oauth.form import Form

TokenResponse: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token request: its client has proved who it is, and may use the grant type.

    `key` is the thumbprint of the key that a proof of the request shows the client to have (RFC 9449 §5).
    """

    client: Client
    form: Form
    key: str | None = None


class GrantType(Protocol):
    """A way to get tokens. What all of them share, the token endpoint has done."""

    async def __call__(self, request: TokenRequest) -> TokenResponse:
        """Answer a token request, RFC 6749 §5.1.

        Raises:
            OAuthError: the request breaks one of the grant type's rules.
        """
        ...


def token_response(access_token: AccessToken, refresh_token: str | None) -> TokenResponse:
    """The members of RFC 6749 §5.1. `scope` is always there: it may be another one than was asked for."""
    response: TokenResponse = {
        "access_token": access_token.value,
        "token_type": access_token.token_type,
        "expires_in": access_token.expires_in,
        "scope": access_token.permission.scope,
    }
    return response | ({"refresh_token": refresh_token} if refresh_token is not None else {})
