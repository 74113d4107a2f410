"""A closed loop over keep-alive connections: each sends its next request once it has the last one's answer.

It speaks as little HTTP/1.1 as the servers that are measured need, so that it costs a fraction of what they
do.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONNECTIONS = 32
_HEAD_ENDS = b"\r\n\r\n"
_LENGTH = b"content-length:"
_GRACE_SECONDS = 10


class Requests(Protocol):
    """What is asked on each connection, and what becomes of the answers."""

    def next(self, connection: int) -> bytes:
        """The next request of this connection."""
        ...

    def answered(self, connection: int, body: bytes) -> None:
        """It was answered with 200."""
        ...


@dataclass(frozen=True, slots=True)
class Load:
    """What a loop saw. Latencies are in milliseconds, from the last byte sent to the last one received."""

    requests: int
    seconds: float
    latencies: Sequence[float]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def quantile(self, share: float) -> float:
        """The latency that this share of the requests did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Refused(RuntimeError):
    """A request of the loop was not answered with 200."""


def http(method: str, path: str, headers: Mapping[str, str] | None = None, body: str = "") -> bytes:
    """One request, as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json"]
    if method == "POST":
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


async def run(port: int, requests: Requests, *, seconds: float, connections: int = CONNECTIONS) -> Load:
    """Ask for so long. Every request that was sent is answered before it ends.

    Raises:
        Refused: an answer was not 200, or the server hung up.
    """
    loop = asyncio.get_running_loop()
    asking = [_Connection(number, requests, loop.create_future()) for number in range(connections)]
    for each in asking:
        await loop.create_connection(partial(_itself, each), "127.0.0.1", port)
    started = time.perf_counter()
    for each in asking:
        each.start(started + seconds)
    async with asyncio.timeout(seconds + _GRACE_SECONDS):
        await asyncio.gather(*(each.ended for each in asking))
    latencies = [latency for each in asking for latency in each.latencies]
    return Load(len(latencies), time.perf_counter() - started, latencies)


class _Connection(asyncio.Protocol):
    def __init__(self, number: int, requests: Requests, ended: asyncio.Future[None]) -> None:
        self.latencies: list[float] = []
        self.ended = ended
        self._number = number
        self._requests = requests
        self._until = 0.0
        self._received = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def start(self, until: float) -> None:
        self._until = until
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, ends, body = self._received.partition(_HEAD_ENDS)
        if not ends or len(body) < _content_length(head):
            return
        now = time.perf_counter()
        self.latencies.append((now - self._sent_at) * 1000)
        if head[9:12] != b"200":
            self._end(Refused(self._received[:500].decode(errors="replace")))
            return
        self._received = b""
        self._requests.answered(self._number, body)
        if now < self._until:
            self._send()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(Refused(f"the server hung up: {exc}"))

    def _send(self) -> None:
        request = self._requests.next(self._number)
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def _end(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error) if error is not None else self.ended.set_result(None)
        self._transport.close()


def _itself(connection: _Connection) -> _Connection:
    return connection


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(_LENGTH)
    if at < 0:
        raise Refused(f"an answer without Content-Length: {head!r}")
    return int(lowered[at + len(_LENGTH) :].partition(b"\r\n")[0])
