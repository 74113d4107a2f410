"""Canonical resource identifiers, RFC 8707 §2: the one name by which a protected MCP server is known.

The same string stands in the protected resource metadata, in the `resource` parameter of a client
and in the `aud` of a token, so all three are compared in this form.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NOT_IN_A_URI = re.compile(r"[^\x21-\x7e]|[\"<>\\^`{|}]")
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?\.?")


def canonical_resource(uri: str) -> str:
    """The canonical form of a resource identifier.

    Scheme and host in lower case, no default port, and no trailing slash where there is no path:
    `http://rs/` and `http://rs` are one resource, `http://rs/mcp/` and `http://rs/mcp` are two.
    Path and query stay as they are: only the server knows which of their spellings are equal.

    Raises:
        ValueError: not an absolute http(s) URI with a host, or one with a fragment or userinfo.
    """
    parts = _split(uri)
    origin = origin_of(parts)
    path = "" if parts.path == "/" and not parts.query else parts.path
    return f"{origin}{path}?{parts.query}" if parts.query else f"{origin}{path}"


def origin_of(parts: SplitResult) -> str:
    """Scheme, host and port of an http(s) URI, RFC 6454 §6.2: lower case, without the default port.

    Raises:
        ValueError: the port is not a number a port can be.
    """
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    return f"{parts.scheme}://{host}" + (
        f":{port}" if port not in (None, _DEFAULT_PORTS.get(parts.scheme)) else ""
    )


def is_loopback_host(host: str) -> bool:
    """Whether a host, without its port, is this machine: 127.0.0.0/8, ::1 or the name `localhost`.

    Other names that happen to resolve to loopback are not: whoever owns the name could move it.
    """
    host = host.lower()
    if host == "localhost":
        return True
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address in _LOOPBACK_V4 if address.version == 4 else address == _LOOPBACK_V6


_LOOPBACK_V4 = ipaddress.IPv4Network("127.0.0.0/8")
_LOOPBACK_V6 = ipaddress.IPv6Address("::1")


def _split(uri: str) -> SplitResult:
    # urlsplit drops tabs and line breaks without a word, so the raw characters are looked at first.
    if _NOT_IN_A_URI.search(uri):
        raise ValueError(f"not a URI: a character must be percent-encoded (got {uri!r})")
    if "#" in uri:
        raise ValueError(
            f"must not have a fragment (RFC 8707 §2): remove the # and what follows (got {uri!r})"
        )
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"not a URI: {error} (got {uri!r})") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"must be an absolute URI that starts with https:// or http:// (got {uri!r})")
    if "@" in parts.netloc:
        raise ValueError("must not carry a user name or password before the host")
    if not _is_host(parts.hostname or "") or port == 0 or parts.netloc.endswith(":"):
        raise ValueError(f"must name a host, and a port only as host:port (got {uri!r})")
    return parts


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return False
        return "%" not in host  # a zone is meaningful on one machine only
    return _HOST_NAME.fullmatch(host) is not None
