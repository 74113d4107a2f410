"""An authorization server's public documents over real HTTP, and tokens it might have issued (RFC 9068)."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

from tests.middleware.edge_helpers import ES256_KEY, mint, public_jwk

if TYPE_CHECKING:
    from collections.abc import Generator


class LocalIssuer:
    """Issues tokens for any resource, and serves the key that they are verified with."""

    def __init__(self, identifier: str) -> None:
        self.identifier = identifier
        self.documents = {
            "/.well-known/oauth-authorization-server": {
                "issuer": identifier,
                "jwks_uri": f"{identifier}/jwks",
            },
            "/jwks": {"keys": [public_jwk(ES256_KEY, kid="k1")]},
        }

    def token(self, resource: str, *, scope: str = "files:read", sub: str = "ada", **claims: Any) -> str:
        """A good access token for ten minutes, unless told otherwise."""
        now = int(time.time())
        good = {
            "iss": self.identifier,
            "sub": sub,
            "aud": resource,
            "exp": now + 600,
            "iat": now,
            "jti": f"{sub}-1",
            "client_id": "client-1",
            "scope": scope,
        }
        return mint({**good, **claims})


@contextmanager
def local_issuer() -> Generator[LocalIssuer]:
    """The issuer, listening on loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            document = issuer.documents.get(self.path)
            body = json.dumps(document).encode()
            self.send_response(200 if document else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's own word
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = LocalIssuer(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
