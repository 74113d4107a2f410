"""Proof of possession, RFC 9449: a token that is bound to a key of its client is worth nothing without it.

The checks are those of §4.3, in an order in which the key is used only once it is known to be the one that
the authorization server bound the token to.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote, urlsplit

from mcpauth_middleware.errors import InvalidDpopProof, InvalidToken, UseDpopNonce
from mcpauth_middleware.resource import canonical_resource, origin_of
from mcpauth_middleware.tokens.compact import read_compact
from mcpauth_middleware.tokens.jwks import ALGORITHMS, keys_of
from mcpauth_middleware.tokens.replay import SeenProofs
from mcpauth_middleware.tokens.thumbprint import REQUIRED_MEMBERS, thumbprint, unpadded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpauth_middleware.bearer import Credentials
    from mcpauth_middleware.exchange import Exchange
    from mcpauth_middleware.principal import Principal
    from mcpauth_middleware.tokens.compact import CompactJws
    from mcpauth_middleware.tokens.dpop_nonce import DpopNonces

DpopMode = Literal["accepted", "required", "off"]

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


class DpopBinding:
    """Holds each token to the scheme it was issued for, §7.1, and a bound one to its key.

    `nonces` None: proofs need no nonce.
    """

    def __init__(
        self,
        mode: DpopMode,
        *,
        resource: str,
        now: Callable[[], float],
        nonces: DpopNonces | None = None,
        seen: SeenProofs | None = None,
    ) -> None:
        self.mode: DpopMode = mode
        parts = urlsplit(resource)
        self._origin = origin_of(parts)
        self._resource = canonical_resource(f"{self._origin}{parts.path}")
        self._nonces = nonces
        self._seen = seen or SeenProofs(now=now)
        self._now = now

    def check(self, credentials: Credentials, principal: Principal, exchange: Exchange) -> None:
        """Refuse a token that is used in another way than it was issued for.

        Raises:
            InvalidToken: bound and sent as Bearer, or not bound and sent as DPoP.
            InvalidDpopProof: bound, and the proof is not that of its key for this request.
        """
        bound = "cnf" in principal.claims
        if credentials.scheme == "Bearer":
            if bound:
                raise InvalidToken("bound_to_a_key")
            if self.mode == "required":
                raise InvalidToken("not_bound_to_a_key")
            return
        if not bound:
            raise InvalidToken("not_bound_to_a_key")
        proof = _read(_only_proof(exchange), key=_bound_key(principal))
        self._check_request(proof, credentials, exchange)
        if self._nonces is not None and not self._nonces.accepts(proof.claims.get("nonce")):
            raise UseDpopNonce(self._nonces.current())
        self._check_first_use(proof)

    def _check_request(self, proof: Proof, credentials: Credentials, exchange: Exchange) -> None:
        claims = proof.claims
        if claims.get("htm") != exchange.method:
            raise InvalidDpopProof("proof_method")
        if _without_query(claims.get("htu")) not in self._addresses(exchange):
            raise InvalidDpopProof("proof_address")
        expected = unpadded(hashlib.sha256(credentials.token.encode()).digest())
        if not _equal(claims.get("ath"), expected):
            raise InvalidDpopProof("proof_of_another_token")
        issued_at = claims.get("iat")
        now = self._now()
        if type(issued_at) is not int or not now - MAX_AGE_SECONDS < issued_at <= now + MAX_EARLY_SECONDS:
            raise InvalidDpopProof("proof_time")

    def _addresses(self, exchange: Exchange) -> tuple[str, ...]:
        """Where the request may have been sent to: a proxy may have changed the path of the resource."""
        raw: bytes | None = exchange.scope.get("raw_path")
        path = raw.decode("latin-1") if raw else quote(exchange.scope["path"])
        return self._resource, _without_query(f"{self._origin}{path}") or self._resource

    def _check_first_use(self, proof: Proof) -> None:
        token_id = proof.claims.get("jti")
        if not isinstance(token_id, str) or not 0 < len(token_id) <= _MAX_ID:
            raise InvalidDpopProof("proof_id")
        if not self._seen.is_first(proof.key, token_id, until=proof.claims["iat"] + MAX_AGE_SECONDS):
            raise InvalidDpopProof("proof_used_before")


def _only_proof(exchange: Exchange) -> str:
    proofs = [value for name, value in exchange.headers if name == b"dpop"]
    if len(proofs) != 1:
        raise InvalidDpopProof("no_proof" if not proofs else "two_proofs")
    return proofs[0].strip(b" ").decode("latin-1")


def _bound_key(principal: Principal) -> str:
    confirmation: object = principal.claims["cnf"]
    members = cast("dict[str, object]", confirmation) if isinstance(confirmation, dict) else {}
    key = members.get("jkt")
    # RFC 7800 §3.1: another way of confirmation is another proof, which nobody has looked at.
    if not isinstance(key, str) or members.keys() != {"jkt"}:
        raise InvalidToken("bound_in_another_way")
    return key


def _read(text: str, *, key: str) -> Proof:
    try:
        jws = read_compact(text)
    except InvalidToken:
        raise InvalidDpopProof("proof_malformed") from None
    jwk = _public_key(jws.header)
    if not _equal(thumbprint(jwk), key):
        raise InvalidDpopProof("proof_of_another_key")
    _check_signature(jws, jwk)
    return Proof(key, jws.claims)


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


def _without_query(uri: object) -> str | None:
    """§4.3: `htu` is compared in its normal form, whatever query or fragment it has."""
    if not isinstance(uri, str):
        return None
    try:
        return canonical_resource(uri.partition("#")[0].partition("?")[0])
    except ValueError:
        return None


def _equal(given: object, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), expected.encode())
