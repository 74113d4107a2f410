"""Access tokens, short-lived and for one resource: signed, RFC 9068, or opaque, which are looked up.

Both have the same claims. Those of an opaque token are in the store, under its digest; a signed one is stored
nowhere. What is bound to a key of its client says so in `cnf`, RFC 9449 §6.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mcpauth.oauth.grant import MARKER_MARGIN, Grant
from mcpauth.oauth.jws import is_signed_by, signed
from mcpauth.oauth.random_text import random_text
from mcpauth.oauth.store import Store, digest
from mcpauth_middleware.errors import InvalidToken
from mcpauth_middleware.tokens.bounded_cache import BoundedCache
from mcpauth_middleware.tokens.compact import read_compact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from mcpauth.oauth.key_pair import SigningKey
    from mcpauth.oauth.key_rings import KeyRings
    from mcpauth.oauth.permission import Permission

KIND = "access_token"
TYP = "at+jwt"
MAX_VERIFIED = 1000
"""Whose signatures are not verified again: a resource server asks about the same token many times."""
OPAQUE = re.compile(r"[A-Za-z0-9\-_]{43}")
_AS_USUAL: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, repr=False)
class AccessToken:
    """A token as the client gets it. `token_id` is its `jti`, which may be logged; the value may not."""

    value: str
    token_id: str
    expires_in: int
    permission: Permission
    key: str | None
    """The thumbprint of the key that it is bound to."""

    @property
    def token_type(self) -> str:
        """How it is used: RFC 6750 or, bound to a key, RFC 9449 §5."""
        return "Bearer" if self.key is None else "DPoP"


class AccessTokens:
    """Makes access tokens, and reads them back. Those for a resource in `opaque` are opaque.

    `algorithms` says how those for some resources are signed, where it is not as usual.

    Raises:
        ValueError: the lifetime is longer than a revoked grant is remembered, or not positive.
    """

    def __init__(
        self,
        issuer: str,
        keys: KeyRings,
        store: Store,
        *,
        opaque: Collection[str] = (),
        algorithms: Mapping[str, str] = _AS_USUAL,
        lifetime: timedelta = timedelta(minutes=10),
        now: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        if not timedelta(0) < lifetime <= MARKER_MARGIN:
            raise ValueError("access_token_lifetime: must be more than 0 and at most 1 day")
        self._issuer = issuer
        self._keys = keys
        self._store = store
        self._opaque = frozenset(opaque)
        self._algorithms = algorithms
        self._lifetime = int(lifetime.total_seconds())
        self._now = now
        self._token_bytes = token_bytes
        self._verified: BoundedCache[tuple[SigningKey, Mapping[str, Any]]] = BoundedCache(
            max_entries=MAX_VERIFIED, now=now
        )

    @property
    def lifetime(self) -> int:
        """Seconds from minting to expiry."""
        return self._lifetime

    async def mint(self, grant: Grant, permission: Permission, *, key: str | None = None) -> AccessToken:
        """A token for a permission of the grant, or for part of one."""
        claims: dict[str, Any] = {
            "sub": grant.user_id,
            "client_id": grant.client_id,
            "grant_id": grant.grant_id,
        }
        # RFC 9470 §6.1: a resource server may ask for a newer or another sign-in than this one.
        if grant.auth_time is not None:
            claims["auth_time"] = grant.auth_time
        if grant.acr is not None:
            claims["acr"] = grant.acr
        return await self._make(claims, permission, key)

    async def mint_for_client(
        self,
        client_id: str,
        permission: Permission,
        *,
        key: str | None = None,
        no_later_than: float = math.inf,
    ) -> AccessToken:
        """A token that a client gets in its own name: its `sub` is the client (RFC 9068 §2.2)."""
        claims = {"sub": client_id, "client_id": client_id}
        return await self._make(claims, permission, key, no_later_than=no_later_than)

    async def mint_from(
        self,
        subject: Mapping[str, Any],
        permission: Permission,
        *,
        client_id: str,
        act: Mapping[str, Any],
        key: str | None = None,
    ) -> AccessToken:
        """A token at another resource in exchange for one with the claims `subject`, RFC 8693 §4.

        It belongs to the same user and grant, lives no longer, and says in `act` who acts for the user.
        """
        kept = {name: subject[name] for name in ("sub", "grant_id", "auth_time", "acr") if name in subject}
        claims = {**kept, "client_id": client_id, "act": act}
        return await self._make(claims, permission, key, no_later_than=subject["exp"])

    async def _make(
        self,
        claims: Mapping[str, Any],
        permission: Permission,
        key: str | None,
        *,
        no_later_than: float = math.inf,
    ) -> AccessToken:
        now = int(self._now())
        token_id = self._token_bytes(16).hex()
        expires_at = int(min(now + self._lifetime, no_later_than))
        whole: dict[str, Any] = {
            "iss": self._issuer,
            **claims,
            "aud": permission.resource,
            "scope": permission.scope,
            "exp": expires_at,
            "iat": now,
            "jti": token_id,
        }
        if key is not None:
            whole["cnf"] = {"jkt": key}
        opaque = permission.resource in self._opaque
        value = await self._keep(whole) if opaque else self._sign(whole)
        return AccessToken(value, token_id, expires_at - now, permission, key)

    def _sign(self, claims: dict[str, Any]) -> str:
        return signed(claims, self._keys.current(self._algorithms.get(claims["aud"])), typ=TYP)

    async def _keep(self, claims: dict[str, Any]) -> str:
        value = random_text(self._token_bytes)
        await self._store.add(KIND, digest(value), claims, expires_at=claims["exp"])
        return value

    async def read(self, token: str) -> Mapping[str, Any] | None:
        """The claims of a token of this server that has not expired; None for anything else."""
        claims = await self._kept(token) if OPAQUE.fullmatch(token) else self._signed(token)
        if claims is None:
            return None
        return claims if claims["iss"] == self._issuer and claims["exp"] > self._now() else None

    async def _kept(self, token: str) -> Mapping[str, Any] | None:
        return await self._store.get(KIND, digest(token))

    def _signed(self, token: str) -> Mapping[str, Any] | None:
        known = self._verified.get(name := hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest())
        # A key that is not published any more takes with it what it signed.
        if known is not None and self._keys.find(known[0].kid) is known[0]:
            return known[1]
        try:
            jws = read_compact(token)
        except InvalidToken:
            return None
        key = self._keys.find(str(jws.header.get("kid")))
        if key is None or jws.header.get("typ") != TYP or not is_signed_by(key, jws):
            return None
        self._verified.put(name, (key, jws.claims), until=jws.claims["exp"])
        return jws.claims
