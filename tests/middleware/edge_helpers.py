"""What the tests of the edge share: an issuer that really serves its documents, and requests to make."""

from __future__ import annotations

import base64
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import anyio
import httpx2
import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from mcpauth_middleware import JwtVerifier, McpAuthMiddleware, Policy
from mcpauth_middleware.asgi import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from starlette.applications import Starlette

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

ISSUER = "https://as.example"
RESOURCE = "https://rs.example/mcp"
METADATA_URL = "https://rs.example/.well-known/oauth-protected-resource/mcp"
NOW = 1_800_000_000

ES256_KEY = ec.generate_private_key(ec.SECP256R1())
ES384_KEY = ec.generate_private_key(ec.SECP384R1())
ED25519_KEY = ed25519.Ed25519PrivateKey.generate()
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(key: PrivateKey, *, kid: str | None = None, **members: Any) -> dict[str, Any]:
    """The public half of a key, as a JWK."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        jwk = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**jwk, **({"kid": kid} if kid else {}), **members}


@dataclass
class Clock:
    """A clock that the test moves."""

    time: float = NOW

    def __call__(self) -> float:
        return self.time


@dataclass
class IssuerServer:
    """An authorization server's public documents, over ASGI."""

    issuer: str = ISSUER
    documents: dict[str, Any] = field(default_factory=dict[str, Any])
    requests: list[str] = field(default_factory=list[str])
    status: int | None = None
    """Answer everything with this status."""

    def __post_init__(self) -> None:
        self.publish(public_jwk(ES256_KEY, kid="k1"))
        self.documents["/.well-known/oauth-authorization-server"] = {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/jwks",
        }

    def publish(self, *keys: Mapping[str, Any]) -> None:
        self.documents["/jwks"] = {"keys": list(keys)}

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.requests.append(scope["path"])
        document = self.documents.get(scope["path"])
        status = self.status or (200 if document is not None else 404)
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = [(b"content-type", b"application/json"), (b"location", b"/elsewhere")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def client(self) -> httpx2.AsyncClient:
        return client_of(self)


def client_of(
    app: ASGIApp, *, base_url: str = "https://rs.example", address: str = "192.0.2.7"
) -> httpx2.AsyncClient:
    """An HTTP client that reaches the app without a socket."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app, client=(address, 4711)), base_url=base_url)


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good token; a claim given as None is left out."""
    good: dict[str, Any] = {
        "iss": ISSUER,
        "sub": "user-1",
        "aud": RESOURCE,
        "exp": NOW + 600,
        "iat": NOW,
        "jti": "token-1",
        "client_id": "client-1",
        "scope": "files:read",
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def mint(
    payload: Mapping[str, Any] | bytes | None = None,
    *,
    key: PrivateKey = ES256_KEY,
    alg: str = "ES256",
    kid: str | None = "k1",
    typ: str | None = "at+jwt",
    header: Mapping[str, Any] | bytes | None = None,
) -> str:
    """A signed token, good unless told otherwise."""
    if payload is None:
        payload = claims()
    if header is None:
        header = {"alg": alg, **({"typ": typ} if typ else {}), **({"kid": kid} if kid else {})}
    first = header if isinstance(header, bytes) else json.dumps(header).encode()
    second = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signing_input = f"{b64(first)}.{b64(second)}"
    algorithm = jwt.get_algorithm_by_name(alg)
    signature = algorithm.sign(signing_input.encode(), algorithm.prepare_key(key))
    return f"{signing_input}.{b64(signature)}"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def lifespan(app: Starlette) -> AbstractAsyncContextManager[object]:
    """Run the lifespan of a Starlette application."""
    return app.router.lifespan_context(app)


REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
HANDSHAKE_REVISIONS = REVISIONS[:-1]
MODERN = "2026-07-28"

POLICY = """
version = 1
[scopes]
"files:write" = ["files:read"]
[[rules]]
id = "readers"
allow = { tools = ["read_file", "whoami"], prompts = ["greet"], resources = ["demo://public/**"] }
scopes = ["files:read"]
[[rules]]
id = "writers"
allow = { tools = ["write_file"], prompts = ["draft"] }
scopes = ["files:write"]
[[rules]]
id = "never"
deny = { tools = ["drop_*"] }
"""


@dataclass
class Journal:
    """An audit sink in memory."""

    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    broken: bool = False

    async def record(self, event: Mapping[str, Any]) -> None:
        if self.broken:
            raise OSError("the disk is full")
        self.events.append(dict(event))


@dataclass
class RecordingApp:
    """An ASGI application that notes what reaches it, and answers with one JSON document."""

    scopes: list[Scope] = field(default_factory=list[Scope])
    bodies: list[bytes] = field(default_factory=list[bytes])
    answer: dict[str, Any] = field(default_factory=lambda: {"jsonrpc": "2.0", "id": 1, "result": {}})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        event = await receive()
        assert event["type"] == "http.request"
        self.bodies.append(event.get("body", b""))
        body = json.dumps(self.answer).encode()
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": body})


def protect(app: ASGIApp, **options: Any) -> McpAuthMiddleware:
    """The app behind the middleware, with the issuer's real documents one request away."""
    return McpAuthMiddleware(app, **edge_options(**options))


def edge_options(**options: Any) -> dict[str, Any]:
    """Options for `McpAuthMiddleware` that a test may change."""
    clock = options.get("now", Clock())
    good: dict[str, Any] = {
        "resource": RESOURCE,
        "authorization_servers": [ISSUER],
        "policy": Policy.from_toml(POLICY),
        "audit": Journal(),
        "now": clock,
    }
    chosen = {**good, **options}
    if "verifier" not in chosen:
        chosen["verifier"] = JwtVerifier(
            resource=chosen["resource"], issuers=[ISSUER], http_client=IssuerServer().client(), now=clock
        )
    return chosen


def bearer(token: str | None = None, **claims_changed: Any) -> dict[str, str]:
    """The Authorization header of a good token, or of the one given."""
    return {"Authorization": f"Bearer {token or mint(claims(**claims_changed))}"}


def message(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    revision: str = MODERN,
    id: int | str | None = 1,  # noqa: A002  JSON-RPC's own word
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a POST that carries one message, as a client of the revision sends it."""
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    members = dict(params or {})
    if revision != REVISIONS[0]:
        headers["MCP-Protocol-Version"] = revision
    if revision == MODERN:
        headers["Mcp-Method"] = method
        if name := members.get("name") or members.get("uri"):
            headers["Mcp-Name"] = name
        members["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": revision,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        }
    document: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": members}
    if id is not None:
        document["id"] = id
    return headers, json.dumps(document).encode()


async def post(
    client: httpx2.AsyncClient,
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    path: str = "/mcp",
    headers: Mapping[str, str] | None = None,
    **options: Any,
) -> httpx2.Response:
    """POST one message, with the headers given added to those of the revision."""
    own, body = message(method, params, **options)
    return await client.post(
        path, headers={**own, **(bearer() if headers is None else headers)}, content=body
    )


def rpc(response: httpx2.Response) -> dict[str, Any]:
    """The JSON-RPC message of a response, from JSON or from its one SSE event."""
    if response.headers["content-type"].startswith("text/event-stream"):
        data = [
            line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")
        ]
        return cast("dict[str, Any]", json.loads(data[-1]))
    return cast("dict[str, Any]", response.json())


LOOPBACK = "http://127.0.0.1:9401"
LOOPBACK_RESOURCE = f"{LOOPBACK}/mcp"


async def open_session(
    client: httpx2.AsyncClient, revision: str, headers: Mapping[str, str]
) -> dict[str, str]:
    """The handshake of the older revisions; gives the headers that the session's requests need."""
    if revision == MODERN:
        return {}
    params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    response = await post(client, "initialize", params, revision=revision, headers=headers)
    assert response.status_code == 200, response.text
    assert rpc(response)["result"]["protocolVersion"] == revision
    session = {"Mcp-Session-Id": response.headers["Mcp-Session-Id"]}
    ready = await post(
        client, "notifications/initialized", revision=revision, id=None, headers={**headers, **session}
    )
    assert ready.status_code == 202
    return session


@asynccontextmanager
async def served(
    make_app: Callable[[str], ASGIApp], *, lifespan: Literal["on", "off"] = "on"
) -> AsyncGenerator[str]:
    """Serve an application on loopback, over real HTTP; `make_app` is told the address before."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(make_app(url), log_level="warning", lifespan=lifespan))
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [listening])
            while not server.started:  # noqa: ASYNC110  uvicorn tells in no other way
                await anyio.sleep(0.01)
            yield url
            server.should_exit = True
