"""Bounded requests for JSON documents (RFC 8414 §3.2, RFC 7517 §5): the middleware sends no others."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx2

from mcpauth_middleware.resource import is_loopback_host

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Mapping

MAX_DOCUMENT_BYTES = 256 * 1024
DEADLINE_SECONDS = 5.0
"""For the whole exchange: a server that sends a byte a second must not hold a request for long."""


_OK = 200


class FetchFailed(Exception):
    """A document could not be had; the text says why, for the operator."""

    def __init__(self, message: str, *, absent: bool = False) -> None:
        super().__init__(message)
        self.absent = absent
        """The server answers, but not with such a document: another address may have it."""


@dataclass(frozen=True, slots=True)
class JsonRequest:
    """What is asked for. Neither secrets nor tokens are shown."""

    url: str
    method: Literal["GET", "POST"] = "GET"
    headers: Mapping[str, str] | None = None
    form: Mapping[str, str] | None = None
    deadline: float = DEADLINE_SECONDS
    max_bytes: int = MAX_DOCUMENT_BYTES

    def __repr__(self) -> str:
        return f"{self.method} {self.url}"


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """What came. `body` is not parsed yet, since not every status comes with a document, and not shown."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def document(self) -> dict[str, Any]:
        """The JSON object that came.

        Raises:
            FetchFailed: it is none, or one that two readers could read differently (RFC 8259 §4).
        """
        try:
            document: object = json.loads(self.body, object_pairs_hook=_members, parse_constant=_no_json)
        except (ValueError, RecursionError):
            raise FetchFailed(f"{self.url}: not JSON", absent=True) from None
        if not isinstance(document, dict):
            raise FetchFailed(f"{self.url}: not a JSON object", absent=True)
        return cast("dict[str, Any]", document)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is there twice")
    return members


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


async def fetch_json(
    url: str, *, client: httpx2.AsyncClient | None = None, deadline: float = DEADLINE_SECONDS
) -> dict[str, Any]:
    """GET one JSON object, without following redirects.

    Raises:
        FetchFailed: no answer in time, another status than 200, too long, or not a JSON object.
    """
    answer = await exchange_json(JsonRequest(url, deadline=deadline), client=client)
    if answer.status != _OK:
        absent = not httpx2.codes.is_server_error(answer.status)
        raise FetchFailed(f"{url}: status {answer.status}", absent=absent)
    return answer.document()


async def exchange_json(request: JsonRequest, *, client: httpx2.AsyncClient | None = None) -> JsonAnswer:
    """Send one request, without following redirects, and read the answer whatever its status.

    Raises:
        FetchFailed: no answer in time, or one that is too long.
    """
    try:
        with anyio.fail_after(request.deadline):
            return await _exchange(request, client)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:  # TimeoutError is an OSError
        raise FetchFailed(f"{request.url}: {type(error).__name__}") from error
    except RuntimeError as error:
        # The application's own client was closed, or has connections of an event loop that is gone.
        raise FetchFailed(f"{request.url}: its http_client cannot be used: {error}") from error


async def _exchange(request: JsonRequest, client: httpx2.AsyncClient | None) -> JsonAnswer:
    # Identity, so that the limit counts what is read and a small answer cannot unfold into a large one.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", **(request.headers or {})}
    body = bytearray()
    async with (
        _client_for(request.url, client) as http,
        http.stream(
            request.method,
            request.url,
            headers=headers,
            data=request.form,
            follow_redirects=False,
            timeout=None,
        ) as response,
    ):
        if response.headers.get("content-encoding", "identity") != "identity":
            raise FetchFailed(f"{request.url}: sent compressed, which was not asked for")
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > request.max_bytes:
                raise FetchFailed(f"{request.url}: longer than {request.max_bytes} bytes")
        return JsonAnswer(request.url, response.status_code, dict(response.headers), bytes(body))


@asynccontextmanager
async def _client_for(url: str, client: httpx2.AsyncClient | None) -> AsyncGenerator[httpx2.AsyncClient]:
    if client is not None:
        yield client
        return
    # One for each request: nothing is left open when the application's lifespan is never run, and none
    # belongs to an event loop that is gone. A proxy of the environment has no way to this machine's loopback.
    local = is_loopback_host(urlsplit(url).hostname or "")
    # With a limit of its own: the application's threads may all be busy with its tools.
    trusted = await anyio.to_thread.run_sync(_trusted_certificates, limiter=anyio.CapacityLimiter(1))
    async with httpx2.AsyncClient(verify=trusted, trust_env=not local) as own:
        yield own


@cache
def _trusted_certificates() -> ssl.SSLContext:
    """Loaded once, and in a thread: it takes tens of milliseconds."""
    return httpx2.create_ssl_context()
