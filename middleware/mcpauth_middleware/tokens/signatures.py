"""The signature algorithms of access tokens, RFC 7518 §3: what is the same for every token is made once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[bytes, bytes], None]
    """Takes a signature and what was signed, and raises `InvalidSignature`."""

_SHA256 = SHA256()
_ECDSA = {"ES256": ECDSA(_SHA256), "ES384": ECDSA(SHA384())}
_PKCS1 = PKCS1v15()
_PSS = PSS(mgf=MGF1(_SHA256), salt_length=_SHA256.digest_size)  # §3.5: as long as the hash


def check_of(key: object, algorithm: str) -> Check:
    """What checks signatures that the key makes with one algorithm.

    Raises:
        ValueError: it makes none.
    """
    match key, algorithm:
        case EllipticCurvePublicKey(), "ES256" | "ES384":
            return partial(_check_ecdsa, key, _ECDSA[algorithm], (key.curve.key_size + 7) // 8)
        case RSAPublicKey(), "RS256":
            return lambda signature, signed: key.verify(signature, signed, _PKCS1, _SHA256)
        case RSAPublicKey(), "PS256":
            return lambda signature, signed: key.verify(signature, signed, _PSS, _SHA256)
        case Ed25519PublicKey(), "EdDSA":
            return key.verify
        case _:
            raise ValueError("a key of another kind")


def _check_ecdsa(
    key: EllipticCurvePublicKey, ecdsa: ECDSA, size: int, signature: bytes, signed: bytes
) -> None:
    # §3.4: R and S side by side, each as long as the curve's order.
    if len(signature) != 2 * size:
        raise InvalidSignature
    r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    key.verify(encode_dss_signature(r, s), signed, ecdsa)
