"""The answer to a refresh, kept for a client that lost it, RFC 9700 §4.14.2, under a key made by RFC 5869.

A refresh token is good for once; but real clients lose answers, and sessions share a token. So the same
answer is given again to the same question, for a short while. The key is derived from the refresh token of
the question, of which the store has only a digest: whoever reads the store cannot read the answer.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PURPOSE = b"mcpauth refresh token replay v1"
NONCE_BYTES = 12


def seal(answer: Mapping[str, Any], refresh_token: str, *, token_bytes: Callable[[int], bytes]) -> str:
    """The answer as it is stored, which only the presented refresh token opens."""
    nonce = token_bytes(NONCE_BYTES)
    text = json.dumps(answer, separators=(",", ":")).encode()
    return urlsafe_b64encode(nonce + _cipher(refresh_token).encrypt(nonce, text, None)).decode()


def unseal(sealed: str, refresh_token: str) -> dict[str, Any]:
    """The answer.

    Raises:
        ValueError: the refresh token is another one, or what is stored was changed.
    """
    data = urlsafe_b64decode(sealed)
    try:
        text = _cipher(refresh_token).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], None)
    except InvalidTag:
        raise ValueError("the stored answer does not belong to this refresh token") from None
    answer: dict[str, Any] = json.loads(text)
    return answer


def _cipher(refresh_token: str) -> AESGCM:
    # The token holds 384 random bits, so a key derivation that is meant to be fast will do.
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE)
    return AESGCM(kdf.derive(refresh_token.encode()))
