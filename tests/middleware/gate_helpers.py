"""What the tests of messages, policy, limits and audit share."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mcpauth_middleware.message import Message, read_message
from mcpauth_middleware.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
MODERN = "2026-07-28"
NOVEMBER = "2025-11-25"

META_VERSION = "io.modelcontextprotocol/protocolVersion"
META_CLIENT = "io.modelcontextprotocol/clientInfo"
META_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"

Headers = list[tuple[bytes, bytes]]
JSON_TYPE = (b"content-type", b"application/json")


def principal(
    *scopes: str, subject: str = "alice", client_id: str | None = "client", issuer: str = "https://as"
) -> Principal:
    """Someone who holds these scopes."""
    return Principal(
        issuer=issuer,
        subject=subject,
        client_id=client_id,
        scopes=frozenset(scopes),
        resource="https://rs/mcp",
        expires_at=4_000_000_000,
    )


def body(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    id: object = 1,  # noqa: A002 (JSON-RPC's own word)
    **members: object,
) -> bytes:
    """A JSON-RPC request; with `id=...` (the ellipsis) a notification."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, **members}
    if id is not ...:
        message["id"] = id
    if params is not None:
        message["params"] = params
    return json.dumps(message).encode()


def headers(version: str | None = NOVEMBER, **more: str) -> Headers:
    """The headers of a POST of this revision."""
    found: Headers = [JSON_TYPE]
    if version is not None:
        found.append((b"mcp-protocol-version", version.encode()))
    found += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    return found


def modern_params(params: Mapping[str, Any] | None = None, *, version: str = MODERN) -> dict[str, Any]:
    """Parameters with the envelope of the stateless era."""
    return {**(params or {}), "_meta": {META_VERSION: version, META_CAPABILITIES: {}}}


def read(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    version: str = NOVEMBER,
    id: object = 1,  # noqa: A002 (JSON-RPC's own word)
) -> Message:
    """The message that a well-behaved client of this revision sends."""
    if version != MODERN:
        return read_message(body(method, params, id=id), headers(version))
    found = headers(MODERN, mcp_method=method)
    name = (params or {}).get("uri" if method == "resources/read" else "name")
    if isinstance(name, str):
        found.append((b"mcp-name", name.encode()))
    return read_message(body(method, modern_params(params), id=id), found)


def call(tool: str, arguments: Mapping[str, Any] | None = None, *, version: str = NOVEMBER) -> Message:
    """A call of a tool."""
    return read("tools/call", {"name": tool, "arguments": arguments or {}}, version=version)


def chunked(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`data`, cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]
