"""Resource URIs (RFC 3986) that every server reads as the same resource.

A policy compares URIs as strings. Servers do not: many normalise first (pydantic's `AnyUrl` follows the
WHATWG URL standard: `file:///srv/../etc` becomes `file:///etc`), templates decode percent escapes in their
parameters, and some do not look at a query or a fragment. So what normalising would change is refused here,
and what decoding or leaving out would change is judged both ways.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from itertools import groupby
from urllib.parse import unquote

MAX_URI_LENGTH = 8192

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
# Controls, space and backslash: the WHATWG parser drops or replaces them.
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\]")
_DOT_SEGMENT = re.compile(r"(?:^|[/:])\.{1,2}(?=[/?#]|$)")
# `{name}` of an RFC 6570 template may stand for a host.
_TEMPLATE_EXPRESSION = re.compile(r"\{[^{}/?#]*\}")
_AUTHORITY = re.compile(
    r"//(?:(?P<user>[^/?#]*)@)?(?P<host>\[[^/?#\]]*\]|[^/?#:@\[\]]*)(?::(?P<port>[^/?#:@]*))?(?=[/?#]|$)"
)
# A password may stand alone, as in `redis://:password@host`: that is kept as it is.
_USER = re.compile(r"[^:@]+|[^:@]*:[^:@]+")
_PLAIN_HOST = re.compile(r"[a-z0-9._\-]+")
# What the WHATWG parser takes for an IPv4 address, and the one way to write it that it keeps.
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}")
_PORT = re.compile(r"0|[1-9][0-9]*")
_FILE_PATH = re.compile(r"///(?!/)")
# The schemes that the WHATWG parser normalises.
_DEFAULT_PORTS = {"http": "80", "ws": "80", "https": "443", "wss": "443", "ftp": "21"}


def decodings(uri: str) -> tuple[str, str, str]:
    """`uri` as it is, with its percent escapes decoded once, and twice."""
    if "%" not in uri:
        return (uri, uri, uri)
    once = unquote(uri, errors="replace")
    return (uri, once, unquote(once, errors="replace"))


def trimmings(uri: str) -> tuple[str, str, str]:
    """`uri` as it is, without its fragment, and without its query too.

    Templates of FastMCP, and those of mcp 2.x that have query parameters, match no more than the last.
    """
    plain = uri.partition("#")[0]
    return (uri, plain, plain.partition("?")[0])


def with_path(uri: str) -> str:
    """`uri` with the path that the WHATWG URL standard gives to one without: `https://a` is `https://a/`."""
    match = _SCHEME.match(uri)
    if match is None or match[1] not in _DEFAULT_PORTS:
        return uri
    authority = _AUTHORITY.match(uri, match.end())
    if authority is None or uri.startswith("/", authority.end()):
        return uri
    return f"{uri[: authority.end()]}/{uri[authority.end() :]}"


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
    rest = _TEMPLATE_EXPRESSION.sub("x", rest)
    if scheme in _DEFAULT_PORTS:
        return _web_authority_problem(scheme, rest)
    return _authority_problem(rest) if rest.startswith("//") else None


def _web_authority_problem(scheme: str, rest: str) -> str | None:
    match = _AUTHORITY.match(rest)
    host = "" if match is None else match["host"]
    if (
        match is None
        or match["user"] is not None
        or not (host.startswith("[") or _PLAIN_HOST.fullmatch(host))
    ):
        return "has no plain host: lower case, ASCII, no user information"
    if match["port"] == _DEFAULT_PORTS[scheme]:
        return "names the default port"
    if match["port"] is not None and not match["port"].isdecimal():
        return "has a port that is no number"
    if _NUMBER.fullmatch(host) and not _IPV4.fullmatch(host):
        return "has an IPv4 address that is not written as four decimal numbers"
    return _authority_problem(rest)


def _authority_problem(rest: str) -> str | None:
    """What the WHATWG parser would change in the authority of any URI."""
    match = _AUTHORITY.match(rest)
    if match is None:
        return None  # a name for which it has no rule
    if match["user"] is not None and not _USER.fullmatch(match["user"]):
        return "has user information that is empty, ends with a colon or holds another @"
    port = match["port"]
    if port is not None and (not port or (port.isdecimal() and not _PORT.fullmatch(port))):
        return "has a port that is empty or begins with 0"
    if match["host"].startswith("[") and match["host"] != _canonical_ipv6(match["host"]):
        return "has an IPv6 address that is not in its shortest form"
    return None


def _canonical_ipv6(host: str) -> str | None:
    """An address in brackets as the WHATWG URL standard writes it; None when it is none."""
    try:
        address = IPv6Address(host[1:-1])
    except ValueError:
        return None
    packed = address.packed
    pieces = [f"{packed[at] << 8 | packed[at + 1]:x}" for at in range(0, 16, 2)]
    runs = [(kind, len(list(run))) for kind, run in groupby(piece == "0" for piece in pieces)]
    longest = max((length for zeros, length in runs if zeros), default=0)
    if longest < 2:
        return f"[{':'.join(pieces)}]"
    zeros = f":{':'.join('0' * longest)}:"
    # The first of the longest runs.
    text = f":{':'.join(pieces)}:".replace(zeros, "::", 1)
    return f"[{text if text == '::' else _without_outer_colons(text)}]"


def _without_outer_colons(text: str) -> str:
    begin = 0 if text.startswith("::") else 1
    return text[begin : None if text.endswith("::") else -1]
