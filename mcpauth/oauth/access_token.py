"""Access tokens, RFC 9068: signed, short-lived, for one resource."""

from __future__ import annotations

import math
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jwt

from mcpauth.oauth.grant import MARKER_MARGIN, Grant
from mcpauth_middleware.errors import InvalidToken
from mcpauth_middleware.tokens.compact import CompactJws, read_compact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcpauth.oauth.signing_keys import SigningKeys

TYP = "at+jwt"


@dataclass(frozen=True, slots=True, repr=False)
class AccessToken:
    """A token as the client gets it. `token_id` is its `jti`, which may be logged; the value may not."""

    value: str
    token_id: str
    expires_in: int


class AccessTokens:
    """Signs access tokens, and reads them back.

    Raises:
        ValueError: the lifetime is longer than a revoked grant is remembered, or not positive.
    """

    def __init__(
        self,
        issuer: str,
        keys: SigningKeys,
        *,
        lifetime: timedelta = timedelta(minutes=10),
        now: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        if not timedelta(0) < lifetime <= MARKER_MARGIN:
            raise ValueError("access_token_lifetime: must be more than 0 and at most 1 day")
        self._issuer = issuer
        self._keys = keys
        self._lifetime = int(lifetime.total_seconds())
        self._now = now
        self._token_bytes = token_bytes

    @property
    def lifetime(self) -> int:
        """Seconds from minting to expiry."""
        return self._lifetime

    def mint(self, grant: Grant, scopes: Sequence[str]) -> AccessToken:
        """A token for what the grant allows, or for the part of it that `scopes` names."""
        claims: dict[str, Any] = {
            "sub": grant.user_id,
            "aud": grant.resource,
            "client_id": grant.client_id,
            "scope": " ".join(scopes),
            "grant_id": grant.grant_id,
        }
        if grant.auth_time is not None:
            claims["auth_time"] = grant.auth_time
        return self._sign(claims)

    def mint_for_client(self, client_id: str, resource: str, scopes: Sequence[str]) -> AccessToken:
        """A token that a client gets in its own name: its `sub` is the client (RFC 9068 §2.2)."""
        return self._sign(
            {"sub": client_id, "aud": resource, "client_id": client_id, "scope": " ".join(scopes)}
        )

    def mint_from(
        self,
        subject: Mapping[str, Any],
        *,
        client_id: str,
        resource: str,
        scopes: Sequence[str],
        act: Mapping[str, Any],
    ) -> AccessToken:
        """A token at another resource in exchange for one with the claims `subject`, RFC 8693 §4.

        It belongs to the same user and grant, lives no longer, and says in `act` who acts for the user.
        """
        kept = {name: subject[name] for name in ("sub", "grant_id", "auth_time") if name in subject}
        claims = {**kept, "aud": resource, "client_id": client_id, "scope": " ".join(scopes), "act": act}
        return self._sign(claims, no_later_than=subject["exp"])

    def _sign(self, claims: Mapping[str, Any], *, no_later_than: float = math.inf) -> AccessToken:
        now = int(self._now())
        token_id = self._token_bytes(16).hex()
        expires_at = int(min(now + self._lifetime, no_later_than))
        key = self._keys.current
        value = jwt.encode(
            {"iss": self._issuer, **claims, "exp": expires_at, "iat": now, "jti": token_id},
            key.private_key,
            algorithm=key.algorithm,
            headers={"typ": TYP, "kid": key.kid},
        )
        return AccessToken(value, token_id, expires_at - now)

    def read(self, token: str) -> Mapping[str, Any] | None:
        """The claims of a token that this server signed and that has not expired; None for anything else."""
        try:
            jws = read_compact(token)
        except InvalidToken:
            return None
        if not self._is_ours(token, jws):
            return None
        claims = jws.claims
        return claims if claims["iss"] == self._issuer and claims["exp"] > self._now() else None

    def _is_ours(self, token: str, jws: CompactJws) -> bool:
        key = self._keys.find(str(jws.header.get("kid")))
        if key is None or jws.header.get("typ") != TYP:
            return False
        try:
            jwt.PyJWS().decode(token, key.public_key, algorithms=[key.algorithm])
        except jwt.InvalidTokenError:
            return False
        return True
