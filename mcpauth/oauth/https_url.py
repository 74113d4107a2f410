"""https URLs of others that this server may be asked to fetch, RFC 3986: judged on the raw string.

Every parser of URLs forgives something else, and what one forgives another is misled by. So nothing is parsed
before the whole text has one reading: ASCII, a host name in lower case with a dot and no address, a path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LENGTH = 2048

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PATH_CHARACTER = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
_URL = re.compile(
    # The last label starts with a letter: `127.1`, `0x7f.1` and `1.2.3.4` are addresses to some resolvers.
    rf"https://(?P<host>(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?)(?::(?P<port>[1-9][0-9]{{0,4}}))?"
    rf"(?P<path>(?:/{_PATH_CHARACTER}*)*)(?:\?(?P<query>(?:{_PATH_CHARACTER}|[/?])*))?"
)
_DOT = re.compile("%2e", re.IGNORECASE)
_MAX_HOST = 253  # RFC 1035 §2.3.4
# RFC 6761, RFC 6762, RFC 7686, RFC 9476 and ICANN's own: names that lead to this machine or its network.
_LOCAL_NAMES = (".localhost", ".local", ".internal", ".onion", ".alt", ".home.arpa")


@dataclass(frozen=True, slots=True)
class HttpsUrl:
    """An https URL in parts. `text` is the URL itself, byte for byte."""

    text: str
    host: str
    port: int
    path: str
    query: str | None

    @property
    def origin(self) -> str:
        """Whose server it is: host and port."""
        return f"{self.host}:{self.port}"


def https_url(text: str, *, local_names: bool = False) -> HttpsUrl:
    """The parts of a URL that may be fetched, as far as its text tells.

    `local_names` lets names of a local network pass: for URLs that an operator names.

    Raises:
        ValueError: another scheme, an address or a local name as host, user information, a fragment, a dot
            segment, a backslash, a blank or any other character that is not plainly a URL's, or too long.
    """
    match = _URL.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise ValueError("not an https URL with a host name, or too long")
    port = int(match["port"] or 443)
    if port > 65535 or len(match["host"]) > _MAX_HOST:
        raise ValueError("no valid host and port")
    if not local_names and match["host"].endswith(_LOCAL_NAMES):
        raise ValueError("the host is a local name")
    if any(_DOT.sub(".", segment) in (".", "..") for segment in match["path"].split("/")):
        raise ValueError("a dot segment in the path")
    return HttpsUrl(text, match["host"], port, match["path"], match["query"])
