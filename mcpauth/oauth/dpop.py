"""DPoP at the authorization server, RFC 9449: a client shows its key, and its tokens are bound to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mcpauth.oauth.errors import InvalidDpopProof, InvalidRequest, UseDpopNonce
from mcpauth.oauth.store import Store, digest
from mcpauth_middleware import errors as refusals
from mcpauth_middleware.tokens.dpop_proof import (
    SIGNING_ALGORITHMS,
    Proof,
    check_request,
    check_token,
    only_proof,
    read_proof,
    without_query,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcpauth.oauth.client import Client
    from mcpauth_middleware.tokens.dpop import DpopMode
    from mcpauth_middleware.tokens.dpop_nonce import DpopNonces

KIND = "dpop_proof"
CLIENT_MEMBER = "dpop_bound_access_tokens"
"""The client's metadata, §5.2: it never wants a token that is not bound."""

_CHALLENGE = {"WWW-Authenticate": f'DPoP error="invalid_dpop_proof", algs="{" ".join(SIGNING_ALGORITHMS)}"'}
_THUMBPRINT = re.compile(r"[A-Za-z0-9\-_]{43}")


class DpopProofs:
    """Finds the key that a request proves its client to have.

    `nonces` None: proofs need no nonce. Used proofs are remembered in the store, so that a proof is good for
    one of all processes.
    """

    def __init__(
        self, mode: DpopMode, store: Store, *, nonces: DpopNonces | None, now: Callable[[], float]
    ) -> None:
        self._mode: DpopMode = mode
        self._store = store
        self._nonces = nonces
        self._now = now

    @property
    def headers(self) -> Mapping[str, str]:
        """What an answer tells: the nonce of the next proof (§8.2)."""
        return {} if self._nonces is None else {"DPoP-Nonce": self._nonces.current()}

    async def key(self, client: Client, proofs: Sequence[bytes], *, method: str, uri: str) -> str | None:
        """The thumbprint of the key; None when the request has no proof and needs none.

        `proofs` are the values of the request's `DPoP` headers, `method` and `uri` where it was sent.

        Raises:
            InvalidDpopProof: a proof that is not good for this request, or none where there has to be one.
            UseDpopNonce: it is good but for the nonce.
        """
        if self._mode == "off":
            return None
        if not proofs and self._mode != "required" and client.metadata.get(CLIENT_MEMBER) is not True:
            return None
        try:
            proof = read_proof(only_proof(proofs))
            check_request(proof, method=method, addresses=[without_query(uri)], now=self._now())
            await self._use_up(proof)
        except refusals.InvalidDpopProof as error:
            raise InvalidDpopProof(_described(error)) from None
        return proof.key

    async def check_bound(
        self, token: str, *, key: str, proofs: Sequence[bytes], method: str, uri: str
    ) -> None:
        """Refuse a request with a token that is bound to `key`, unless it proves that its sender has the key.

        Raises:
            InvalidDpopProof, UseDpopNonce: with 401, as RFC 9449 §7.1 and §9 have it at a resource.
        """
        try:
            proof = read_proof(only_proof(proofs), key=key)
            check_request(proof, method=method, addresses=[without_query(uri)], now=self._now())
            check_token(proof, token)
            await self._use_up(proof)
        except refusals.InvalidDpopProof as error:
            raise InvalidDpopProof(_described(error), status=401, headers=_CHALLENGE) from None
        except UseDpopNonce as error:
            raise UseDpopNonce(error.nonce, status=401) from None

    async def _use_up(self, proof: Proof) -> None:
        token_id = proof.token_id
        if self._nonces is not None and not self._nonces.accepts(proof.claims.get("nonce")):
            raise UseDpopNonce(self._nonces.current())
        # A thumbprint always has the same length, so no two pairs of key and jti are one text.
        if not await self._store.add(KIND, digest(proof.key + token_id), {}, expires_at=proof.ends_at):
            raise refusals.InvalidDpopProof("proof_used_before")


def _described(error: refusals.InvalidDpopProof) -> str:
    return f"the request is refused: {error.reason.replace('_', ' ')}"


def checked_thumbprint(dpop_jkt: str | None) -> str | None:
    """The key to which an authorization request binds its code (§10).

    Raises:
        InvalidRequest: no thumbprint of a key.
    """
    if dpop_jkt is not None and not _THUMBPRINT.fullmatch(dpop_jkt):
        raise InvalidRequest("dpop_jkt is not the base64url of a SHA-256")
    return dpop_jkt
