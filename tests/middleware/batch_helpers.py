"""What the tests of batches share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.middleware.edge_helpers import bearer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

JSON_AND_EVENTS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


def request(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    id: int | str = 1,  # noqa: A002  JSON-RPC's own word
) -> dict[str, Any]:
    """One request."""
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": dict(params or {})}


def call(tool: str, *, id: int | str = 1, **arguments: Any) -> dict[str, Any]:  # noqa: A002  the same
    """One call of a tool."""
    return request("tools/call", {"name": tool, "arguments": arguments}, id=id)


def notification(method: str) -> dict[str, Any]:
    """One notification."""
    return {"jsonrpc": "2.0", "method": method}


async def post_batch(
    client: httpx2.AsyncClient, *members: object, headers: Mapping[str, str] | None = None, path: str = "/mcp"
) -> httpx2.Response:
    """POST a batch as a client of 2025-03-26 does, which sends no version."""
    return await client.post(
        path,
        headers={**JSON_AND_EVENTS, **(bearer() if headers is None else headers)},
        content=json.dumps(members).encode(),
    )
