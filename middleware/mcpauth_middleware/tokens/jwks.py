"""JSON Web Key Sets, RFC 7517: the public keys of an issuer, each bound to the algorithms it is for.

The algorithm is decided by the key, never by the token (RFC 8725 §3.1). Keys become key objects
once, when the set is read: importing one costs as much as verifying with it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from mcpauth_middleware.tokens.signatures import check_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mcpauth_middleware.tokens.signatures import Check

ALGORITHMS = frozenset({"ES256", "ES384", "Ed25519", "EdDSA", "PS256", "RS256"})
"""Asymmetric ones only: with a shared key every resource server could issue tokens."""

MAX_KEYS = 32
"""An issuer that rotates has two or three. A token without `kid` is tried against each of its algorithm."""

_ALGORITHMS_OF = {
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
    ("RSA", None): ("RS256", "PS256"),
}
# RFC 9864 §2.2: the same algorithm by the name that says all of it, which libraries have begun to write.
_FORMER_NAMES = {"Ed25519": "EdDSA"}
# Private members of a set that was published by mistake are not even looked at.
_PUBLIC_MEMBERS = ("kty", "crv", "x", "y", "n", "e")
_MIN_RSA_BITS = 2048  # RFC 7518 §3.3
# Far above what is in use. Beyond, anyone can have milliseconds of work done for each key, without a token.
_MAX_RSA_BITS, _MAX_RSA_EXPONENT = 8192, 2**32


class VerificationKey(NamedTuple):
    """One public key with one algorithm."""

    kid: str | None
    algorithm: str
    check: Check

    def verifies(self, signing_input: bytes, signature: bytes) -> bool:
        """Whether this key made the signature."""
        try:
            self.check(signature, signing_input)
        except InvalidSignature:
            return False
        return True


class KeySet:
    """The usable signing keys of a JWK Set; members it does not understand are skipped, as §5 asks."""

    def __init__(self, keys: Sequence[VerificationKey], members: Sequence[object] = ()) -> None:
        self._members = members
        self._found: defaultdict[tuple[str | None, str], list[VerificationKey]] = defaultdict(list)
        for key in keys:
            # Without a `kid` in the token each of the algorithm may have signed it.
            for kid in {None, key.kid}:
                self._found[kid, key.algorithm].append(key)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> KeySet:
        """Read a set.

        Raises:
            ValueError: it has no `keys`, or more than an issuer needs.
        """
        members = document.get("keys")
        if not isinstance(members, list):
            raise ValueError("no keys member")  # noqa: TRY004  what is wrong is the document, not a Python type
        members = cast("list[object]", members)
        if len(members) > MAX_KEYS:
            raise ValueError(f"more than {MAX_KEYS} keys")
        return cls(
            [key for jwk in members if isinstance(jwk, dict) for key in keys_of(cast("dict[str, Any]", jwk))],
            members,
        )

    def is_same_as(self, other: KeySet) -> bool:
        """Whether both were read from equal documents."""
        return self._members == other._members

    def find(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The keys that may have signed a token with this header; without a `kid`, each of the algorithm."""
        return self._found.get((kid, algorithm), ())


def keys_of(jwk: dict[str, Any]) -> Iterator[VerificationKey]:
    """What one JWK verifies: nothing, when it is not a public key for signatures that can be used."""
    if jwk.get("use", "sig") != "sig" or "verify" not in _list(jwk.get("key_ops", ["verify"])):
        return
    kid = jwk.get("kid")
    public = {name: jwk[name] for name in _PUBLIC_MEMBERS if name in jwk}
    for algorithm in _algorithms_of(jwk):
        name = _FORMER_NAMES.get(algorithm, algorithm)
        try:
            key = PyJWK(public, name).key
            check = check_of(key, name)
        except (PyJWTError, ValueError, TypeError):
            return
        if not isinstance(key, RSAPublicKey) or _is_sound(key):
            yield VerificationKey(kid if isinstance(kid, str) else None, algorithm, check)


def _is_sound(key: RSAPublicKey) -> bool:
    # A short one can be computed back from its public half.
    size, exponent = key.key_size, key.public_numbers().e
    return _MIN_RSA_BITS <= size <= _MAX_RSA_BITS and exponent <= _MAX_RSA_EXPONENT


def _algorithms_of(jwk: Mapping[str, Any]) -> Sequence[str]:
    kty, crv, alg = jwk.get("kty"), jwk.get("crv"), jwk.get("alg")
    if not isinstance(kty, str) or not isinstance(crv, str | None):
        return ()
    possible = _ALGORITHMS_OF.get((kty, crv), ())
    return possible if alg is None else [name for name in possible if name == alg]


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
