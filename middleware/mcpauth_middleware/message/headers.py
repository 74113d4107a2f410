"""The request headers of Streamable HTTP, held against the body (MCP 2026-07-28, "Request Metadata")."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from mcpauth_middleware.message.refusal import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    MessageRefused,
)
from mcpauth_middleware.message.revisions import HANDSHAKE_REVISIONS, MARCH_2025, REVISIONS, Method

Headers = Sequence[tuple[bytes, bytes]]

PROTOCOL_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
MAX_PROTOCOL_VERSION_LENGTH = 64

_SINGLE = frozenset({b"content-type", b"content-encoding"})
_USUAL: dict[bytes, str | None] = {
    b"content-type": "content-type",
    b"mcp-protocol-version": "mcp-protocol-version",
    b"mcp-method": "mcp-method",
    b"mcp-name": "mcp-name",
    b"mcp-session-id": "mcp-session-id",
    # These say nothing of the message.
    b"accept": None,
    b"accept-encoding": None,
    b"authorization": None,
    b"connection": None,
    b"content-length": None,
    b"host": None,
    b"user-agent": None,
}
"""What nearly every request has, as it is spelt there."""
PARAM_HEADERS = "mcp-param-"
"""How the names of those begin that repeat an argument."""
_USUAL_NAMES = frozenset(name for name in _USUAL.values() if name is not None)
_JSON = "application/json"
_NO_META: Mapping[str, Any] = MappingProxyType({})
_ABSENT: Final = object()
_CHARSET = re.compile(r";\s*charset\s*=\s*([^;]*)", re.IGNORECASE)
_ENCODED = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)
_PRINTABLE = re.compile(r"[\x20-\x7e\t]*")


def single_headers(headers: Headers) -> dict[str, str]:
    """The headers that say what the message is, by lower-case name: of the content and every `mcp-*`.

    Raises:
        MessageRefused: one of them is there twice. Some readers take the first copy, some the last.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        key = _USUAL[name] if name in _USUAL else _unusual(name)
        if key is None:
            continue
        if key in found:
            raise MessageRefused(HEADER_MISMATCH, "a header that must be single is there twice")
        found[key] = value.decode("latin-1")
    return found


def has_param_headers(single: Mapping[str, str]) -> bool:
    """Whether there is one that repeats an argument."""
    return not _USUAL_NAMES.issuperset(single) and any(name.startswith(PARAM_HEADERS) for name in single)


def _unusual(raw_name: bytes) -> str | None:
    name = raw_name.lower()
    return name.decode("latin-1") if name.startswith(b"mcp-") or name in _SINGLE else None


def protocol_version(headers: Mapping[str, str]) -> str:
    """The revision the headers name; without the header it is 2025-03-26, which had none.

    Raises:
        MessageRefused: no revision was ever named so.
    """
    version = headers.get("mcp-protocol-version", MARCH_2025)
    if version not in REVISIONS and (
        len(version) > MAX_PROTOCOL_VERSION_LENGTH or not _PRINTABLE.fullmatch(version)
    ):
        raise MessageRefused(HEADER_MISMATCH, "MCP-Protocol-Version is malformed")
    return version


def is_modern(version: str) -> bool:
    """Whether a server takes `version` for the stateless era."""
    return version not in HANDSHAKE_REVISIONS


def require_plain_json(headers: Mapping[str, str]) -> None:
    """Check `Content-Type` and `Content-Encoding`.

    Raises:
        MessageRefused: it is not `application/json` in UTF-8, or is compressed (415, RFC 9110 §15.5.16).
    """
    # Something behind the gate might decompress what was judged as it is.
    encoding = headers.get("content-encoding")
    if encoding is not None and encoding.strip(" \t").lower() not in ("identity", ""):
        raise MessageRefused(
            INVALID_REQUEST, "Content-Encoding must be absent", status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        )
    content_type = headers.get("content-type", "")
    # Spelt like this in nearly every request.
    if content_type != _JSON and not _is_json_in_utf8(content_type):
        raise MessageRefused(
            INVALID_REQUEST,
            "Content-Type must be application/json, in UTF-8",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )


def _is_json_in_utf8(content_type: str) -> bool:
    charsets = [charset.strip(' \t"').lower() for charset in _CHARSET.findall(content_type)]
    media_type = content_type.partition(";")[0].strip(" \t").lower()
    return media_type == _JSON and all(charset == "utf-8" for charset in charsets)


def require_agreement(
    headers: Mapping[str, str],
    *,
    method: str,
    row: Method | None,
    params: Mapping[str, Any],
    version: str,
    is_request: bool,
) -> None:
    """Check that the headers say of the message what the body says; `row` is what is known of its method.

    In the stateless era a request must have them all. Older revisions do not know them, but clients that
    speak both send them with an old `initialize` as well; one that lies is refused, since someone on the
    way may believe it.

    `params._meta`, where it is there, is an object.

    Raises:
        MessageRefused: they differ, or one is missing.
    """
    required = is_request and version not in HANDSHAKE_REVISIONS
    meta: Mapping[str, Any] = params.get("_meta", _NO_META)
    if meta.get(PROTOCOL_VERSION_KEY, _ABSENT) != version:
        _differs_in_version(meta, required=required)
    sent = headers.get("mcp-method")
    if sent != method:
        _differs("Mcp-Method", sent, required=required)
    if row is not None and row.mirrored is not None:
        name = headers.get("mcp-name")
        value = None if name is None else decoded("Mcp-Name", name)
        if value is None or value != params.get(row.mirrored):
            _differs("Mcp-Name", value, required=required)


def _differs_in_version(meta: Mapping[str, Any], *, required: bool) -> None:
    if PROTOCOL_VERSION_KEY in meta:
        raise MessageRefused(HEADER_MISMATCH, "MCP-Protocol-Version does not match the body")
    if required:
        raise MessageRefused(INVALID_PARAMS, f"params._meta must hold {PROTOCOL_VERSION_KEY}")


def _differs(name: str, header: str | None, *, required: bool) -> None:
    if header is not None:
        raise MessageRefused(HEADER_MISMATCH, f"{name} does not match the body")
    if required:
        raise MessageRefused(HEADER_MISMATCH, f"{name} is missing")


def decoded(name: str, value: str) -> str:
    """The value of a header that may be in the form `=?base64?...?=`; `name` is what a refusal calls it.

    Raises:
        MessageRefused: it holds what a header must not, or is no canonical base64 of UTF-8.
    """
    if not (value.isascii() and value.isprintable()) and not _PRINTABLE.fullmatch(value):
        raise MessageRefused(HEADER_MISMATCH, f"{name} holds a character that must be encoded")
    match = _ENCODED.fullmatch(value) if value.startswith("=?") else None
    if match is None:
        return value
    try:
        raw = base64.b64decode(match[1], validate=True)
        # Only the canonical form: unused bits could otherwise differ between two spellings of one name.
        if base64.b64encode(raw).decode("ascii") == match[1]:
            return raw.decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        pass
    raise MessageRefused(HEADER_MISMATCH, f"{name} is not valid base64 of UTF-8")
