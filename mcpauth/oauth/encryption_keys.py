"""What the server's secrets are encrypted with in the store: AES-256-GCM, NIST SP 800-38D.

Several keys make it possible to change them: the first one encrypts, all of them decrypt.
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEY_BYTES = 32
NONCE_BYTES = 12  # §5.2.1.1; random ones are safe for far more records than there will ever be (§8.3)
_KEY = re.compile(r"[A-Za-z0-9_-]{43}=?")


class EncryptionKeys:
    """Seals texts to a place, and opens them there. No keys at all open nothing."""

    def __init__(
        self, keys: Sequence[bytes], *, token_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._ciphers = [AESGCM(key) for key in keys]
        self._token_bytes = token_bytes

    def __bool__(self) -> bool:
        return bool(self._ciphers)

    def seal(self, text: str, place: str) -> str:
        """The text under the first key. `place` is bound to it: moved to another one, it does not open."""
        nonce = self._token_bytes(NONCE_BYTES)
        sealed = self._ciphers[0].encrypt(nonce, text.encode(), place.encode())
        return urlsafe_b64encode(nonce + sealed).decode()

    def unseal(self, sealed: str, place: str) -> str:
        """The text again.

        Raises:
            ValueError: none of the keys opens it, or it was changed or moved.
        """
        return self._open(self._ciphers, sealed, place)

    def is_current(self, sealed: str, place: str) -> bool:
        """Whether it is sealed under the first key."""
        try:
            self._open(self._ciphers[:1], sealed, place)
        except ValueError:
            return False
        return True

    def _open(self, ciphers: Sequence[AESGCM], sealed: str, place: str) -> str:
        data = urlsafe_b64decode(sealed)
        for cipher in ciphers:
            try:
                return cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], place.encode()).decode()
            except (InvalidTag, ValueError):
                continue
        raise ValueError("no key opens it")


def read_keys(text: str) -> tuple[bytes, ...]:
    """The keys of a text, separated by commas or lines; the text is a secret, so no error repeats it.

    Raises:
        ValueError: there is none, or one is not 32 bytes of base64url.
    """
    words = re.split(r"[\s,]+", text.strip())
    if not all(_KEY.fullmatch(word) for word in words):
        raise ValueError(
            "must be 32 random bytes in base64url, several separated by commas; make one with:"
            ' python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    return tuple(urlsafe_b64decode(word.rstrip("=") + "=") for word in words)
