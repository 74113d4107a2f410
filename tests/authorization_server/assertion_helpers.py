"""Clients with keys of their own, and what they sign."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import joserfc.jwt
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc.jwk import OKPKey
from jwt.algorithms import get_default_algorithms
from jwt.utils import base64url_encode

from tests.authorization_server.front_helpers import ISSUER, START

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from mcpauth.oauth.client import Client
    from tests.authorization_server.front_helpers import Running

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class Key:
    """A key pair and the algorithm it is used with."""

    algorithm: str
    private: Any
    jwk: dict[str, Any]

    def with_kid(self, kid: str) -> dict[str, Any]:
        return self.jwk | {"kid": kid}


# RFC 9864 §2.2; PyJWT knows the older one alone.
_OLDER_NAMES = {"Ed25519": "EdDSA"}


@cache
def key(algorithm: str = "ES256", number: int = 0) -> Key:
    """The key pair of this algorithm and number; the same each time."""
    made: dict[str, PrivateKeyTypes] = {}
    if algorithm == "ES256":
        made[algorithm] = ec.generate_private_key(ec.SECP256R1())
    elif algorithm in ("EdDSA", "Ed25519"):
        made[algorithm] = ed25519.Ed25519PrivateKey.generate()
    else:
        made[algorithm] = rsa.generate_private_key(65537, 2048)
    private: Any = made[algorithm]
    public: Any = get_default_algorithms()[_OLDER_NAMES.get(algorithm, algorithm)].to_jwk(
        private.public_key()
    )
    members = {
        name: value
        for name, value in json.loads(public).items()
        if name in {"kty", "crv", "x", "y", "n", "e"}
    }
    return Key(algorithm, private, members)


def claims_of(client_id: str, **changed: object) -> dict[str, Any]:
    """Correct claims, but for what is changed; None takes one out."""
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": ISSUER,
        "exp": START + 300,
        "iat": START,
        "jti": "first",
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def signed(by: Key, claims: dict[str, Any], **header: Any) -> str:
    """The assertion; `alg` in the header stays the key's unless it is changed."""
    algorithm = header.pop("alg", by.algorithm)
    if algorithm in _OLDER_NAMES:
        private = OKPKey.import_key(
            {**by.jwk, "d": base64url_encode(by.private.private_bytes_raw()).decode()}
        )
        return joserfc.jwt.encode({"alg": algorithm, **header}, claims, private, algorithms=[algorithm])
    return jwt.encode(claims, by.private, algorithm=algorithm, headers=header or None)


def form(assertion: str, **more: str) -> dict[str, str]:
    """The request parameters of a revocation, at which nothing else can go wrong."""
    return {"token": "x", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion, **more}


async def client_with(server: Running, *keys: dict[str, Any], **metadata: Any) -> Client:
    """A registered client with these keys."""
    values: dict[str, Any] = {
        "client_name": "Signer",
        "redirect_uris": ["https://signer.example/cb"],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": list(keys)},
    }
    client, secret = await server.clients.register(values | metadata, source="pre-registered")
    assert secret is None
    return client
