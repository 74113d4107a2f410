"""Redirect URIs: which may be registered and when two match, RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §4.1.

Everything is decided on the raw string: redirects go astray where a parser and a browser disagree.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from mcpauth.oauth.errors import InvalidRedirectUri

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_LENGTH = 2000
# RFC 3986 without what browsers or logs read in their own way: space, quotes, <>, \, ^, `, {|}, controls,
# non-ASCII.
ALLOWED = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")
WEB = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.\-]*[A-Za-z0-9])?)"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<rest>(?:/[^?]*)?(?:\?.*)?)"
)
PRIVATE_USE = re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]*):(?://(?P<authority>[^/?]*))?(?P<rest>.*)")
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "[::1]", "localhost"})
# Never a client's own, whatever an operator lists: a browser acts on these itself.
BROWSER_SCHEMES = frozenset(
    {
        "about",
        "blob",
        "data",
        "file",
        "filesystem",
        "ftp",
        "http",
        "https",
        "javascript",
        "vbscript",
        "view-source",
        "ws",
        "wss",
    }
)
RESPONSE_PARAMETERS = frozenset(
    {"code", "state", "iss", "error", "error_description", "error_uri", "response"}
)
PRIVATE_USE_SCHEMES = frozenset({"claude", "cursor", "vscode", "vscode-insiders", "windsurf"})
"""Schemes of well-known MCP clients that are not a reversed domain name, as RFC 8252 §7.1 wants them."""


def check_redirect_uri(uri: str, *, private_use_schemes: Collection[str] = PRIVATE_USE_SCHEMES) -> None:
    """Refuse a redirect URI that must not be registered.

    Accepted: https; http to a loopback host; a private-use scheme that has a dot or is listed.

    Raises:
        InvalidRedirectUri: anything else; a fragment, user information, a wildcard host; a query that already
            has a parameter of an authorization response.
    """
    if len(uri) > MAX_LENGTH or not ALLOWED.fullmatch(uri):
        raise InvalidRedirectUri("a redirect URI has a fragment or a forbidden character, or is too long")
    if web := WEB.fullmatch(uri):
        _check_web(web)
    else:
        _check_private_use(uri, private_use_schemes)
    _, _, query = uri.partition("?")
    if any(name in RESPONSE_PARAMETERS for name, _ in parse_qsl(query, keep_blank_values=True)):
        raise InvalidRedirectUri("a redirect URI has a parameter of the authorization response")


def _check_web(web: re.Match[str]) -> None:
    if web["scheme"] == "http" and web["host"] not in LOOPBACK_HOSTS:
        raise InvalidRedirectUri(
            "a redirect URI with http must go to 127.0.0.1, [::1] or localhost; use https"
        )
    bracketed = web["host"].startswith("[")
    if bracketed and not _is_ipv6(web["host"][1:-1]):
        raise InvalidRedirectUri("a redirect URI has no valid host and port")
    if ".." in web["host"] or int(web["port"] or 0) > 65535:
        raise InvalidRedirectUri("a redirect URI has no valid host and port")


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _check_private_use(uri: str, private_use_schemes: Collection[str]) -> None:
    match = PRIVATE_USE.fullmatch(uri)
    scheme = match["scheme"] if match else ""
    if match is None or scheme in BROWSER_SCHEMES or not ("." in scheme or scheme in private_use_schemes):
        raise InvalidRedirectUri("a redirect URI must be https, loopback http, or of a private-use scheme")
    authority = match["authority"] or ""
    if "@" in authority or not (authority or match["rest"]):
        raise InvalidRedirectUri("a redirect URI has user information, or nothing after its scheme")
    # Parsers fail on brackets that hold no address (RFC 3986 §3.2.2), and no application is at one.
    if "[" in authority or "]" in authority:
        raise InvalidRedirectUri("a redirect URI of a private-use scheme has brackets in its authority")


def is_native(uri: str) -> bool:
    """Whether only a program on the user's device receives it: loopback http or a private-use scheme."""
    web = WEB.fullmatch(uri)
    return web is None or (web["scheme"] == "http" and web["host"] in LOOPBACK_HOSTS)


def matches(registered: str, requested: str) -> bool:
    """Whether a request may use it: the same string, or the same but for the port of loopback http.

    RFC 8252 §7.3: a native application gets its port from the system. 127.0.0.1, [::1] and localhost each
    match only themselves: another program may listen on the other one.
    """
    if registered == requested:
        return True
    ours, theirs = WEB.fullmatch(registered), WEB.fullmatch(requested)
    return (
        ours is not None
        and theirs is not None
        and ALLOWED.fullmatch(requested) is not None
        and ours["scheme"] == theirs["scheme"] == "http"
        and ours["host"] == theirs["host"]
        and ours["host"] in LOOPBACK_HOSTS
        and int(theirs["port"] or 0) <= 65535
        and ours["rest"] == theirs["rest"]
    )
