"""Unguessable texts: ids, codes, tokens and secrets, RFC 6749 §10.10."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def random_text(token_bytes: Callable[[int], bytes], size: int = 32) -> str:
    """`size` random bytes in base64url without padding: 256 bits in 43 characters that are safe in a URL."""
    return urlsafe_b64encode(token_bytes(size)).rstrip(b"=").decode()
