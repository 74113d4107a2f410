"""Clients with keys of their own that an operator registers: `jwks` and `jwks_uri`, RFC 7591 §2."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from mcpauth.oauth.client_keys import check_keys
from mcpauth.oauth.client_metadata import PRIVATE_KEY_JWT

if TYPE_CHECKING:
    from mcpauth.oauth.client_metadata import ClientMetadata


def with_keys(
    metadata: ClientMetadata, *, jwks: str | None = None, jwks_uri: str | None = None
) -> ClientMetadata:
    """The metadata of a client that signs, with these keys; unchanged when there are none.

    `jwks` is the JSON text of a set of public keys, `jwks_uri` where to fetch one.

    Raises:
        InvalidClientMetadata: keys that cannot be used.
        ValueError: `jwks` is not JSON.
    """
    if jwks is None and jwks_uri is None:
        return metadata
    try:
        keys = check_keys({"jwks": json.loads(jwks) if jwks is not None else None, "jwks_uri": jwks_uri})
    except (json.JSONDecodeError, RecursionError):
        raise ValueError("jwks: the file is not JSON") from None
    return replace(metadata, token_endpoint_auth_method=PRIVATE_KEY_JWT, rest={**metadata.rest, **keys})
