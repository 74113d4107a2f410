"""What keeps strangers from filling the store: a ceiling for authorization requests, RFC 6585 §4."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import httpx2
import pytest

from mcpauth.settings import ConfigurationError
from tests.authorization_server.core_helpers import basic
from tests.authorization_server.device_helpers import Device, device_client
from tests.authorization_server.front_helpers import ISSUER, LOOPBACK, SETTINGS, Running, running

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

pytestmark = pytest.mark.anyio

REQUESTS, PUSHED, DEVICE_CODES = "authorization_request", "pushed_authorization_request", "device_code"


def started(ceiling: int) -> AbstractAsyncContextManager[Running]:
    return running(
        settings=replace(SETTINGS, authorization_requests_per_hour=ceiling, device_authorization=True)
    )


async def stored(server: Running, kind: str = REQUESTS) -> int:
    return len(await server.store.list(kind))


async def begin(server: Running, *, address: str = "192.0.2.7") -> httpx2.Response:
    async with server.browser(address=address) as browser:
        return await browser.authorize()


async def test_one_address_begins_no_more_than_the_ceiling() -> None:
    """RFC 6585 §4: 429 with Retry-After, as a page, since a person waits; nothing is stored."""
    async with started(3) as server:
        assert [(await begin(server)).status_code for _ in range(3)] == [303] * 3
        refused = await begin(server)
        assert refused.status_code == 429
        assert refused.headers["content-type"] == "text/html; charset=utf-8"
        assert "set-cookie" not in refused.headers
        assert "This server is busy" in refused.text
        assert await stored(server) == 3
        server.clock.advance(int(refused.headers["retry-after"]))
        assert (await begin(server)).status_code == 303


async def test_the_ceiling_is_for_each_address_and_ipv6_network() -> None:
    async with started(1) as server:
        assert (await begin(server, address="2001:db8:1:2::1")).status_code == 303
        assert (await begin(server, address="2001:db8:1:2::2")).status_code == 429
        assert (await begin(server, address="2001:db8:1:3::1")).status_code == 303


async def test_whoever_is_signed_in_is_counted_alone() -> None:
    """A company behind one address is not kept out by somebody in it, once its people have signed in."""
    async with started(2) as server, server.browser() as ada:
        await ada.to_consent()
        assert [(await begin(server)).status_code for _ in range(2)] == [303, 429]
        assert [(await ada.authorize()).status_code for _ in range(3)] == [303, 303, 429]
        assert await stored(server) == 4


async def test_refused_requests_are_not_counted() -> None:
    async with started(1) as server, server.browser() as browser:
        for _ in range(3):
            await browser.authorize(code_challenge=None)
            await browser.authorize(prompt="none")
        assert (await browser.authorize()).status_code == 303


async def test_pushed_requests_count_too() -> None:
    """RFC 9126 §2.3: 429, in the form of an error of /token; nothing is stored."""
    async with started(2) as server, server.browser() as browser:
        assert [(await browser.push()).status_code for _ in range(2)] == [201, 201]
        refused = await browser.push()
        assert refused.status_code == 429
        assert refused.json()["error"] == "temporarily_unavailable"
        assert int(refused.headers["retry-after"]) > 0
        assert await stored(server, PUSHED) == 2
        assert (await browser.authorize()).status_code == 429


async def test_a_client_that_an_operator_registered_with_a_secret_is_counted_alone() -> None:
    """It pushes for all its users, from one address, which may be somebody else's, too."""
    metadata = {"redirect_uris": [LOOPBACK], "token_endpoint_auth_method": "client_secret_basic"}
    async with started(1) as server, server.browser() as stranger:
        known, secret = await server.clients.register(metadata, source="pre-registered")
        itself, own_secret = await server.clients.register(metadata, source="dynamic")
        request = stranger.request_parameters(redirect_uri=LOOPBACK)
        proofs = [basic(f"{known.client_id}:{secret}"), basic(f"{itself.client_id}:{own_secret}")]
        assert (await stranger.push()).status_code == 201
        answers = [
            (await stranger.http.post("/par", data={**request, "client_id": client.client_id}, headers=proof))
            for client, proof in zip((known, itself), proofs, strict=True)
        ]
        assert [answer.status_code for answer in answers] == [201, 429]
        again = {**request, "client_id": known.client_id}
        assert (await stranger.http.post("/par", data=again, headers=proofs[0])).status_code == 429


async def test_device_codes_count_too() -> None:
    """RFC 8628 §3.2: an error of /token; no code is made."""
    async with started(2) as server:
        transport = httpx2.ASGITransport(server.app, client=("198.51.100.9", 5000))
        async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
            device = Device(http, await device_client(server), {})
            assert [(await device.ask()).status_code for _ in range(2)] == [200, 200]
            refused = await device.ask()
        assert refused.status_code == 429
        assert refused.json()["error"] == "temporarily_unavailable"
        assert await stored(server, DEVICE_CODES) == 2


async def test_entering_one_user_code_over_and_over_counts_too() -> None:
    """Each time begins a request of its own."""
    async with started(2) as server, server.browser() as browser:
        transport = httpx2.ASGITransport(server.app, client=("198.51.100.9", 5000))
        async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
            device = Device(http, await device_client(server), {})
            await device.ask()
        page = await browser.http.get("/device")
        answers = [await browser.submit(page, {"user_code": device.user_code}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [303, 303, 429]
        assert await stored(server) == 2


async def test_ten_thousand_an_hour_is_the_ceiling_unless_it_is_set() -> None:
    """Far above what a company behind one address does, far below what fills a disk."""
    assert SETTINGS.authorization_requests_per_hour == 10_000
    with pytest.raises(ConfigurationError, match="authorization_requests_per_hour: must be at least 1"):
        replace(SETTINGS, authorization_requests_per_hour=0)
