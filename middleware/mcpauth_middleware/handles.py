"""Handles for state that a server keeps between calls, each bound to the user it was given to.

Under MCP 2026-07-28 a server has no session: what it wants to remember between calls travels through the
client as an argument of the next one, where anybody could put somebody else's. A handle says whose it is and
until when, and proves that this server made it. Nothing is stored here; what it stands for is kept by the
server under `Handle.key`, which two users never share.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from mcpauth_middleware.principal import current_principal
from mcpauth_middleware.tokens.thumbprint import unpadded

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth_middleware.principal import Principal

RANDOM_BYTES = 16
MIN_KEY_BYTES = 32
DEFAULT_LIFETIME = timedelta(hours=1)

_TIME_BYTES, _MAC_BYTES = 6, 16
_LENGTH = 51  # of 16 + 6 + 16 bytes in base64url
_logger = logging.getLogger(__name__)


class HandleRefused(Exception):
    """Not a handle of this server for this caller, or its time is over. Which of these, nobody is told."""

    def __init__(self) -> None:
        super().__init__("unknown or expired handle")


@dataclass(frozen=True, slots=True)
class Handle:
    """What the client gets, and under what the server keeps its state."""

    value: str
    """For the client: 128 random bits, a time and a MAC."""
    key: str
    """For the server's store: another one for each issuer, user and handle."""


class StateHandles:
    """Makes handles and knows them again.

    Args:
        key: At least 32 random bytes that all processes of the server share; None: new ones, so that handles
            end with this process.
        lifetime: How long a handle is good.
        now: The clock, in epoch seconds.
        token_bytes: Randomness.

    Raises:
        ValueError: the key is too short, or the lifetime is no time.
    """

    def __init__(
        self,
        key: bytes | None = None,
        *,
        lifetime: timedelta = DEFAULT_LIFETIME,
        now: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        if key is not None and len(key) < MIN_KEY_BYTES:
            raise ValueError(f"key: must be at least {MIN_KEY_BYTES} random bytes")
        if lifetime <= timedelta(0):
            raise ValueError(f"lifetime: must be more than 0 (got {lifetime})")
        self._key = key or secrets.token_bytes(MIN_KEY_BYTES)
        self._lifetime = lifetime.total_seconds()
        self._now = now
        self._token_bytes = token_bytes

    def mint(self, principal: Principal | None = None) -> Handle:
        """A new handle for the caller of this tool, or the principal given."""
        owner = principal or current_principal()
        expires_at = int(self._now() + self._lifetime)
        body = self._token_bytes(RANDOM_BYTES) + expires_at.to_bytes(_TIME_BYTES, "big")
        value = unpadded(body + self._mac(body, owner))
        return Handle(value, _storage_key(value, owner))

    def check(self, value: str, principal: Principal | None = None) -> Handle:
        """The handle that the caller presents.

        Raises:
            HandleRefused: it is not the caller's, not from here, or not good any more.
        """
        owner = principal or current_principal()
        data = _decoded(value)
        body, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
        is_genuine = hmac.compare_digest(mac, self._mac(body, owner))
        if not is_genuine or int.from_bytes(body[RANDOM_BYTES:], "big") <= self._now():
            _logger.warning(
                "A state handle was refused: issuer %r, subject %r, client %r",
                owner.issuer,
                owner.subject,
                owner.client_id,
            )
            raise HandleRefused
        return Handle(value, _storage_key(value, owner))

    def _mac(self, body: bytes, owner: Principal) -> bytes:
        return hmac.digest(self._key, body + _digest(owner), "sha256")[:_MAC_BYTES]


def _digest(owner: Principal) -> bytes:
    # Each by itself, so that no two pairs of issuer and subject give the same.
    parts = (
        hashlib.sha256(part.encode(errors="surrogatepass")).digest() for part in (owner.issuer, owner.subject)
    )
    return hashlib.sha256(b"".join(parts)).digest()


def _storage_key(value: str, owner: Principal) -> str:
    return hashlib.sha256(_digest(owner) + value.encode()).hexdigest()


def _decoded(value: object) -> bytes:
    if not isinstance(value, str) or len(value) != _LENGTH or not value.isascii():
        raise HandleRefused
    try:
        data = urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except ValueError:
        raise HandleRefused from None
    if unpadded(data) != value:
        raise HandleRefused
    return data
