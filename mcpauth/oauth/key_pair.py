"""One key pair that signs tokens, RFC 7517 and RFC 7518 §3: made, stored, and its public half published."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from joserfc.jwk import ECKey, OKPKey, RSAKey

if TYPE_CHECKING:
    from mcpauth.oauth.store import Record

PrivateKey: TypeAlias = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey
PublicKey: TypeAlias = EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey

ALGORITHMS = ("ES256", "RS256", "EdDSA")
DEFAULT_ALGORITHM = ALGORITHMS[0]
_RSA_BITS = 2048  # RFC 7518 §3.3: at least; every verifier takes it, and more would cost every token

_KEY_TYPES: dict[str, type[ECKey | RSAKey | OKPKey]] = {"ES256": ECKey, "RS256": RSAKey, "EdDSA": OKPKey}


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A key pair. `kid` is its RFC 7638 thumbprint; `jwk` is the public half."""

    kid: str
    algorithm: str
    private_key: PrivateKey
    public_key: PublicKey
    jwk: dict[str, Any]


async def new_private_jwk(algorithm: str) -> dict[str, Any]:
    """A new key pair as a private JWK."""
    while True:
        # Finding RSA primes takes a noticeable moment, in which others are served.
        key = await asyncio.to_thread(_generate, algorithm)
        # A command line would take such a `kid` for an option.
        if not key.thumbprint().startswith("-"):
            return key.as_dict(private=True)


def _generate(algorithm: str) -> ECKey | RSAKey | OKPKey:
    if algorithm == "RS256":
        return RSAKey.generate_key(_RSA_BITS, private=True)
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519", private=True)
    return ECKey.generate_key("P-256", private=True)


def signing_key(record: Record) -> SigningKey:
    """The key pair of a record.

    Raises:
        ValueError: the record holds no key pair of a known algorithm.
    """
    algorithm: str = record["algorithm"]
    if algorithm not in _KEY_TYPES:
        raise ValueError("a signing key in the store has an unknown algorithm")
    key = _KEY_TYPES[algorithm].import_key(record["private_jwk"])
    private_key = key.private_key
    if not isinstance(private_key, EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey):
        raise ValueError("a signing key in the store has no private half")  # noqa: TRY004 - the data is wrong
    kid = key.thumbprint()
    public = {**key.as_dict(private=False), "kid": kid, "use": "sig", "alg": algorithm}
    return SigningKey(kid, algorithm, private_key, private_key.public_key(), public)
