"""The public keys of trusted issuers, RFC 7517: in the settings, or fetched from where the settings say.

Fetched sets are kept for an hour at most. An unknown `kid` has a set fetched anew, once a minute at most, so
that neither a new key has to wait nor a stranger can make this server knock at an issuer's door.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from mcpauth.oauth.client_keys import find_keys
from mcpauth.oauth.document_cache import BACK_OFF_SECONDS, DocumentCache, Limits
from mcpauth.oauth.errors import TemporarilyUnavailable
from mcpauth.oauth.fetch_budget import FetchBudget
from mcpauth.oauth.fetching import Fetch, FetchFailed
from mcpauth.oauth.https_url import https_url
from mcpauth_middleware.tokens.jwks import KeySet, VerificationKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcpauth.oauth.trusted_issuer import TrustedIssuer

LIMITS = Limits(max_bytes=64 * 1024, longest_seconds=60 * 60, documents=100)


class IssuerKeys:
    """Finds them. `fetch_internal` is for issuers whose keys may be on a private network."""

    def __init__(self, fetch: Fetch, fetch_internal: Fetch, *, now: Callable[[], float]) -> None:
        # Apart from the budget of clients' documents: no stranger can spend it.
        budget = FetchBudget(now=now)
        self._public = DocumentCache(fetch, _read, budget, LIMITS, now=now)
        self._internal = DocumentCache(fetch_internal, _read, budget, LIMITS, now=now)
        self._own: dict[str, KeySet] = {}

    async def find(self, issuer: TrustedIssuer, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The keys with which it may have signed; without a `kid`, each that fits the algorithm.

        Raises:
            TemporarilyUnavailable: its keys cannot be had now, so nobody can tell.
        """
        if issuer.jwks_uri is None:
            return find_keys(self._inline(issuer), kid, algorithm)
        found = find_keys(await self._fetched(issuer, issuer.jwks_uri), kid, algorithm)
        # A key that is not there may have been published a moment ago.
        return found or find_keys(await self._fetched(issuer, issuer.jwks_uri, renew=True), kid, algorithm)

    def _inline(self, issuer: TrustedIssuer) -> KeySet:
        # Read once: importing a key costs as much as verifying with it.
        name = f"{issuer.kind} {issuer.issuer}"
        if name not in self._own:
            self._own[name] = KeySet.from_document(issuer.jwks or {"keys": []})
        return self._own[name]

    async def _fetched(self, issuer: TrustedIssuer, uri: str, *, renew: bool = False) -> KeySet:
        cache = self._internal if issuer.private_network else self._public
        try:
            return await cache.get(https_url(uri, local_names=issuer.private_network), renew=renew)
        except FetchFailed as error:
            raise IssuerUnavailable(error.reason) from None


class IssuerUnavailable(TemporarilyUnavailable):
    """The keys of an issuer cannot be had. `reason` is for the operator."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            "the keys of the assertion's issuer cannot be had now",
            headers={"Retry-After": str(BACK_OFF_SECONDS)},
        )


def _read(_url: str, document: object) -> KeySet:
    try:
        return KeySet.from_document(cast("dict[str, Any]", document) if isinstance(document, dict) else {})
    except ValueError as error:
        raise FetchFailed(f"not a JWK Set: {error}") from None
