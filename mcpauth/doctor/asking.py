"""Asks the servers of a deployment as a client would: no redirects, no more than a document, not for long."""

from __future__ import annotations

import json
import socket
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

import anyio
import httpx2

from mcpauth_middleware.resource import is_loopback_host

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SECONDS = 10.0
MAX_BYTES = 1024 * 1024
FROM_A_PAGE = {"Origin": "https://browser.example"}
"""As a client that runs in a page, which may be any."""


class NoAnswer(Exception):
    """Nobody answered, or not with what can be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> dict[str, Any]:
        """The JSON object.

        Raises:
            NoAnswer: it is none.
        """
        try:
            value: object = json.loads(self.body)
        except (ValueError, RecursionError):
            raise NoAnswer("the answer is not JSON") from None
        if not isinstance(value, dict):
            raise NoAnswer("the answer is no JSON object")
        return cast("dict[str, Any]", value)


def as_list(value: object) -> list[object] | None:
    """A member of a document that should be an array."""
    return cast("list[object]", value) if isinstance(value, list) else None


class Asker:
    """Sends the requests, over two clients that are made when they are needed."""

    def __init__(self, *, seconds: float = SECONDS, verify: ssl.SSLContext | None = None) -> None:
        self._seconds = seconds
        self._verify = verify
        self._clients: dict[bool, httpx2.AsyncClient] = {}
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._closing.aclose()

    async def ask(
        self,
        url: str,
        method: str = "GET",
        *,
        headers: Mapping[str, str] | None = None,
        json: object = None,
    ) -> Answer:
        """One request.

        Raises:
            NoAnswer: no connection, no answer in time, or a longer one than a document can be.
        """
        sent = {"Accept": "application/json, text/event-stream", **(headers or {})}
        try:
            with anyio.fail_after(self._seconds):
                return await self._ask(url, method, sent, json)
        except TimeoutError:
            raise NoAnswer(f"no answer within {self._seconds:g} seconds") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise NoAnswer(_reason(error)) from error
        except ValueError:
            raise NoAnswer("it is no URL") from None

    async def _ask(self, url: str, method: str, headers: Mapping[str, str], json: object) -> Answer:
        client = await self._client(url)
        async with client.stream(method, url, headers=dict(headers), json=json) as response:
            body = bytearray()
            # A stream has no end; that it began is all there is to know.
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise NoAnswer(f"the answer is longer than {MAX_BYTES} bytes")
            return Answer(response.status_code, dict(response.headers), bytes(body))

    async def _client(self, url: str) -> httpx2.AsyncClient:
        # A proxy of the environment has no way to this machine's loopback.
        local = is_loopback_host(urlsplit(url).hostname or "")
        if local not in self._clients:
            client = httpx2.AsyncClient(
                verify=self._verify if self._verify is not None else True,
                trust_env=not local,
                timeout=None,
                follow_redirects=False,
            )
            self._clients[local] = await self._closing.enter_async_context(client)
        return self._clients[local]


def _reason(error: BaseException) -> str:
    """Why there was no answer, in words, from the cause that knows most."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not good: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "it does not speak TLS"
        if isinstance(cause, socket.gaierror):
            return "its name does not resolve"
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
    return str(error) or type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _causes(each)
    for cause in (error.__cause__, error.__context__):
        if cause is not None:
            yield from _causes(cause)
