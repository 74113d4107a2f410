"""`none`: a public client says who it is and proves nothing, RFC 6749 §2.1. PKCE protects its codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.oauth.client_authentication.method import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.form import Form

NAME = "none"


def credentials(headers: Mapping[str, str], form: Form) -> Credentials | None:
    """The `client_id`, where nothing in the request claims to prove it."""
    client_id = form.optional("client_id")
    proofs = (headers.get("authorization"), form.optional("client_secret"), form.optional("client_assertion"))
    return Credentials(client_id) if client_id is not None and not any(proofs) else None


def may_use(client: Client) -> bool:
    """A client that has a secret has to show it, at every endpoint."""
    return client.token_endpoint_auth_method == NAME


async def verify(client: Client | None, _credentials: Credentials) -> bool:
    """There is nothing to verify."""
    return client is not None
