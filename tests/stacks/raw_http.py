"""HTTP/1.1 by hand (RFC 9112): requests that no client library would send, over a plain socket."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ANSWER_SECONDS = 5.0
# The answer to a GET may be a stream, which has no end: so long after its last piece it is left.
STREAM_SECONDS = 0.3
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

Fields = list[tuple[str, str | bytes]]


def request(
    method: str,
    target: str | bytes,
    fields: Iterable[tuple[str, str | bytes]],
    body: bytes = b"",
    *,
    length: bool = True,
) -> bytes:
    """The bytes of a request; nothing is checked, and only Content-Length and Connection are added."""
    lines = [b"%s %s HTTP/1.1" % (method.encode(), _bytes(target))]
    lines += [b"%s: %s" % (name.encode("latin-1"), _bytes(value)) for name, value in fields]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(*chunks: bytes) -> bytes:
    """A body in chunks (§7.1)."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


async def exchange(port: int, data: bytes, *, half_close: bool = False) -> tuple[int | None, bytes]:
    """Send the bytes; give the status of the first answer and all that came back until the server closed.

    `half_close`: nothing more will come, as after a request that is not complete.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(data)
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(ANSWER_SECONDS) as patience:
            while chunk := await reader.read(65536):
                answer += chunk
                if _is_whole(answer):
                    break
                if data.startswith(b"GET"):
                    patience.reschedule(asyncio.get_running_loop().time() + STREAM_SECONDS)
    except OSError:
        pass  # the server has closed the connection, perhaps before it had all; or nothing came in time
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    status = _STATUS.match(answer)
    return (int(status[1]) if status else None), answer


def _is_whole(answer: bytes) -> bool:
    """Whether nothing is to come: not every server closes the connection when it is asked to."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(end) and (len(body) >= int(length[1]) if length else answer.endswith(b"\r\n0\r\n\r\n"))


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")
