"""Proof of possession, RFC 9449: a token that is bound to a key of its client is worth nothing without it.

The checks are those of §4.3, in an order in which the key is used only once it is known to be the one that
the authorization server bound the token to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast
from urllib.parse import quote, urlsplit

from mcpauth_middleware.errors import InvalidDpopProof, InvalidToken, UseDpopNonce
from mcpauth_middleware.resource import canonical_resource, origin_of
from mcpauth_middleware.tokens.dpop_proof import (
    Proof,
    check_request,
    check_token,
    only_proof,
    read_proof,
    without_query,
)
from mcpauth_middleware.tokens.replay import SeenProofs

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth_middleware.bearer import Credentials
    from mcpauth_middleware.exchange import Exchange
    from mcpauth_middleware.principal import Principal
    from mcpauth_middleware.tokens.dpop_nonce import DpopNonces

DpopMode = Literal["accepted", "required", "off"]


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
        proof = read_proof(only_proof(exchange.sent.all(b"dpop")), key=_bound_key(principal))
        check_request(proof, method=exchange.method, addresses=self._addresses(exchange), now=self._now())
        check_token(proof, credentials.token)
        if self._nonces is not None and not self._nonces.accepts(proof.claims.get("nonce")):
            raise UseDpopNonce(self._nonces.current())
        self._check_first_use(proof)

    def _addresses(self, exchange: Exchange) -> tuple[str, ...]:
        """Where the request may have been sent to: a proxy may have changed the path of the resource."""
        raw: bytes | None = exchange.scope.get("raw_path")
        path = raw.decode("latin-1") if raw else quote(exchange.scope["path"])
        # A request target of another form (RFC 9112 §3.2) would go on with the name of the host.
        sent_to = without_query(f"{self._origin}{path}") if path.startswith("/") else None
        return self._resource, sent_to or self._resource

    def _check_first_use(self, proof: Proof) -> None:
        if not self._seen.is_first(proof.key, proof.token_id, until=proof.ends_at):
            raise InvalidDpopProof("proof_used_before")


def _bound_key(principal: Principal) -> str:
    confirmation: object = principal.claims["cnf"]
    members = cast("dict[str, object]", confirmation) if isinstance(confirmation, dict) else {}
    key = members.get("jkt")
    # RFC 7800 §3.1: another way of confirmation is another proof, which nobody has looked at.
    if not isinstance(key, str) or not key.isascii() or members.keys() != {"jkt"}:
        raise InvalidToken("bound_in_another_way")
    return key
