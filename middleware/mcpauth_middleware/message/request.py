"""One JSON-RPC 2.0 message of an MCP client, read strictly (Streamable HTTP, 2025-03-26 to 2026-07-28).

Whoever decides about a message must read it as the server will. Each refusal here closes a gap between
two readers: batches, two spellings of a member, a header that says something else than the body, an id
that is no id.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeGuard

from mcpauth_middleware.message import strict_json
from mcpauth_middleware.message.headers import (
    Headers,
    is_modern,
    protocol_version,
    require_agreement,
    require_plain_json,
    single_headers,
)
from mcpauth_middleware.message.lookalikes import Lookalikes
from mcpauth_middleware.message.refusal import INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, MessageRefused
from mcpauth_middleware.message.revisions import METHODS, Method, targets_of
from mcpauth_middleware.message.target import ListKind, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ListKind", "Message", "MessageRefused", "Target", "check_stream_request", "read_message"]

MAX_ID_LENGTH = 256
MAX_METHOD_LENGTH = 256
MAX_CLIENT_INFO_LENGTH = 256

CLIENT_INFO_KEY = "io.modelcontextprotocol/clientInfo"

_ENVELOPE = Lookalikes(["jsonrpc", "id", "method", "params", "result", "error"])
_PARAMS = Lookalikes(["_meta", "name", "uri", "arguments", "ref", "notifications"])
_METHOD_NAME = re.compile(r"[\x21-\x7e]+")

_MISTAKEN_FOR = {
    "request": "with an id the message is a request",
    "notification": "without an id the message is a notification",
}


class Message(NamedTuple):
    """A message that passed the gate; the bytes it was read from may be handed on as they are.

    `targets` is what a policy decides on; when it is empty, any authenticated principal may send the message.
    `lists` is the kind of list that the result will be, for the filter on its way back. `client` is the
    name and version the client gives itself, where the message carries them: nothing proves them.
    """

    kind: Literal["request", "notification", "response"]
    method: str | None
    id: str | int | None
    params: Mapping[str, Any]
    arguments: Mapping[str, Any] | None
    targets: tuple[Target, ...]
    lists: ListKind | None
    protocol_version: str
    client: tuple[str | None, str | None]

    @property
    def modern(self) -> bool:
        """Whether the message is of the stateless era (2026-07-28 and whatever comes after it)."""
        return is_modern(self.protocol_version)


def read_message(body: bytes, headers: Headers) -> Message:
    """Read the one message in `body`.

    Raises:
        MessageRefused: the bytes, the message or its headers are wrong, or leave room for two readings.
    """
    return read_with(body, single_headers(headers))


def read_with(body: bytes, single: Mapping[str, str]) -> Message:
    """The same, with the headers that say what the message is.

    Raises:
        MessageRefused: the bytes, the message or its headers are wrong, or leave room for two readings.
    """
    version = protocol_version(single)
    require_plain_json(single)
    try:
        value = parse_body(body)
    except MessageRefused as refused:
        refused.modern = is_modern(version)
        raise
    if not _is_object(value):
        raise MessageRefused(INVALID_REQUEST, "the body must be a single JSON-RPC message, not a batch")
    return message_of(value, single, version)


def parse_body(body: bytes) -> object:
    """The JSON value of a body.

    Raises:
        MessageRefused: it is not JSON, or not JSON with a single reading.
    """
    try:
        return strict_json.parse(body)
    except strict_json.OutOfBoundsError as error:
        # Told to whoever asked for it, be it a model: its client has written what JSON allows.
        answered = strict_json.member_of_refused(body, "id")
        raise MessageRefused(
            INVALID_PARAMS, f"the body is refused: {error}", id=answered if _is_id(answered) else None
        ) from None
    except strict_json.StrictJsonError as error:
        raise MessageRefused(PARSE_ERROR, f"the body is refused: {error}") from None


def message_of(envelope: Mapping[str, Any], single: Mapping[str, str], version: str) -> Message:
    """The message of one JSON-RPC object; `single` and `version` are what its headers say.

    Raises:
        MessageRefused: the message or its headers are wrong, or leave room for two readings.
    """
    _ENVELOPE.refuse(envelope)
    if envelope.get("jsonrpc") != "2.0":
        raise MessageRefused(INVALID_REQUEST, 'jsonrpc must be "2.0"')
    message_id = _id(envelope)
    try:
        return _read(envelope, message_id, single, version)
    except MessageRefused as refused:
        refused.id, refused.modern = message_id, is_modern(version)
        raise


def check_stream_request(headers: Headers) -> str:
    """Check the headers of a GET or DELETE and return the protocol version they name.

    Raises:
        MessageRefused: a routing header is there twice.
    """
    return protocol_version(single_headers(headers))


def _id(envelope: Mapping[str, Any]) -> str | int | None:
    value: object = envelope.get("id")
    if _is_id(value):
        return value
    # JSON-RPC §5: an error about a message whose id was not readable has the id null.
    if value is None and ("id" not in envelope or "error" in envelope):
        return None
    raise MessageRefused(
        INVALID_REQUEST, f"id must be an integer or a string of at most {MAX_ID_LENGTH} characters"
    )


def _is_id(value: object) -> TypeGuard[str | int]:
    # Exactly: `bool` is a subclass of `int`.
    return type(value) is int or (type(value) is str and len(value) <= MAX_ID_LENGTH)


def _read(
    envelope: Mapping[str, Any], message_id: str | int | None, headers: Mapping[str, str], version: str
) -> Message:
    if "method" not in envelope:
        return _response(envelope, message_id, version)
    method = _method(envelope)
    row = METHODS.get(method)
    params = _params(envelope)
    kind = _kind(envelope, row)
    require_agreement(
        headers, method=method, row=row, params=params, version=version, is_request=kind == "request"
    )
    return Message(
        kind,
        method,
        message_id,
        params,
        _arguments(params) if method in ("tools/call", "prompts/get") else None,
        targets_of(method, params),
        None if row is None else row.lists,
        version,
        _client(method, params),
    )


def _response(envelope: Mapping[str, Any], message_id: str | int | None, version: str) -> Message:
    if ("result" in envelope) == ("error" in envelope):
        raise MessageRefused(INVALID_REQUEST, "a message has a method, or either a result or an error")
    if is_modern(version):
        raise MessageRefused(INVALID_REQUEST, "this protocol version has no responses from the client")
    if message_id is None and "result" in envelope:
        raise MessageRefused(INVALID_REQUEST, "a result needs the id of its request")
    return Message(
        kind="response",
        method=None,
        id=message_id,
        params={},
        arguments=None,
        targets=(),
        lists=None,
        protocol_version=version,
        client=(None, None),
    )


def _method(envelope: Mapping[str, Any]) -> str:
    method = envelope["method"]
    if not isinstance(method, str) or not (method in METHODS or _is_method_name(method)):
        raise MessageRefused(
            INVALID_REQUEST,
            f"method must be a string of at most {MAX_METHOD_LENGTH} visible ASCII characters",
        )
    if "result" in envelope or "error" in envelope:
        raise MessageRefused(INVALID_REQUEST, "a message with a method has no result and no error")
    return method


def _is_method_name(method: str) -> bool:
    return len(method) <= MAX_METHOD_LENGTH and _METHOD_NAME.fullmatch(method) is not None


def _params(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    params = envelope.get("params", {})
    if not _is_object(params):
        raise MessageRefused(INVALID_PARAMS, "params must be an object")
    _PARAMS.refuse(params)
    if not isinstance(params.get("_meta", {}), dict):
        raise MessageRefused(INVALID_PARAMS, "params._meta must be an object")
    return params


def _kind(envelope: Mapping[str, Any], row: Method | None) -> Literal["request", "notification"]:
    kind: Literal["request", "notification"] = "request" if "id" in envelope else "notification"
    if row is not None and row.kind != kind:
        raise MessageRefused(INVALID_REQUEST, f"{_MISTAKEN_FOR[kind]}, which this method is not")
    return kind


def _arguments(params: Mapping[str, Any]) -> Mapping[str, Any] | None:
    arguments = params.get("arguments")
    if arguments is None or _is_object(arguments):
        return arguments
    raise MessageRefused(INVALID_PARAMS, "params.arguments must be an object")


def _client(method: str, params: Mapping[str, Any]) -> tuple[str | None, str | None]:
    info = (
        params.get("clientInfo") if method == "initialize" else params.get("_meta", {}).get(CLIENT_INFO_KEY)
    )
    if not _is_object(info):
        return (None, None)
    name, version = info.get("name"), info.get("version")
    return (
        name if isinstance(name, str) and len(name) <= MAX_CLIENT_INFO_LENGTH else None,
        version if isinstance(version, str) and len(version) <= MAX_CLIENT_INFO_LENGTH else None,
    )


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
