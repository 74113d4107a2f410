"""ID tokens, OpenID Connect Core 1.0 §2: a client learns who signed in, when and how."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mcpauth.oauth.identity import OPENID
from mcpauth.oauth.jws import signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth.oauth.grant import Grant
    from mcpauth.oauth.key_rings import KeyRings

# RFC 8725 §3.11: nothing that takes another kind of token takes this one.
TYP = "JWT"


class IdTokens:
    """Signs ID tokens, with the keys of the access tokens; as usual, or with an `algorithm` of their own.

    `identity` is the resource that has `openid`.
    """

    def __init__(
        self,
        issuer: str,
        keys: KeyRings,
        *,
        identity: str,
        algorithm: str | None = None,
        lifetime: timedelta = timedelta(minutes=10),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._keys = keys
        self._identity = identity
        self._algorithm = algorithm
        self._lifetime = int(lifetime.total_seconds())
        self._now = now

    def algorithms(self) -> frozenset[str]:
        """With which algorithms they are signed, now or soon."""
        return self._keys.algorithms(self._algorithm)

    def mint(self, grant: Grant, *, nonce: str | None) -> str | None:
        """The ID token of a grant, for its client alone; None when the user does not allow `openid`.

        `nonce` is that of the authorization request, which ties the token to it.
        """
        if not grant.allows(self._identity, OPENID):
            return None
        now = int(self._now())
        known = {
            "nonce": nonce,
            "auth_time": grant.auth_time,
            "acr": grant.acr,
            "amr": list(grant.amr) or None,
        }
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "sub": grant.user_id,
            "aud": grant.client_id,
            "exp": now + self._lifetime,
            "iat": now,
            **{name: value for name, value in known.items() if value is not None},
        }
        return signed(claims, self._keys.current(self._algorithm), typ=TYP)
