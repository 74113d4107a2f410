"""What the middleware asks authorization servers over HTTP, and what cannot keep an answer from it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import httpx2
import pytest

from mcpauth_middleware.tokens import fetch
from tests.middleware.edge_helpers import RecordingApp, bearer, client_of, post, protect, served
from tests.middleware.test_tokens_introspection import server_with

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import ASGIApp

pytestmark = pytest.mark.anyio


def listening(_: str) -> ASGIApp:
    return RecordingApp()


async def test_an_answer_comes_although_the_application_keeps_every_thread_busy() -> None:
    """RFC 7662 §2: tools that are no coroutines share their threads, and all may wait at once."""
    go_on = threading.Event()
    threads = anyio.to_thread.current_default_thread_limiter()

    async def tool() -> None:
        await anyio.to_thread.run_sync(go_on.wait)

    async with served(listening, lifespan="off") as url, anyio.create_task_group() as group:
        try:
            for _ in range(int(threads.total_tokens)):
                group.start_soon(tool)
            await anyio.wait_all_tasks_blocked()
            assert not threads.available_tokens
            answer = await fetch.exchange_json(fetch.JsonRequest(f"{url}/introspect", method="POST"))
            assert answer.status == 200
        finally:
            go_on.set()


async def test_a_client_of_the_application_that_was_closed_is_no_error_of_this_server() -> None:
    """RFC 9110 §15.6.4: what it should have asked cannot be told now; nothing runs."""
    closed, app = httpx2.AsyncClient(), RecordingApp()
    await closed.aclose()
    middleware = protect(
        app, verifier=None, authorization_servers=[server_with()], revocation="off", http_client=closed
    )

    response = await post(client_of(middleware), "tools/list", headers=bearer("opaque"))

    assert response.status_code == 503
    assert not app.scopes
