"""A grant that is revoked after a request was let in and before the application has begun with it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest

from tests.middleware.batch_helpers import call, post_batch
from tests.middleware.edge_helpers import HANDSHAKE_REVISIONS, bearer, client_of, mint, post, protect, served
from tests.middleware.test_revocation import Listing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mcpauth_middleware.asgi import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.anyio


class Server:
    """Revokes the caller's grant while it works on the first request, and notes what it was asked."""

    def __init__(self) -> None:
        self.listing = Listing()
        self.ran: list[str] = []
        self.guarded = protect(
            self,
            verifier=None,
            http_client=client_of(self.listing),
            allowed_hosts=["127.0.0.1:*"],
            revocation="followed",
        )

    async def revoke(self) -> None:
        """Revoke the grant, and wait until the middleware has heard of it."""
        self.listing.revoke(jti="token-1")
        async with client_of(self.guarded) as client:
            while (await post(client, "ping", revision=HANDSHAKE_REVISIONS[0])).status_code != 401:  # noqa: ASYNC110  nothing tells of it
                await anyio.sleep(0.05)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            await self._listen(receive, send)
            return
        message: dict[str, Any] = json.loads((await receive())["body"])
        self.ran.append(message["method"])
        if self.ran == ["tools/call"]:
            await self.revoke()
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {}}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": _JSON})
        await send({"type": "http.response.body", "body": body})

    async def _listen(self, receive: Receive, send: Send) -> None:
        await self.revoke()
        await send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
        await send({"type": "http.response.body", "body": b"data: hello\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        self.ran.append("left")


_JSON = [(b"content-type", b"application/json")]
_EVENTS = [(b"content-type", b"text/event-stream")]


@asynccontextmanager
async def listening(app: ASGIApp) -> AsyncGenerator[httpx2.AsyncClient]:
    async with served(lambda _: app, lifespan="off") as url, httpx2.AsyncClient(base_url=url) as client:
        yield client


async def test_no_member_of_a_batch_begins_after_the_grant_was_revoked() -> None:
    """RFC 6750 §3.1, and docs/messages.md: each member is decided again when its turn comes."""
    server = Server()
    with anyio.fail_after(10):
        async with client_of(server.guarded) as client:
            answer = await post_batch(
                client, call("read_file", id=1), call("read_file", id=2), call("read_file", id=3)
            )
    assert [method for method in server.ran if method == "tools/call"] == ["tools/call"]
    assert len(answer.json()) == 3


async def test_a_stream_that_opens_after_its_grant_was_revoked_ends_at_once() -> None:
    """RFC 6750 §5.2: the list changed after the request was let in, and before the response began."""
    server = Server()
    headers = {**bearer(mint()), "Accept": "text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
    ended = False
    async with listening(server.guarded) as client:
        with anyio.move_on_after(5):
            async with client.stream("GET", "/mcp", headers=headers) as response:
                async for line in response.aiter_lines():
                    assert line in ("data: hello", "")
            ended = True
    assert ended
