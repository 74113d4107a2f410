"""The public keys of clients, RFC 7591 §2 `jwks` and `jwks_uri`: in the metadata, or where it says.

Which keys are used, and with which algorithm, is decided by `KeySet`, as for every other signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from mcpauth.oauth.document_cache import DocumentCache, Limits
from mcpauth.oauth.errors import InvalidClientMetadata
from mcpauth.oauth.fetching import Fetch, FetchFailed
from mcpauth.oauth.https_url import https_url
from mcpauth_middleware.tokens.jwks import KeySet, VerificationKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.fetch_budget import FetchBudget

# ES384 is left out: no MCP client signs with it.
SIGNING_ALGORITHMS = ("ES256", "RS256", "PS256", "EdDSA", "Ed25519")
MAX_KEYS = 10  # a client that rotates has two; one without `kid` is tried against each
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})  # RFC 7518 §6
MEMBERS = ("kty", "crv", "x", "y", "n", "e", "kid", "use", "alg", "key_ops")
LIMITS = Limits(max_bytes=32 * 1024, longest_seconds=60 * 60, documents=200)


class KeysUnavailable(Exception):
    """The keys of a client could not be had; the text says why, for the operator."""


def check_keys(members: Mapping[str, Any]) -> dict[str, Any]:
    """The `jwks` or `jwks_uri` of client metadata, cut to what is public.

    Raises:
        InvalidClientMetadata: both of them; a set without usable keys or with private or shared ones; a URI
            that could not be fetched.
    """
    jwks, jwks_uri = members.get("jwks"), members.get("jwks_uri")
    if jwks is not None and jwks_uri is not None:
        raise InvalidClientMetadata("jwks and jwks_uri exclude each other")
    if jwks is not None:
        return {"jwks": _public_keys(jwks)}
    return {"jwks_uri": _checked_uri(jwks_uri)} if jwks_uri is not None else {}


def _checked_uri(uri: object) -> str:
    try:
        return https_url(uri if isinstance(uri, str) else "").text
    except ValueError:
        raise InvalidClientMetadata("jwks_uri is not an https URL of a public host") from None


def _public_keys(jwks: object) -> dict[str, Any]:
    listed = cast("dict[str, object]", jwks).get("keys") if isinstance(jwks, dict) else None
    keys = cast("list[object]", listed) if isinstance(listed, list) else []
    if not 0 < len(keys) <= MAX_KEYS or not all(isinstance(key, dict) for key in keys):
        raise InvalidClientMetadata(f"jwks is not a JWK Set of 1 to {MAX_KEYS} keys")
    found = cast("list[dict[str, Any]]", keys)
    if any(PRIVATE_MEMBERS & key.keys() or key.get("kty") == "oct" for key in found):
        raise InvalidClientMetadata("jwks has a private or shared key")
    public = {"keys": [_public(key) for key in found if _is_readable(key)]}
    if not _usable(KeySet.from_document(public)):
        raise InvalidClientMetadata("jwks has no key for a signature of this server's algorithms")
    return public


def _public(key: Mapping[str, Any]) -> dict[str, Any]:
    return {name: key[name] for name in MEMBERS if name in key}


def _is_readable(key: Mapping[str, Any]) -> bool:
    """Whether its members are what RFC 7517 §4 has: texts, and `key_ops` a list of them. §5: others are
    ignored.
    """
    operations: object = key.get("key_ops", [])
    texts = cast("list[object]", operations) if isinstance(operations, list) else [None]
    texts = [*texts, *(key[name] for name in MEMBERS if name in key and name != "key_ops")]
    return all(isinstance(text, str) for text in texts)


def _usable(keys: KeySet) -> bool:
    return any(keys.find(None, algorithm) for algorithm in SIGNING_ALGORITHMS)


def find_keys(keys: KeySet, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
    """The keys of a set that may have signed; one that was published without a `kid` may be meant."""
    return keys.find(kid, algorithm) or [key for key in keys.find(None, algorithm) if key.kid is None]


def _read(_url: str, document: object) -> KeySet:
    return KeySet.from_document(_public_keys(document))


class ClientKeys:
    """Finds the keys of clients; sets behind a `jwks_uri` are fetched and kept."""

    def __init__(self, fetch: Fetch, budget: FetchBudget, *, now: Callable[[], float]) -> None:
        self._remote = DocumentCache(fetch, _read, budget, LIMITS, now=now)

    async def find(self, client: Client, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The keys with which the client may have signed; without a `kid`, each that fits the algorithm.

        Raises:
            KeysUnavailable: its `jwks_uri` cannot be fetched, or has no usable keys.
            TemporarilyUnavailable: too many are being fetched.
        """
        uri = client.metadata.get("jwks_uri")
        if not isinstance(uri, str):
            return find_keys(KeySet.from_document(client.metadata.get("jwks", {"keys": []})), kid, algorithm)
        found = find_keys(await self._fetched(uri), kid, algorithm)
        # A key that is not there may have been published a moment ago.
        return found or find_keys(await self._fetched(uri, renew=True), kid, algorithm)

    async def _fetched(self, uri: str, *, renew: bool = False) -> KeySet:
        try:
            return await self._remote.get(https_url(uri), renew=renew)
        except (ValueError, FetchFailed) as error:
            raise KeysUnavailable(str(error)) from None
        except InvalidClientMetadata as error:
            raise KeysUnavailable(error.description) from None
