"""`client_secret_basic`: id and secret in the Authorization header, RFC 6749 §2.3.1 and RFC 7617.

§2.3.1 wants both form-encoded before they are joined. The Python SDK does so and the TypeScript SDK does not,
so the secret is read both ways. Our ids and secrets are the same in both readings.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from mcpauth.oauth.client_authentication.method import SECRET_METHODS, Credentials, has_secret
from mcpauth.oauth.errors import InvalidClient, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.form import Form

NAME = "client_secret_basic"

BASIC = re.compile(r"basic +([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)


def credentials(headers: Mapping[str, str], form: Form) -> Credentials | None:
    """The header's id and secret; a `client_id` in the body is not needed, and has to agree."""
    header = headers.get("authorization")
    if header is None:
        return None
    raw_id, raw_secret = _read(header)
    client_id, secret = _form_decoded(raw_id), _form_decoded(raw_secret)
    if form.optional("client_id") not in (None, client_id, raw_id):
        raise InvalidRequest("the client_id in the body is not the one in the Authorization header")
    return Credentials(client_id, (secret,) if secret == raw_secret else (secret, raw_secret))


def _read(header: str) -> tuple[str, str]:
    match = BASIC.fullmatch(header.strip(" "))
    client_id, colon, secret = _decoded(match[1]).partition(":") if match else ("", "", "")
    if not colon or not client_id or not (client_id + secret).isprintable():
        raise InvalidClient("the Authorization header is not a Basic one")
    return client_id, secret


def _decoded(text: str) -> str:
    """The text behind base64, "" when there is none: Python's decoder lets surplus padding pass."""
    try:
        decoded = b64decode(text, validate=True)
        return decoded.decode("utf-8") if b64encode(decoded).decode() == text else ""
    except ValueError:
        return ""


def _form_decoded(text: str) -> str:
    try:
        return unquote_plus(text, errors="strict")
    except ValueError:
        return text


def may_use(client: Client) -> bool:
    """Any client with a secret, whichever of the two ways it registered.

    Clients mix them up, and what protects a client is that the secret is right, not where it stands.
    """
    return client.token_endpoint_auth_method in SECRET_METHODS


async def verify(client: Client | None, credentials: Credentials) -> bool:
    """Whether the secret is right."""
    return has_secret(client, credentials)
