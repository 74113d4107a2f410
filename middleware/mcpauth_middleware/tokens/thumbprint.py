"""The thumbprint of a public key, RFC 7638: the name by which a token is bound to it (RFC 9449 §6.1)."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUIRED_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
"""§3.2, RFC 8037 §2: the members that make a key, in the order of the thumbprint's input."""


def thumbprint(jwk: Mapping[str, object]) -> str:
    """SHA-256 of the key's required members and nothing else, §3.1.

    Raises:
        ValueError: not a public key of a known type.
    """
    members = {name: jwk.get(name) for name in REQUIRED_MEMBERS.get(str(jwk.get("kty")), ())}
    if not members or not all(isinstance(value, str) for value in members.values()):
        raise ValueError("not a public key of type EC, OKP or RSA")
    document = json.dumps(members, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return unpadded(hashlib.sha256(document.encode("utf-8", "surrogatepass")).digest())


def unpadded(data: bytes) -> str:
    """Base64url without padding, RFC 7515 §2."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()
