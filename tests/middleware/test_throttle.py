"""Failed authentications by address: a generous rate, and never in the way of a valid token."""

from __future__ import annotations

from typing import Any

import pytest

from mcpauth_middleware.throttle import FailedAuthentications, subscriber
from tests.middleware.edge_helpers import Clock, Journal, RecordingApp, bearer, client_of, post, protect

pytestmark = pytest.mark.anyio


class Subject:
    """A protected app with a strict rate, reached from any address."""

    def __init__(self, rate: str | None = "5/minute") -> None:
        self.app, self.journal, self.clock = RecordingApp(), Journal(), Clock()
        options: dict[str, Any] = {"audit": self.journal, "now": self.clock}
        if rate != "default":
            options["failed_authentications"] = rate
        self.middleware = protect(self.app, **options)

    async def statuses(self, number: int, headers: dict[str, str], address: str = "192.0.2.7") -> list[int]:
        client = client_of(self.middleware, address=address)
        return [(await post(client, "tools/list", headers=headers)).status_code for _ in range(number)]


async def test_failures_beyond_the_rate_get_429_and_retry_after() -> None:
    """RFC 6585 §4; whether the token is missing, bad or sent twice."""
    subject = Subject()
    client = client_of(subject.middleware)

    assert await subject.statuses(3, {}) == [401, 401, 401]
    assert await subject.statuses(2, bearer("garbage")) == [401, 401]
    response = await post(client, "tools/list", headers={})
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "12"
    assert "WWW-Authenticate" not in response.headers
    assert response.json()["error"] == "rate_limited"
    assert subject.journal.events[-1]["limit"] == "failed authentications"

    subject.clock.time += 12
    assert await subject.statuses(2, {}) == [401, 429]
    assert not subject.app.scopes


async def test_a_valid_token_passes_whatever_its_neighbours_do() -> None:
    """One client in circles must not shut out an office."""
    subject = Subject()
    await subject.statuses(20, {})

    assert await subject.statuses(50, bearer()) == [200] * 50


async def test_addresses_are_counted_apart_and_networks_of_one_subscriber_together() -> None:
    """RFC 6177: who has one address of a /64 has them all."""
    subject = Subject()
    await subject.statuses(6, {}, "192.0.2.7")

    assert await subject.statuses(1, {}, "192.0.2.8") == [401]
    for last in range(5):
        assert await subject.statuses(1, {}, f"2001:db8:1:2::{last}") == [401]
    assert await subject.statuses(1, {}, "2001:db8:1:2:ffff::1") == [429]
    assert await subject.statuses(1, {}, "2001:db8:1:3::1") == [401]


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_belongs_to_a_subscriber(address: str, whose: str) -> None:
    """Also when IPv4 comes in the clothes of IPv6."""
    assert subscriber(address) == whose


async def test_discovery_of_many_clients_behind_one_address_is_no_failure() -> None:
    """Each begins with two or three 401s: the default lets two hundred clients start at once."""
    assert set(await Subject("default").statuses(600, {})) == {401}


async def test_it_can_be_turned_off_and_needs_an_address() -> None:
    """Behind a Unix socket every client looks alike."""
    assert set(await Subject(None).statuses(50, {})) == {401}
    failures = FailedAuthentications("1/minute", now=Clock())
    for _ in range(5):
        await failures.count(None)


@pytest.mark.parametrize("rate", ["", "many", "5 per minute", "0/minute"])
def test_a_rate_that_is_none_is_refused_at_start(rate: str) -> None:
    """The message names the option."""
    with pytest.raises(ValueError, match=r"^failed_authentications: "):
        Subject(rate)
