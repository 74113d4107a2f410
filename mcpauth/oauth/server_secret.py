"""Secrets that the server makes for itself at its first start and keeps in its store: none has a default,
none is configured.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth.oauth.store import Store

_KIND = "secret"
_BYTES = 32


async def server_secret(
    store: Store, purpose: str, *, token_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> bytes:
    """The secret for one purpose; made when there is none. Two processes that start at once get the same."""
    # `add` refuses a taken key, so whichever process comes second reads what the first one made.
    await store.add(_KIND, purpose, {"value": token_bytes(_BYTES).hex()})
    record = await store.get(_KIND, purpose)
    if record is None:
        raise LookupError(f"the store lost the secret for {purpose}")
    return bytes.fromhex(record["value"])
