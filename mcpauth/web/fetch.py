"""The one way out: GETs of URLs that strangers name, RFC 9700 §4 and RFC 9110, safe against request forgery.

A name is resolved once. If any of its addresses is not public, nothing is connected to; else the connection
goes to one of exactly these addresses, while the certificate has to be the name's. So an answer that changes
between the check and the use (DNS rebinding) changes nothing. No redirects, no proxies, no cookies, no
compression; one deadline over everything, from the look-up of the name to the last byte.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import anyio
import anyio.to_thread
import httpcore2
import httpx2

from mcpauth.oauth.fetching import Fetched, FetchFailed
from mcpauth.oauth.https_url import HttpsUrl, https_url
from mcpauth.web.freshness import fresh_for
from mcpauth.web.public_address import Address, is_public, is_public_or_internal
from mcpauth_middleware.message.strict_json import StrictJsonError, parse

if TYPE_CHECKING:
    import ssl

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[Address]]]
"""The addresses of a host name, in the order in which to try them."""
Connect: TypeAlias = Callable[[Address, int], Awaitable[httpcore2.AsyncNetworkStream]]
"""A TCP connection to an address and port."""

DEADLINE_SECONDS = 5.0
MAX_HEADER_BYTES = 32 * 1024
"""For everything that is not the body: status line, headers, chunk sizes."""
MAX_ADDRESSES = 3
CONNECT_SECONDS = 2.0  # for one address, so that a dead one leaves time for the next
USER_AGENT = "mcpauth-kit"

_NO_ANSWER = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError)


async def resolve(host: str, port: int) -> Sequence[Address]:
    """Ask the system's resolver, in a thread of its own.

    The event loop has a few for all look-ups, two with uvloop, and each is held until the resolver gives up:
    a stranger's names, whose servers never answer, would hold up every other name. How many there are is the
    budget's to bound.
    """
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    answers = await anyio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    return [ip_address(sockaddr[0]) for *_, sockaddr in answers]


async def connect(address: Address, port: int) -> httpcore2.AsyncNetworkStream:
    """Connect, without a look-up of any name."""
    # The cast: httpcore2 has a stand-in under this name for installations without anyio.
    backend = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())
    return await backend.connect_tcp(str(address), port, timeout=CONNECT_SECONDS)


class SafeFetch:
    """Fetches JSON documents; see `Fetch`.

    `permits` decides about each address, and `local_names` whether a host may have a name of a local network:
    for URLs that an operator names. A test that serves documents on loopback passes its own.
    """

    def __init__(
        self,
        *,
        permits: Callable[[Address], bool] = is_public,
        local_names: bool = False,
        resolve: Resolve = resolve,
        connect: Connect = connect,
        ssl_context: ssl.SSLContext | None = None,
        deadline: float = DEADLINE_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._permits = permits
        self._local_names = local_names
        self._resolve = resolve
        self._connect = connect
        self._ssl_context = ssl_context
        self._deadline = deadline
        self._now = now

    async def __call__(self, url: str, /, *, max_bytes: int) -> Fetched:
        """Fetch the document.

        Raises:
            FetchFailed: the URL or an address must not be asked, or the answer is not 200, not JSON, too
                long, or not whole in time.
        """
        try:
            parts = https_url(url, local_names=self._local_names)
        except ValueError as error:
            raise FetchFailed(str(error)) from None
        try:
            with anyio.fail_after(self._deadline):
                headers, body = await self._get(parts, max_bytes)
        except TimeoutError:
            raise FetchFailed("no whole answer in time") from None
        except (
            httpcore2.NetworkError,
            httpcore2.ProtocolError,
            httpcore2.TimeoutException,
            OSError,
        ) as error:
            raise FetchFailed(f"no answer ({type(error).__name__})") from None
        try:
            document = parse(body)
        except StrictJsonError:
            raise FetchFailed("not JSON") from None
        return Fetched(document, fresh_for(headers, self._now()))

    async def _get(self, url: HttpsUrl, max_bytes: int) -> tuple[Mapping[str, str], bytes]:
        addresses = await self._addresses(url)
        connection = httpcore2.AsyncHTTPConnection(
            origin=httpcore2.Origin(b"https", url.host.encode(), url.port),
            ssl_context=await self._trusted_certificates(),
            network_backend=_Pinned(addresses, self._connect, max_bytes + MAX_HEADER_BYTES),
        )
        async with connection:
            response = await connection.handle_async_request(_request(url))
            try:
                headers = _checked_headers(response, max_bytes)
                return headers, await _body(response, max_bytes)
            finally:
                await response.aclose()

    async def _addresses(self, url: HttpsUrl) -> Sequence[Address]:
        addresses = await self._resolve(url.host, url.port)
        # One that is not public condemns them all: an honest name has none, and which of them a connection
        # would take is chance.
        if not addresses or not all(self._permits(address) for address in addresses):
            raise FetchFailed("the host has no address, or one that is not public")
        return addresses[:MAX_ADDRESSES]

    async def _trusted_certificates(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            # Reading them takes tens of milliseconds, hence the thread.
            self._ssl_context = await anyio.to_thread.run_sync(partial(httpx2.create_ssl_context))
        return self._ssl_context


def internal_fetch(
    *,
    resolve: Resolve = resolve,
    connect: Connect = connect,
    ssl_context: ssl.SSLContext | None = None,
    now: Callable[[], float] = time.time,
) -> SafeFetch:
    """Fetches from hosts on this machine and its network, too: only for URLs that an operator names."""
    return SafeFetch(
        permits=is_public_or_internal,
        local_names=True,
        resolve=resolve,
        connect=connect,
        ssl_context=ssl_context,
        now=now,
    )


def _request(url: HttpsUrl) -> httpcore2.Request:
    target = (url.path or "/") + (f"?{url.query}" if url.query is not None else "")
    host = url.host if url.port == 443 else url.origin
    return httpcore2.Request(
        "GET",
        # In parts, so that nothing parses the text a second time.
        httpcore2.URL(scheme=b"https", host=url.host.encode(), port=url.port, target=target.encode()),
        headers={
            "Host": host,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
            "Connection": "close",
        },
    )


def _checked_headers(response: httpcore2.Response, max_bytes: int) -> Mapping[str, str]:
    if response.status != 200:
        redirected = 300 <= response.status < 400
        raise FetchFailed(
            f"status {response.status}" + (": redirects are not followed" if redirected else "")
        )
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise FetchFailed("the media type is not JSON")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchFailed("sent compressed, which was not asked for")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:12]) > max_bytes:
        raise FetchFailed(f"longer than {max_bytes} bytes")
    return headers


async def _body(response: httpcore2.Response, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_stream():
        body += chunk
        if len(body) > max_bytes:
            raise FetchFailed(f"longer than {max_bytes} bytes")
    return bytes(body)


class _Pinned(httpcore2.AsyncNetworkBackend):
    """Connects to the addresses that were checked, whatever host it is told."""

    def __init__(self, addresses: Sequence[Address], connect: Connect, max_bytes: int) -> None:
        self._addresses = addresses
        self._connect = connect
        self._max_bytes = max_bytes

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the name; only the certificate is checked against it
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - one deadline stands over all
        local_address: str | None = None,  # noqa: ARG002 - never set
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002 - never set
    ) -> httpcore2.AsyncNetworkStream:
        *others, last = self._addresses
        for address in others:
            try:
                return _Capped(await self._connect(address, port), self._max_bytes)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout, OSError):
                continue
        return _Capped(await self._connect(last, port), self._max_bytes)


class _Capped(httpcore2.AsyncNetworkStream):
    """Reads no more than so many bytes, headers and all."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, max_bytes: int) -> None:
        self._stream = stream
        self._left = max_bytes

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        data = await self._stream.read(min(max_bytes, self._left + 1), timeout)
        self._left -= len(data)
        if self._left < 0:
            raise FetchFailed("the answer is too long")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
    ) -> httpcore2.AsyncNetworkStream:
        return _Capped(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._left)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's
        return self._stream.get_extra_info(info)
