"""The JWS compact serialization, RFC 7515 §7.1, read so that one token has exactly one spelling.

Base64url decoders differ in what they forgive (padding, spare bits, foreign characters). Here each
segment must be what encoding its bytes gives back, so nothing can be appended to a token unnoticed.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from mcpauth_middleware.errors import InvalidToken
from mcpauth_middleware.message.strict_json import StrictJsonError, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TOKEN_BYTES = 8192
"""As much as common servers accept for all headers together, so no token in real use is longer."""

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


@dataclass(frozen=True, slots=True)
class CompactJws:
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
    header, claims, signature = (_decode(segment) for segment in match.groups())
    return CompactJws(_object(header), _object(claims), token[: match.end(2)].encode(), signature)


def _decode(segment: str) -> bytes:
    if len(segment) % 4 == 1:
        raise InvalidToken("malformed")
    decoded = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if urlsafe_b64encode(decoded).rstrip(b"=").decode() != segment:
        raise InvalidToken("malformed")
    return decoded


def _object(document: bytes) -> Mapping[str, Any]:
    try:
        value = parse(document)
    except StrictJsonError:
        raise InvalidToken("malformed") from None
    if not isinstance(value, dict):
        raise InvalidToken("malformed")
    return cast("dict[str, Any]", value)
