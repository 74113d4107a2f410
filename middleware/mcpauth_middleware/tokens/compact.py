"""The JWS compact serialization, RFC 7515 §7.1, read so that one token has exactly one spelling.

Base64url decoders differ in what they forgive (padding, spare bits, foreign characters). Here each
segment must be what encoding its bytes gives back, so nothing can be appended to a token unnoticed.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from mcpauth_middleware.errors import InvalidToken
from mcpauth_middleware.message.strict_json import StrictJsonError, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TOKEN_BYTES = 8192
"""As much as common servers accept for all headers together, so no token in real use is longer."""

_LAST_CHARACTERS: Final = {2: b"AQgw", 3: b"AEIMQUYcgkosw048"}
"""By how many characters are left after the last four."""
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


class CompactJws(NamedTuple):
    """The parts of a token. Nothing of it is verified."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signing_input: bytes
    signature: bytes


def read_compact(token: str) -> CompactJws:
    """Take a token apart.

    Raises:
        InvalidToken: longer than 8 KiB, not three canonical segments, or not two strict JSON objects.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken("too_long")
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise InvalidToken("malformed")
    data, header_end, claims_end = token.encode(), match.end(1), match.end(2)
    standard = data.translate(_STANDARD)
    return CompactJws(
        _header(standard[:header_end]),
        _object(_decode(standard[header_end + 1 : claims_end])),
        data[:claims_end],
        _decode(standard[claims_end + 1 :]),
    )


@lru_cache(128)
def _header(segment: bytes) -> Mapping[str, Any]:
    """An issuer begins all its tokens alike, so it is read once."""
    return MappingProxyType(_object(_decode(segment)))


def _decode(segment: bytes) -> bytes:
    """The bytes of a segment, in which "-" and "_" are "+" and "/"."""
    rest = len(segment) % 4
    # RFC 4648 §3.5: the bits of the last character that belong to no byte are zero.
    if rest == 1 or (rest and segment[-1] not in _LAST_CHARACTERS[rest]):
        raise InvalidToken("malformed")
    return a2b_base64(segment + b"=" * (-rest % 4))


def _object(document: bytes) -> dict[str, Any]:
    try:
        value = parse(document)
    except StrictJsonError:
        raise InvalidToken("malformed") from None
    if not isinstance(value, dict):
        raise InvalidToken("malformed")
    return cast("dict[str, Any]", value)
