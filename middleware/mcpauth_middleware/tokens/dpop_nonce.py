"""Nonces of this server for DPoP proofs, RFC 9449 §9: a proof cannot have been made long before its use.

A nonce is a number that changes with time and a MAC of it, so that nothing is stored, and servers with one
key know each other's.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from mcpauth_middleware.tokens.thumbprint import unpadded

if TYPE_CHECKING:
    from collections.abc import Callable

CHANGE_SECONDS = 150
"""The one before counts too, so a nonce serves for two and a half to five minutes."""

MIN_KEY_BYTES = 32


class DpopNonces:
    """Gives nonces and knows them again.

    Raises:
        ValueError: the key is too short to be a secret.
    """

    def __init__(self, key: bytes, *, now: Callable[[], float]) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"dpop_nonce_key: must be at least {MIN_KEY_BYTES} random bytes")
        self._key = key
        self._now = now

    def current(self) -> str:
        """The nonce to use now."""
        return self._of(self._period())

    def accepts(self, nonce: object) -> bool:
        """Whether a proof with this nonce is a recent one."""
        if not isinstance(nonce, str) or not nonce.isascii():
            return False
        period = self._period()
        return any(hmac.compare_digest(nonce, self._of(period - age)) for age in (0, 1))

    def _period(self) -> int:
        return int(self._now() // CHANGE_SECONDS)

    def _of(self, period: int) -> str:
        return unpadded(hmac.digest(self._key, b"dpop nonce %d" % period, "sha256"))
