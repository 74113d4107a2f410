"""The signatures of this server's own tokens, RFC 7515 §5, in the compact serialization.

PyJWT's algorithms make and check them. What is the same for all tokens of a key is made once: its header.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jwt.algorithms import get_default_algorithms

from mcpauth.oauth.key_pair import ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwt.algorithms import Algorithm

    from mcpauth.oauth.key_pair import SigningKey
    from mcpauth_middleware.tokens.compact import CompactJws

_ALGORITHMS: Mapping[str, Algorithm] = {
    name: algorithm for name, algorithm in get_default_algorithms().items() if name in ALGORITHMS
}
_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def signed(claims: Mapping[str, Any], key: SigningKey, *, typ: str) -> str:
    """A token with these claims."""
    signing_input = _header(key.algorithm, key.kid, typ) + _base64url(_JSON.encode(claims).encode())
    signature = _ALGORITHMS[key.algorithm].sign(signing_input, key.private_key)
    return (signing_input + b"." + _base64url(signature)).decode()


def is_signed_by(key: SigningKey, jws: CompactJws) -> bool:
    """Whether the key signed it, in the key's own algorithm, whatever the header says that is not that."""
    if jws.header.get("alg") != key.algorithm or "crit" in jws.header:
        return False
    return _ALGORITHMS[key.algorithm].verify(jws.signing_input, key.public_key, jws.signature)


@lru_cache(maxsize=64)
def _header(algorithm: str, kid: str, typ: str) -> bytes:
    return _base64url(_JSON.encode({"alg": algorithm, "kid": kid, "typ": typ}).encode()) + b"."


def _base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
