"""Batches of JSON-RPC 2.0 (§6), which MCP knew in its revision 2025-03-26 only.

A batch is several messages in one body. Each is read as strictly as a message of its own, and gets bytes
of its own, so that whoever decides can let one pass and refuse another. What the whole must be is stricter
than JSON-RPC: nothing in it may leave open which answer belongs to which request.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from mcpauth_middleware.message.headers import (
    Headers,
    protocol_version,
    require_plain_json,
    single_headers,
)
from mcpauth_middleware.message.refusal import HEADER_MISMATCH, INVALID_REQUEST, MessageRefused
from mcpauth_middleware.message.request import message_of, parse_body
from mcpauth_middleware.message.revisions import MARCH_2025

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcpauth_middleware.message.request import Message

DEFAULT_MAX_BATCH = 20

_WHITE_SPACE = b" \t\r\n"
_OF_ONE_MESSAGE = ("mcp-method", "mcp-name")


@dataclass(frozen=True, slots=True)
class Member:
    """One message of a batch with the bytes that stand for it alone, or why it is no message."""

    body: bytes
    message: Message | None = None
    refused: MessageRefused | None = None


def is_batch(body: bytes, headers: Headers) -> bool:
    """Whether to read `body` with `read_batch`: an array, in the revision that has batches."""
    return body.lstrip(_WHITE_SPACE)[:1] == b"[" and _version(headers) == MARCH_2025


def read_batch(body: bytes, headers: Headers, *, limit: int = DEFAULT_MAX_BATCH) -> list[Member]:
    """Read a batch of at most `limit` messages.

    Raises:
        MessageRefused: the body, or the batch as a whole, is wrong. A member that is wrong by itself is in
            the list, with its refusal.
    """
    single = single_headers(headers)
    version = protocol_version(single)
    require_plain_json(single)
    if any(name in _OF_ONE_MESSAGE or name.startswith("mcp-param-") for name in single):
        raise MessageRefused(HEADER_MISMATCH, "a header that repeats one message cannot speak for a batch")
    values = parse_body(body)
    if not isinstance(values, list) or not values:
        raise MessageRefused(INVALID_REQUEST, "a batch must be an array of at least one message")
    values = cast("list[object]", values)
    if len(values) > limit:
        raise MessageRefused(INVALID_REQUEST, f"a batch holds at most {limit} messages")
    members = [_member(value, single, version) for value in values]
    _check_whole([member.message for member in members if member.message is not None])
    return members


def _version(headers: Headers) -> str | None:
    try:
        return protocol_version(single_headers(headers))
    except MessageRefused:
        return None  # the reader of single messages refuses it as well


def _member(value: object, single: Mapping[str, str], version: str) -> Member:
    if not isinstance(value, dict):
        refused = MessageRefused(INVALID_REQUEST, "a member of a batch must be a JSON-RPC message")
        return Member(b"", refused=refused)
    envelope = cast("dict[str, Any]", value)
    try:
        message = message_of(envelope, single, version)
    except MessageRefused as refused:
        return Member(b"", refused=refused)
    return Member(json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode(), message)


def _check_whole(messages: Sequence[Message]) -> None:
    if any(message.method == "initialize" for message in messages):
        # Lifecycle: nothing else is possible before it is answered.
        raise MessageRefused(INVALID_REQUEST, "initialize must not be in a batch")
    kinds = {message.kind for message in messages}
    if "response" in kinds and len(kinds) > 1:
        # Transports, "Sending Messages to the Server": one or the other.
        raise MessageRefused(INVALID_REQUEST, "a batch holds either responses, or requests and notifications")
    # As text: readers exist that take 1 and "1" for one id.
    ids = [str(message.id) for message in messages if message.kind == "request"]
    if len(set(ids)) < len(ids):
        raise MessageRefused(INVALID_REQUEST, "two requests of a batch have the same id")
