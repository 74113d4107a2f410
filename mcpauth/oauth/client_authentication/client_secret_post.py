"""`client_secret_post`: id and secret in the body, RFC 6749 §2.3.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.oauth.client_authentication.method import SECRET_METHODS, Credentials, has_secret
from mcpauth.oauth.errors import InvalidClient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.form import Form

NAME = "client_secret_post"


def credentials(_headers: Mapping[str, str], form: Form) -> Credentials | None:
    """The `client_id` and `client_secret` of the body."""
    client_secret = form.optional("client_secret")
    if client_secret is None:
        return None
    client_id = form.optional("client_id")
    if client_id is None:
        raise InvalidClient("client_id is missing")
    return Credentials(client_id, (client_secret,))


def may_use(client: Client) -> bool:
    """As with `client_secret_basic`: any client with a secret."""
    return client.token_endpoint_auth_method in SECRET_METHODS


async def verify(client: Client | None, credentials: Credentials) -> bool:
    """Whether the secret is right."""
    return has_secret(client, credentials)
