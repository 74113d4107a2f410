"""Resource URIs (RFC 3986) that every server reads as the same resource.

A policy compares URIs as strings. Servers do not: many normalise first (pydantic's `AnyUrl` follows the
WHATWG URL standard: `file:///srv/../etc` becomes `file:///etc`), and templates decode percent escapes in
their parameters. So what normalising would change is refused here, and what decoding would change is
judged both ways.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

MAX_URI_LENGTH = 8192

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
# Controls, space and backslash: the WHATWG parser drops or replaces them.
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\]")
_DOT_SEGMENT = re.compile(r"(?:^|[/:])\.{1,2}(?=[/?#]|$)")
# `{name}` of an RFC 6570 template may stand for a host.
_TEMPLATE_EXPRESSION = re.compile(r"\{[^{}/?#]*\}")
_AUTHORITY = re.compile(r"//(?:[a-z0-9._\-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]+))?(?=[/?#]|$)")
_FILE_PATH = re.compile(r"///(?!/)")
# The schemes that the WHATWG parser normalises.
_DEFAULT_PORTS = {"http": "80", "ws": "80", "https": "443", "wss": "443", "ftp": "21"}


def decodings(uri: str) -> tuple[str, str, str]:
    """`uri` as it is, with its percent escapes decoded once, and twice."""
    if "%" not in uri:
        return (uri, uri, uri)
    once = unquote(uri, errors="replace")
    return (uri, once, unquote(once, errors="replace"))


def resource_uri_problem(uri: str) -> str | None:
    """Say why `uri` could mean two things, or return None when it cannot."""
    if not uri:
        return "is empty"
    if len(uri) > MAX_URI_LENGTH:
        return f"is longer than {MAX_URI_LENGTH} characters"
    read = decodings(uri)
    if unquote(read[-1], errors="replace") != read[-1]:
        return "is percent-encoded more than twice"
    if _UNSAFE.search(uri):
        return "holds a control character, a space or a backslash"
    if any(_DOT_SEGMENT.search(decoding.replace("\\", "/")) for decoding in read):
        return "holds a dot segment"
    if any(ord(character) < 0x20 for character in read[-1]):
        return "holds a control character"
    return _scheme_problem(uri)


def _scheme_problem(uri: str) -> str | None:
    match = _SCHEME.match(uri)
    if match is None:
        return None
    scheme, rest = match[1], uri[match.end() :]
    if scheme != scheme.lower():
        return "has a scheme that is not in lower case"
    if scheme == "file":
        return None if _FILE_PATH.match(rest) else "must begin with exactly file:///"
    if scheme in _DEFAULT_PORTS:
        return _authority_problem(scheme, rest)
    return None


def _authority_problem(scheme: str, rest: str) -> str | None:
    match = _AUTHORITY.match(_TEMPLATE_EXPRESSION.sub("x", rest))
    if match is None:
        return "has no plain host: lower case, ASCII, no user information"
    port = match["port"]
    return (
        "names the default port" if port is not None and port.lstrip("0") == _DEFAULT_PORTS[scheme] else None
    )
