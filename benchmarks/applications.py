"""What is compared: an application that does nothing, behind us and behind what a user would take instead.

Every peer checks the same: signature, issuer, audience, times and one required scope. What costs a peer a
network request, its keys, is in memory for all of them.

    BENCHMARK_CASE="..." BENCHMARK_ALGORITHM=ES256 uvicorn --factory benchmarks.applications:served
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastmcp.server.auth.providers.jwt import JWTVerifier
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from starlette.middleware.authentication import AuthenticationMiddleware

from mcpauth_middleware import AuditJournal, McpAuthMiddleware, Policy, RateLimit
from mcpauth_middleware.audit import KEPT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mcp.server.auth.provider import TokenVerifier

    from mcpauth_middleware.asgi import ASGIApp, Receive, Scope, Send

ISSUER = "https://as.example"
RESOURCE = "http://127.0.0.1/mcp"
SCOPE = "files:read"

KEYS_FOLDER = "BENCHMARK_KEYS"
"""The variable that names the folder in which several processes share the issuer's keys."""


async def bare(_scope: Scope, receive: Receive, send: Send) -> None:
    """Read the request, and answer it."""
    while (await receive()).get("more_body", False):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


class PyJwtVerifier:
    """What a careful user writes for the SDK, which ships none."""

    def __init__(self, key: PublicKey, algorithm: str) -> None:
        self._key = key
        self._algorithm = algorithm

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[self._algorithm],
                issuer=ISSUER,
                audience=RESOURCE,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.InvalidTokenError:
            return None
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=claims["scope"].split(),
            expires_at=claims["exp"],
        )


class NoSink:
    """An audit sink that costs nothing."""

    def record(self, event: Mapping[str, Any]) -> Awaitable[None]:  # noqa: ARG002
        """Forget it."""
        return KEPT

    def record_text(self, members: str) -> Awaitable[None]:  # noqa: ARG002
        """Forget it before it becomes a dictionary."""
        return KEPT


def sdk_stack(verifier: TokenVerifier) -> ASGIApp:
    """The middleware that the SDK puts before a protected server."""
    guarded = RequireAuthMiddleware(bare, [SCOPE])
    return AuthenticationMiddleware(AuthContextMiddleware(guarded), backend=BearerAuthBackend(verifier))


def ours(algorithm: str, *, rules: int = 1, everything: bool = False, cached: bool = False) -> ASGIApp:
    """Our middleware."""
    options: dict[str, Any] = {"audit": NoSink()}
    if everything:
        folder = tempfile.mkdtemp(prefix="mcpauth-benchmark-")
        options = {
            "audit": AuditJournal(Path(folder) / "audit.jsonl"),
            # So high that none of them is met.
            "limits": [
                RateLimit("1000000/second", by=("user",)),
                RateLimit("1000000/second", by=("client",)),
                RateLimit("1000000/second", by=("user", "tool")),
            ],
        }
    return McpAuthMiddleware(
        bare,
        resource=RESOURCE,
        authorization_servers=[ISSUER],
        policy=_policy(rules),
        verified_token_lifetime=timedelta(seconds=60 if cached else 0),
        http_client=httpx2.AsyncClient(transport=httpx2.ASGITransport(_issuer(algorithm))),
        **options,
    )


CASES: dict[str, Callable[[str], ASGIApp]] = {
    "nothing": lambda _: bare,
    "mcp SDK, PyJWT": lambda algorithm: sdk_stack(PyJwtVerifier(public_key(algorithm), algorithm)),
    "FastMCP JWTVerifier": lambda algorithm: sdk_stack(
        JWTVerifier(public_key=_pem(algorithm), issuer=ISSUER, audience=RESOURCE, algorithm=algorithm)
    ),
    "ours, minimal": ours,
    "ours, everything": lambda algorithm: ours(algorithm, rules=100, everything=True),
    "ours, minimal, token seen before": lambda algorithm: ours(algorithm, cached=True),
    "ours, everything, token seen before": lambda algorithm: ours(
        algorithm, rules=100, everything=True, cached=True
    ),
    "ours, 1,000 rules, token seen before": lambda algorithm: ours(algorithm, rules=1000, cached=True),
}

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@cache
def private_key(algorithm: str) -> PrivateKey:
    """The issuer's key; the same in the processes that are given its folder."""
    folder = os.environ.get(KEYS_FOLDER)
    path = Path(folder) / f"{algorithm}.pem" if folder else None
    if path is not None and path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, PrivateKey)
        return key
    if algorithm == "ES256":
        return _kept(ec.generate_private_key(ec.SECP256R1()), path)
    return _kept(rsa.generate_private_key(public_exponent=65537, key_size=2048), path)


def public_key(algorithm: str) -> PublicKey:
    """What tokens are verified with."""
    return private_key(algorithm).public_key()


def token(algorithm: str) -> str:
    """An ordinary access token, good for an hour."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": "248289761001",
        "aud": RESOURCE,
        "exp": now + 3600,
        "iat": now,
        "jti": "dbe39bf3a3ba4238a513f51d6e1691c4",
        "client_id": "s6BhdRkqt3",
        "scope": SCOPE,
    }
    return jwt.encode(claims, private_key(algorithm), algorithm, headers={"typ": "at+jwt", "kid": "k1"})


def call() -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of one tool call, as a client of 2026-07-28 sends it."""
    version = "2026-07-28"
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
    }
    params = {"name": "read_file", "arguments": {"path": "/srv/share/report.txt"}, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    headers = [
        (b"host", b"127.0.0.1"),
        (b"content-type", b"application/json"),
        (b"accept", b"application/json, text/event-stream"),
        (b"content-length", str(len(body)).encode()),
        (b"mcp-protocol-version", version.encode()),
        (b"mcp-method", b"tools/call"),
        (b"mcp-name", b"read_file"),
    ]
    return headers, body


def served() -> ASGIApp:
    """The case that the environment names, for an ASGI server."""
    return CASES[os.environ["BENCHMARK_CASE"]](os.environ["BENCHMARK_ALGORITHM"])


def _issuer(algorithm: str) -> ASGIApp:
    """The issuer's documents, without a socket."""
    key = public_key(algorithm)
    members = (
        ECAlgorithm.to_jwk(key, as_dict=True)
        if isinstance(key, ec.EllipticCurvePublicKey)
        else RSAAlgorithm.to_jwk(key, as_dict=True)
    )
    jwk = {**members, "kid": "k1", "use": "sig"}
    documents: dict[str, Any] = {
        "/.well-known/oauth-authorization-server": {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"},
        "/jwks": {"keys": [jwk]},
    }

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        document = documents.get(scope["path"])
        headers = [(b"content-type", b"application/json")]
        status = 404 if document is None else 200
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(document).encode()})

    return answer


def _policy(rules: int) -> Policy:
    """So many rules, of which the last one is ours."""
    others = [(f"rule-{n}", f"tool_{n}_*", f"scope:{n}") for n in range(rules - 1)]
    text = "version = 1\n"
    for name, tool, scope in [*others, ("readers", "read_file", SCOPE)]:
        text += f'[[rules]]\nid = "{name}"\nallow = {{ tools = ["{tool}"] }}\nscopes = ["{scope}"]\n'
    return Policy.from_toml(text)


def _pem(algorithm: str) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return public_key(algorithm).public_bytes(encoding, form).decode()


def _kept(key: PrivateKey, path: Path | None) -> PrivateKey:
    if path is not None:
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        path.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    return key
