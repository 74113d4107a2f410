"""A client's key, and proofs that it has it, RFC 9449."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from tests.authorization_server.core_helpers import ISSUER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Key = ECKey | OKPKey | RSAKey | OctKey
TOKEN = f"{ISSUER}/token"


@dataclass
class Prover:
    """A client's key, with proofs made by joserfc (RFC 9449 §4.2)."""

    now: Callable[[], float]
    key: Key = field(default_factory=lambda: ECKey.generate_key("P-256"))
    alg: str = "ES256"
    made: int = 0

    def proof(self, header: Mapping[str, Any] | None = None, key: Key | None = None, **changed: Any) -> str:
        """A good proof but for what is changed; None takes a member out."""
        self.made += 1
        good: dict[str, Any] = {"typ": "dpop+jwt", "alg": self.alg, "jwk": self.key.as_dict(private=False)}
        members: dict[str, Any] = good | dict(header or {})
        claims: dict[str, Any] = {
            "jti": f"{id(self)}-{self.made}",
            "htm": "POST",
            "htu": TOKEN,
            "iat": int(self.now()),
        }
        claims |= changed
        head: dict[str, Any] = {name: value for name, value in members.items() if value is not None}
        return jws.serialize_compact(
            head,
            json.dumps({name: value for name, value in claims.items() if value is not None}),
            key or self.key,
            registry=jws.JWSRegistry(algorithms=[str(members["alg"])], strict_check_header=False),
        )

    @staticmethod
    def ath(token: str) -> str:
        """The hash of a token that goes into a proof, RFC 9449 §4.2."""
        return urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
