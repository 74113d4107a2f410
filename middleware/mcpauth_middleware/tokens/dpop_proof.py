"""DPoP proofs, RFC 9449 §4: a short JWT with which a client shows, for one request, that it has a key.

The checks are those of §4.3 which are the same wherever a proof is shown: at a resource server and at an
authorization server.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from mcpauth_middleware.errors import InvalidDpopProof, InvalidToken
from mcpauth_middleware.resource import canonical_resource
from mcpauth_middleware.tokens.compact import read_compact
from mcpauth_middleware.tokens.jwks import ALGORITHMS, keys_of
from mcpauth_middleware.tokens.thumbprint import REQUIRED_MEMBERS, thumbprint, unpadded

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mcpauth_middleware.tokens.compact import CompactJws

SIGNING_ALGORITHMS = tuple(sorted(ALGORITHMS))
MAX_AGE_SECONDS = 60
"""§11.1: a proof is made for one request, so what takes longer to arrive was kept."""
MAX_EARLY_SECONDS = 30
"""For clocks that differ."""

_HEADER_MEMBERS = frozenset({"alg", "jwk", "typ"})
_MAX_ID = 256
# 4096 bits, and an exponent of 32: the client chooses the key, and we pay for verifying with it.
_MAX_MODULUS, _MAX_EXPONENT = 683, 6
# What a key may be described with besides its required members. Everything else could be its private half.
_DESCRIPTION = frozenset({"alg", "key_ops", "kid", "use"})


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof whose signature is verified."""

    key: str
    """The thumbprint of the key that made it."""
    claims: Mapping[str, Any]

    @property
    def token_id(self) -> str:
        """Its `jti`, which must not come twice.

        Raises:
            InvalidDpopProof: it has none.
        """
        token_id = self.claims.get("jti")
        if not isinstance(token_id, str) or not 0 < len(token_id) <= _MAX_ID:
            raise InvalidDpopProof("proof_id")
        return token_id

    @property
    def ends_at(self) -> int:
        """The moment from which it is too old to be used again; only after `check_request`."""
        return int(self.claims["iat"]) + MAX_AGE_SECONDS


def only_proof(proofs: Sequence[bytes]) -> str:
    """The one proof among the values of the `DPoP` headers of a request.

    Raises:
        InvalidDpopProof: none, or several.
    """
    if len(proofs) != 1:
        raise InvalidDpopProof("no_proof" if not proofs else "two_proofs")
    return proofs[0].strip(b" ").decode("latin-1")


def read_proof(text: str, *, key: str | None = None) -> Proof:
    """Take a proof apart and verify it with the key in it; where `key` is known, with no other one.

    Raises:
        InvalidDpopProof: it is none, of another key, or its signature is not that key's.
    """
    try:
        jws = read_compact(text)
    except InvalidToken:
        raise InvalidDpopProof("proof_malformed") from None
    jwk = _public_key(jws.header)
    made_by = thumbprint(jwk)
    if key is not None and not equal(made_by, key):
        raise InvalidDpopProof("proof_of_another_key")
    _check_signature(jws, jwk)
    return Proof(made_by, jws.claims)


def check_request(proof: Proof, *, method: str, addresses: Collection[str | None], now: float) -> None:
    """Refuse a proof that was made for another request. `addresses` have no query.

    Raises:
        InvalidDpopProof: another method or address, or not made just now.
    """
    claims = proof.claims
    if claims.get("htm") != method:
        raise InvalidDpopProof("proof_method")
    address = without_query(claims.get("htu"))
    if address is None or address not in addresses:
        raise InvalidDpopProof("proof_address")
    issued_at = claims.get("iat")
    if type(issued_at) is not int or not now - MAX_AGE_SECONDS < issued_at <= now + MAX_EARLY_SECONDS:
        raise InvalidDpopProof("proof_time")


def check_token(proof: Proof, token: str) -> None:
    """Refuse a proof that was made for a request with another token.

    Raises:
        InvalidDpopProof: `ath` is missing, or not the token's hash.
    """
    if not equal(proof.claims.get("ath"), unpadded(hashlib.sha256(token.encode()).digest())):
        raise InvalidDpopProof("proof_of_another_token")


def _public_key(header: Mapping[str, Any]) -> dict[str, object]:
    typ, alg, jwk = header.get("typ"), header.get("alg"), header.get("jwk")
    # No `kid`, `x5c` or `crit`: the key is in the proof and nowhere else.
    if frozenset(header) != _HEADER_MEMBERS or not isinstance(typ, str) or typ.lower() != "dpop+jwt":
        raise InvalidDpopProof("proof_header")
    if not isinstance(alg, str) or alg not in ALGORITHMS or not isinstance(jwk, dict):
        raise InvalidDpopProof("proof_header")
    public = cast("dict[str, object]", jwk)
    required = REQUIRED_MEMBERS.get(str(public.get("kty")), ())
    texts = [public.get(name) for name in required]
    if not required or not all(isinstance(text, str) for text in texts):
        raise InvalidDpopProof("proof_key")
    if not public.keys() <= _DESCRIPTION.union(required):
        raise InvalidDpopProof("proof_key")
    if len(str(public.get("n", ""))) > _MAX_MODULUS or len(str(public.get("e", ""))) > _MAX_EXPONENT:
        raise InvalidDpopProof("proof_key")
    return public


def _check_signature(jws: CompactJws, jwk: dict[str, object]) -> None:
    keys = [key for key in keys_of(jwk) if key.algorithm == jws.header["alg"]]
    if not any(key.verifies(jws.signing_input, jws.signature) for key in keys):
        raise InvalidDpopProof("proof_signature")


def without_query(uri: object) -> str | None:
    """§4.3: `htu` is compared in its normal form, whatever query or fragment it has."""
    if not isinstance(uri, str):
        return None
    try:
        return canonical_resource(uri.partition("#")[0].partition("?")[0])
    except ValueError:
        return None


def equal(given: object, expected: str) -> bool:
    """Whether it is the text that is expected, in constant time."""
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), expected.encode())
