"""What a web page may do: Host and Origin checks (MCP, Streamable HTTP, "Security") and CORS (Fetch §3.2).

No answer allows credentials: the token travels in a header that a page must set itself, so a cookie
that the browser would add can never speak for the user.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mcpauth_middleware.errors import MisdirectedRequest, OriginRefused
from mcpauth_middleware.resource import is_loopback_host, origin_of
from mcpauth_middleware.responses import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcpauth_middleware.asgi import Headers
    from mcpauth_middleware.request_headers import RequestHeaders

METHODS = ("GET", "HEAD", "POST", "DELETE")
"""What Streamable HTTP uses, and HEAD."""

_EXPOSED = (
    b"WWW-Authenticate, DPoP-Nonce, Mcp-Session-Id, MCP-Protocol-Version, Retry-After,"
    b" RateLimit-Policy, RateLimit"
)
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, \t-]{1,2000}")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}|\*))?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s\"]+")


class BrowserGuard:
    """Checks Host and Origin.

    Allowed by default are the resource's own host and origin; for a resource on loopback every
    loopback name, at any port, since rebinding needs a name that the attacker owns.

    Raises:
        ValueError: an entry of `allowed_hosts` or `allowed_origins` is not what it should be.
    """

    def __init__(
        self, *, resource: str, allowed_hosts: Sequence[str] = (), allowed_origins: Sequence[str] = ()
    ) -> None:
        parts = urlsplit(resource)
        self._loopback = is_loopback_host(parts.hostname or "")
        default_port = {"http": 80, "https": 443}[parts.scheme]
        own = origin_of(parts).partition("://")[2]
        self._hosts = {own, *map(_host_pattern, allowed_hosts)}
        if parts.port in (None, default_port):
            self._hosts.add(f"{own}:{default_port}")
        self._origins = {origin_of(parts), *map(_origin, allowed_origins)}

    def check(self, sent: RequestHeaders) -> str | None:
        """The Origin of the request, which may be absent: only browsers send it.

        Raises:
            MisdirectedRequest: the Host is missing, doubled or not one of ours.
            OriginRefused: the Origin is doubled or not allowed.
        """
        hosts = sent.all(b"host")
        host = hosts[0].decode("latin-1").lower() if len(hosts) == 1 else ""
        if host not in self._hosts and not self._is_like_ours(host):
            raise MisdirectedRequest("host")
        origins = sent.all(b"origin")
        if not origins:
            return None
        origin = origins[0].decode("latin-1")
        if len(origins) != 1 or not self._is_allowed(origin):
            raise OriginRefused("origin")
        return origin

    def _is_like_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        return f"{match[1]}:*" in self._hosts or (self._loopback and is_loopback_host(match[1]))

    def _is_allowed(self, origin: str) -> bool:
        if origin in self._origins:
            return True
        if not self._loopback:
            return False
        scheme, _, host = origin.partition("://")
        match = _HOST.fullmatch(host)
        return scheme in ("http", "https") and match is not None and is_loopback_host(match[1])


def is_preflight(sent: RequestHeaders) -> bool:
    """Whether by an OPTIONS request a browser asks if a page may send another: it never carries a token."""
    return b"origin" in sent and b"access-control-request-method" in sent


def preflight(sent: RequestHeaders) -> Answer:
    """The answer to a preflight, of an origin that was found allowed."""
    # Echoed, not listed: a tool's `Mcp-Param-*` headers are known to its clients only.
    asked = b"".join(sent.all(b"access-control-request-headers")[-1:]).decode("latin-1")
    return Answer(
        204,
        headers=(
            ("Access-Control-Allow-Methods", ", ".join(METHODS)),
            *((("Access-Control-Allow-Headers", asked),) if _HEADER_NAMES.fullmatch(asked) else ()),
            ("Access-Control-Max-Age", "600"),
        ),
    )


def readable_by(origin: str) -> Callable[[Headers], Headers]:
    """Lets pages of this origin read the answer, and replaces what the application said."""
    ours = [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    ]
    replaced = {
        b"access-control-allow-origin",
        b"access-control-allow-credentials",
        b"access-control-expose-headers",
    }

    def with_cors(headers: Headers) -> Headers:
        return [*((name, value) for name, value in headers if name.lower() not in replaced), *ours]

    return with_cors


def _host_pattern(entry: str) -> str:
    if not _HOST.fullmatch(entry.lower()):
        raise ValueError(
            f'allowed_hosts: each entry is "host", "host:port" or "host:*", without a scheme (got {entry!r})'
        )
    return entry.lower()


def _origin(entry: str) -> str:
    # "null" is what every sandboxed frame of every site sends, so allowing it allows anyone.
    if not _ORIGIN.fullmatch(entry.lower()) or "*" in entry:
        raise ValueError(
            f'allowed_origins: each is one origin such as "https://app.example", never "*" (got {entry!r})'
        )
    parts = urlsplit(entry.lower())
    return origin_of(parts) if parts.scheme in ("http", "https") else entry.lower()
