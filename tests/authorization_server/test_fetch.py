"""The one way out: what a URL of a stranger can make this server do, and what not."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from mcpauth.oauth.fetching import FetchFailed
from mcpauth.web.fetch import SafeFetch
from tests.authorization_server.https_helpers import (
    HOST,
    PUBLIC,
    Server,
    answering,
    https_server,
    trusting,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpcore2

    from mcpauth.web.public_address import Address

pytestmark = pytest.mark.anyio

URL = f"https://{HOST}/client.json"
LIMIT = 5 * 1024


async def refusal(server: Server, fetch: SafeFetch, url: str = URL) -> str:
    """Why it failed, which has to be soon."""
    with pytest.raises(FetchFailed) as failed:
        await fetch(url, max_bytes=LIMIT)
    return failed.value.reason


async def test_a_document_comes_from_the_address_that_was_checked_and_under_its_name() -> None:
    """The certificate is checked for the name, which is also in SNI and Host."""
    async with https_server(answering(b'{"a": 1}')) as server:
        fetched = await server.fetch()(f"https://{HOST}:8443/a/b.json?c=d", max_bytes=LIMIT)
    assert fetched.document == {"a": 1}
    assert fetched.fresh_for is None
    assert server.connected == [f"{PUBLIC} 8443"]
    assert server.names == [HOST]
    (head,) = server.requests
    assert head.startswith(b"GET /a/b.json?c=d HTTP/1.1\r\n")
    assert f"\r\nhost: {HOST}:8443\r\n".encode() in head.lower()
    assert b"cookie" not in head.lower()
    assert b"authorization" not in head.lower()


async def test_the_default_port_and_path_are_those_of_https() -> None:
    async with https_server(answering(b"[]", content_type="application/jwk-set+json")) as server:
        assert (await server.fetch()(f"https://{HOST}", max_bytes=LIMIT)).document == []
    assert server.connected == [f"{PUBLIC} 443"]
    assert server.requests[0].startswith(b"GET / HTTP/1.1\r\n")
    assert f"\r\nhost: {HOST}\r\n".encode() in server.requests[0].lower()


async def test_cache_headers_are_told() -> None:
    """RFC 9111 §5.2."""
    async with https_server(answering(b"{}", "Cache-Control: public, max-age=300", "Age: 20")) as server:
        assert (await server.fetch()(URL, max_bytes=LIMIT)).fresh_for == 280


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("10.1.2.3",),
        ("172.16.0.1",),
        ("192.168.1.1",),
        ("169.254.169.254",),
        ("100.64.0.1",),
        ("0.0.0.0",),  # noqa: S104 - an address to refuse
        ("224.0.0.1",),
        ("255.255.255.255",),
        ("::1",),
        ("fd00::1",),
        ("fe80::1",),
        ("::ffff:10.0.0.1",),
        ("64:ff9b::",),
        ("64:ff9b::7f00:1",),
        (PUBLIC, "10.0.0.1"),
        ("10.0.0.1", PUBLIC),
        (PUBLIC, "::1"),
    ],
)
async def test_a_name_with_an_address_that_is_not_public_is_not_connected_to(
    addresses: tuple[str, ...],
) -> None:
    """Any one of them is enough. Nothing is sent anywhere."""
    async with https_server(answering(b"{}")) as server:
        reason = await refusal(server, server.fetch(*addresses))
    assert "not public" in reason
    assert server.connected == []
    assert server.requests == []


async def test_loopback_is_refused_by_default_and_let_through_by_a_tests_own_hook() -> None:
    """With the system's resolver and real connections."""

    async def resolve(host: str, port: int) -> Sequence[Address]:
        return [ip_address("127.0.0.1")]

    async with https_server(answering(b"{}")) as server:
        url = f"https://{HOST}:{server.port}/client.json"
        await refusal(server, SafeFetch(resolve=resolve, ssl_context=trusting()), url)
        assert server.requests == []
        hooked = SafeFetch(resolve=resolve, ssl_context=trusting(), permits=lambda _address: True)
        assert (await hooked(url, max_bytes=LIMIT)).document == {}


async def test_a_name_is_resolved_once_so_that_a_second_answer_changes_nothing() -> None:
    """DNS rebinding: the second answer would be private."""
    answers = [[PUBLIC], ["127.0.0.1"]]
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[Address]:
        asked.append(host)
        return [ip_address(text) for text in answers.pop(0)]

    async with https_server(answering(b"{}")) as server:
        fetch = SafeFetch(resolve=resolve, connect=server.connect, ssl_context=trusting())
        assert (await fetch(URL, max_bytes=LIMIT)).document == {}
    assert asked == [HOST]
    assert server.connected == [f"{PUBLIC} 443"]


async def test_a_dead_address_is_followed_by_the_next_of_those_that_were_checked() -> None:
    async def resolve(host: str, port: int) -> Sequence[Address]:
        return [ip_address("2606:2800::1"), ip_address(PUBLIC)]

    async with https_server(answering(b"{}")) as server:

        async def connect(address: Address, port: int) -> httpcore2.AsyncNetworkStream:
            if address.version == 6:
                raise OSError("no route")
            return await server.connect(address, port)

        fetch = SafeFetch(resolve=resolve, connect=connect, ssl_context=trusting())
        assert (await fetch(URL, max_bytes=LIMIT)).document == {}


async def test_a_certificate_of_another_name_is_refused() -> None:
    async with https_server(answering(b"{}"), name="other.example") as server:
        await refusal(server, server.fetch())
    assert server.requests == []


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    async with https_server(answering(b"{}")) as server:
        await refusal(server, server.fetch(trusted=ssl.create_default_context()))
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/a",
        f"HTTPS://{HOST}/a",
        f"https://user@{HOST}/a",
        f"https://{HOST}/a#b",
        f"https://{HOST}\\@evil.example/a",
        f"https://{HOST}/a b",
        "https://127.0.0.1/a",
        "https://127.1/a",
        "https://0x7f000001/a",
        "https://2130706433/a",
        "https://[::1]/a",
        "https://localhost/a",
        "https://intranet/a",
        "https://printer.local/a",
        "https://a.localhost/a",
        f"https://{HOST}./a",
        f"https://{HOST}:99999/a",
        f"https://{HOST}:0/a",
        f"https://{HOST}/../a",
        f"file://{HOST}/a",
        "",
    ],
)
async def test_a_url_is_judged_before_its_name_is_looked_up(url: str) -> None:
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[Address]:
        asked.append(host)
        return [ip_address(PUBLIC)]

    with pytest.raises(FetchFailed):
        await SafeFetch(resolve=resolve)(url, max_bytes=LIMIT)
    assert asked == []


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("location", [URL, "https://127.0.0.1/", "/other"])
async def test_redirects_are_not_followed(status: str, location: str) -> None:
    async with https_server(answering(b"{}", f"Location: {location}", status=status)) as server:
        assert "redirects are not followed" in await refusal(server, server.fetch())
    assert len(server.requests) == 1
    assert len(server.connected) == 1


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "404 Not Found", "500 Error"])
async def test_only_200_is_an_answer(status: str) -> None:
    body = b"" if status[:3] in {"204", "304"} else b"{}"
    async with https_server(answering(body, status=status)) as server:
        assert status[:3] in await refusal(server, server.fetch())


@pytest.mark.parametrize(
    "content_type", ["text/html", "text/json", "application/jsonp", "json", "application/x+jsonx", None]
)
async def test_only_json_is_read(content_type: str | None) -> None:
    async with https_server(answering(b"{}", content_type=content_type)) as server:
        assert "media type" in await refusal(server, server.fetch())


async def test_a_media_type_may_have_parameters() -> None:
    async with https_server(answering(b"{}", content_type="application/json; charset=utf-8")) as server:
        assert (await server.fetch()(URL, max_bytes=LIMIT)).document == {}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a": 1} x', b'{"a": 1}{}', b"\xff\xfe", b'{"a": "\xff"}', b"<html>", b'{"a":1,"a":2}'],
)
async def test_a_body_that_is_not_strict_json_is_refused(body: bytes) -> None:
    """RFC 8259: also no trailing text, no invalid UTF-8, no repeated member."""
    async with https_server(answering(body)) as server:
        assert await refusal(server, server.fetch()) == "not JSON"


async def test_exactly_the_limit_is_read_and_one_byte_more_is_not() -> None:
    for length in (LIMIT, LIMIT + 1):
        body = b'"' + b"x" * (length - 2) + b'"'
        async with https_server(answering(body)) as server:
            if length == LIMIT:
                assert (await server.fetch()(URL, max_bytes=LIMIT)).document == "x" * (LIMIT - 2)
            else:
                assert "longer" in await refusal(server, server.fetch())


async def test_an_endless_body_in_chunks_is_cut_off() -> None:
    async def endless(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        while True:
            writer.write(b"400\r\n" + b" " * 1024 + b"\r\n")
            await writer.drain()

    async with https_server(endless) as server:
        assert "longer" in await refusal(server, server.fetch())


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n", b""])
async def test_endless_headers_and_interim_answers_are_cut_off(start: bytes) -> None:
    piece = b"X-A: " + b"a" * 1000 + b"\r\n" if start else b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"

    async def endless(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(piece)
            await writer.drain()

    async with https_server(endless) as server:
        assert await refusal(server, server.fetch()) == "the answer is too long"


@pytest.mark.parametrize("when", ["in the headers", "in the body", "before them"])
async def test_one_deadline_ends_a_slow_drip_wherever_it_drips(when: str) -> None:
    """A byte every now and then resets a timeout on reads, not this one."""
    heads = {
        "before them": b"",
        "in the headers": b"HTTP/1.1 200 OK\r\nX-Slow: ",
        "in the body": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n",
    }

    async def drip(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(heads[when])
        while when != "before them":
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)
        await asyncio.sleep(10)

    async with https_server(drip) as server:
        assert await refusal(server, server.fetch(deadline=0.4)) == "no whole answer in time"


async def test_the_deadline_covers_the_look_up_of_the_name() -> None:
    async def resolve(host: str, port: int) -> Sequence[Address]:
        await asyncio.sleep(10)
        raise AssertionError("not reached")

    with pytest.raises(FetchFailed, match="in time"):
        await SafeFetch(resolve=resolve, deadline=0.1)(URL, max_bytes=LIMIT)


async def test_names_whose_servers_never_answer_hold_up_no_other_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The event loop has a handful of threads for look-ups, and a resolver gives up after half a minute."""
    gave_up = threading.Event()
    ask = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, **options: int) -> object:
        if host.startswith("silent"):
            gave_up.wait(60)
            raise OSError("Temporary failure in name resolution")
        return ask("192.0.2.1", port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    fetch = SafeFetch(deadline=0.1)
    try:
        for number in range(50):
            with pytest.raises(FetchFailed, match="in time"):
                await fetch(f"https://silent{number}.example/client.json", max_bytes=LIMIT)
        with pytest.raises(FetchFailed, match="not public"):
            await SafeFetch(deadline=10)("https://honest.example/client.json", max_bytes=LIMIT)
    finally:
        gave_up.set()


async def test_a_compressed_answer_is_not_unfolded() -> None:
    bomb = gzip.compress(b" " * 1_000_000)
    assert len(bomb) < LIMIT
    async with https_server(answering(bomb, "Content-Encoding: gzip")) as server:
        assert "compressed" in await refusal(server, server.fetch())
    assert b"\r\naccept-encoding: identity\r\n" in server.requests[0].lower()


async def test_what_is_no_http_at_all_is_a_failure_and_no_crash() -> None:
    async def noise(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\xff garbage\r\n\r\n")
        await writer.drain()

    async with https_server(noise) as server:
        assert "no answer" in await refusal(server, server.fetch())


async def test_a_name_that_does_not_exist_is_a_failure_and_no_crash() -> None:
    async def resolve(host: str, port: int) -> Sequence[Address]:
        raise OSError("Name or service not known")

    with pytest.raises(FetchFailed, match="no answer"):
        await SafeFetch(resolve=resolve)(URL, max_bytes=LIMIT)
