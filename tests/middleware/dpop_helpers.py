"""DPoP proofs, made by joserfc: what a client does that this project has no code for (RFC 9449 §4.2)."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, cast

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tests.middleware.edge_helpers import NOW, RESOURCE, claims, mint

Key = ECKey | OKPKey | RSAKey


@dataclass
class Prover:
    """A client with a key, and the token that is bound to it."""

    key: Key = field(default_factory=lambda: ECKey.generate_key("P-256"))
    alg: str = "ES256"
    issued: int = 0

    @property
    def jwk(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self.key.as_dict(private=False))

    @property
    def thumbprint(self) -> str:
        return self.key.thumbprint()

    def token(self, **changed: Any) -> str:
        return mint(claims(**{"cnf": {"jkt": self.thumbprint}, **changed}))

    def claims(self, token: str, **changed: Any) -> dict[str, Any]:
        self.issued += 1
        digest = hashlib.sha256(token.encode()).digest()
        good = {
            "jti": f"proof-{id(self)}-{self.issued}",
            "htm": "POST",
            "htu": RESOURCE,
            "iat": NOW,
            "ath": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        }
        return {name: value for name, value in {**good, **changed}.items() if value is not None}

    def proof(
        self,
        token: str,
        *,
        header: dict[str, Any] | None = None,
        key: Key | None = None,
        payload: bytes | None = None,
        **changed: Any,
    ) -> str:
        members: dict[str, Any] = {"typ": "dpop+jwt", "alg": self.alg, "jwk": self.jwk, **(header or {})}
        members = {name: value for name, value in members.items() if value is not None}
        body = payload if payload is not None else json.dumps(self.claims(token, **changed)).encode()
        registry = jws.JWSRegistry(algorithms=[members["alg"]], strict_check_header=False)
        return jws.serialize_compact(members, body, key or self.key, registry=registry)

    def headers(self, token: str | None = None, **options: Any) -> dict[str, str]:
        """What a request needs."""
        token = token or self.token()
        return {"Authorization": f"DPoP {token}", "DPoP": self.proof(token, **options)}
