"""What uvicorn serves with two worker processes on one SQLite file; every answer says which one it is of."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from mcpauth.server import create_app
from mcpauth.settings import Settings
from tests.authorization_server.core_helpers import ISSUER, NOTES, REGISTRY

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

DATABASE, WINDOW = "TEST_DATABASE", "TEST_REPLAY_SECONDS"
WORKER = "x-worker"


def app() -> ASGIApp:
    """The server of a worker."""
    settings = Settings(
        ISSUER,
        REGISTRY.resources,
        NOTES,
        database=os.environ[DATABASE],
        refresh_token_replay_window=timedelta(seconds=int(os.environ[WINDOW])),
    )
    server = create_app(settings)
    name = str(os.getpid()).encode()

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (WORKER.encode(), name)]
            await send(message)

        await server(scope, receive, send_named if scope["type"] == "http" else send)

    return named
