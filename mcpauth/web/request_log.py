"""The access log: a line for each answer, without the query, which may hold what nobody should read later."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class RequestLog:
    """Writes a line when an answer of the application begins.

    It is written by hand: the logging module would take longer over it than the server over the answer.
    """

    def __init__(self, app: ASGIApp, write: Callable[[str], object], *, now: Callable[[], float]) -> None:
        self._app = app
        self._write = write
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Whoever reads the log may have gone; the answer matters more.
                with suppress(OSError, ValueError):
                    self._write(_line(scope, message["status"], self._now()))
            await send(message)

        await self._app(scope, receive, noted)


def _line(scope: Scope, status: int, now: float) -> str:
    # Whom a trusted proxy named, by now.
    host, port = scope.get("client") or ("-", 0)
    seconds, milliseconds = divmod(int(now * 1000), 1000)
    # The path as it was sent: what is escaped in it stays so, and cannot end the line.
    path = scope["raw_path"].decode("ascii", "backslashreplace")
    request = f"{scope['method']} {path} HTTP/{scope['http_version']}"
    return f'{_second(seconds)},{milliseconds:03} {host}:{port} "{request}" {_status(status)}\n'


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


@lru_cache(maxsize=64)
def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
