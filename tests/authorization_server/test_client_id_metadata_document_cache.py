"""How often documents are fetched, how long they are kept, and what a flood of client_ids can do."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import anyio
import pytest

from mcpauth.events import ClientDocumentRefused, Event, Events
from mcpauth.oauth.client import Clients
from mcpauth.oauth.document_cache import DocumentCache, Limits
from mcpauth.oauth.documented_clients import DocumentedClients
from mcpauth.oauth.domain_policy import DomainPolicy
from mcpauth.oauth.errors import InvalidClient, InvalidClientMetadata, OAuthError, TemporarilyUnavailable
from mcpauth.oauth.fetch_budget import FetchBudget
from mcpauth.oauth.https_url import https_url
from mcpauth.stores.memory import MemoryStore
from mcpauth.web.fetch import SafeFetch
from tests.authorization_server.core_helpers import Clock
from tests.authorization_server.document_helpers import CLIENT_ID, Network, document
from tests.authorization_server.https_helpers import answering, https_server

if TYPE_CHECKING:
    from mcpauth.oauth.fetching import Fetch

pytestmark = pytest.mark.anyio


class Known:
    """The known clients of a server with this network, and what its operator is told."""

    def __init__(self, fetch: Fetch) -> None:
        self.clock = Clock()
        self.happened: list[Event] = []
        self.clients = DocumentedClients(
            Clients(MemoryStore(self.clock), now=self.clock),
            fetch,
            FetchBudget(now=self.clock),
            policy=DomainPolicy(),
            events=Events(self.happened.append),
            now=self.clock,
        )

    async def get(self, client_id: str = CLIENT_ID) -> str | None:
        """The name of the client, or the code of the error."""
        try:
            client = await self.clients.get(client_id)
        except OAuthError as error:
            return error.code
        return client.client_name if client is not None else None


@pytest.mark.parametrize(
    ("fresh_for", "kept_for"),
    [
        (None, 600),
        (60, 60),
        (31, 31),
        (1, 30),
        (0, 30),
        (3600, 3600),
        (86400, 86400),
        (7 * 86400, 86400),
        (2**31, 86400),
    ],
)
async def test_a_document_is_kept_as_long_as_its_headers_say_within_bounds(
    fresh_for: int | None, kept_for: int
) -> None:
    """MCP: SHOULD respect HTTP cache headers. Ten minutes where there are none, never more than a day, and
    for half a minute whatever they say.
    """
    network = Network.of(document(), fresh_for=fresh_for)
    known = Known(network)
    assert await known.get() == "Example Client"
    known.clock.advance(kept_for - 0.5)
    assert await known.get() == "Example Client"
    assert len(network.asked) == 1
    known.clock.advance(1)
    assert await known.get() == "Example Client"
    assert len(network.asked) == 2


@pytest.mark.parametrize("wrong", [None, document(client_name=None), document("https://other.example/x")])
async def test_a_failure_is_never_kept_as_a_document_and_nobody_asks_again_for_a_minute(
    wrong: object,
) -> None:
    """§4.3 of the draft: error responses and invalid documents MUST NOT be cached; and no hammering."""
    network = Network({} if wrong is None else {CLIENT_ID: wrong}, fresh_for=86400)
    known = Known(network)
    errors = {await known.get() for _ in range(20)}
    assert len(network.asked) == 1
    assert errors <= {"invalid_client", "invalid_client_metadata"}
    assert len(errors) == 1
    assert [type(event) for event in known.happened] == [ClientDocumentRefused]
    network.documents[CLIENT_ID] = document()
    known.clock.advance(59)
    assert await known.get() in errors
    known.clock.advance(2)
    assert await known.get() == "Example Client"


async def test_a_kept_document_is_not_used_beyond_its_time_when_it_turns_invalid() -> None:
    network = Network.of(document(), fresh_for=60)
    known = Known(network)
    assert await known.get() == "Example Client"
    network.documents[CLIENT_ID] = document(client_secret="x")
    known.clock.advance(61)
    assert await known.get() == "invalid_client_metadata"
    network.documents.clear()
    known.clock.advance(61)
    assert await known.get() == "invalid_client"


async def test_fifty_that_ask_at_once_share_one_fetch() -> None:
    network = Network.of(document(), delay=0.02)
    known = Known(network)
    found: list[str | None] = []

    async def ask() -> None:
        found.append(await known.get())

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(ask)
    assert found == ["Example Client"] * 50
    assert network.asked == [CLIENT_ID]


async def test_when_the_one_that_fetches_hangs_up_another_takes_over() -> None:
    network = Network.of(document(), delay=0.05)
    known = Known(network)
    found: list[str | None] = []

    async def ask() -> None:
        found.append(await known.get())

    async with anyio.create_task_group() as tasks, anyio.create_task_group() as impatient:
        impatient.start_soon(ask)
        await anyio.sleep(0.01)
        tasks.start_soon(ask)
        tasks.start_soon(ask)
        await anyio.sleep(0.01)
        impatient.cancel_scope.cancel()
    assert found == ["Example Client"] * 2
    assert len(network.asked) == 2


async def test_a_thousand_client_ids_on_one_host_are_thirty_fetches_a_minute() -> None:
    """Whoever invents client_ids cannot turn this server against somebody else's."""
    known = Known(network := Network())
    answers = [await known.get(f"https://victim.example/{number}") for number in range(1000)]
    assert len(network.asked) == 30
    assert answers.count("invalid_client") == 30
    assert answers.count("temporarily_unavailable") == 970
    network.documents["https://other.example/x"] = document("https://other.example/x")
    assert await known.get("https://other.example/x") == "Example Client", "others are still served"
    known.clock.advance(61)
    await known.get("https://victim.example/again")
    assert len(network.asked) == 32


async def test_a_thousand_ports_of_one_host_are_thirty_fetches_a_minute_too() -> None:
    """Behind each of them is the same machine."""
    known = Known(network := Network())
    for port in range(1, 1000):
        await known.get(f"https://victim.example:{port}/client.json")
    assert len(network.asked) == 30


async def test_a_thousand_hosts_are_a_hundred_and_twenty_fetches_a_minute() -> None:
    known = Known(network := Network())
    for number in range(1000):
        await known.get(f"https://host{number}.example/x")
    assert len(network.asked) == 120


async def test_a_spent_budget_does_not_keep_known_documents_from_being_used() -> None:
    network = Network.of(document())
    known = Known(network)
    assert await known.get() == "Example Client"
    for number in range(200):
        await known.get(f"https://client.example/{number}")
    assert await known.get() == "Example Client"


async def flood(known: Known, first: int) -> None:
    """More client_ids of nobody than a minute's budget."""
    for number in range(first, first + 200):
        await known.get(f"https://host{number}.example/x")


async def test_a_spent_budget_does_not_keep_clients_out_whose_document_has_aged() -> None:
    """RFC 9111 §4.2.4: stale while nobody can ask, as long as a document may be kept at all. Two requests a
    second, of anybody, would otherwise keep out every client that has a document.
    """
    network = Network.of(document(), fresh_for=60)
    known = Known(network)
    assert await known.get() == "Example Client"
    for minute in range(20):
        known.clock.advance(61)
        await flood(known, 200 * minute)
        assert await known.get() == "Example Client"
    assert network.asked.count(CLIENT_ID) == 1
    network.documents[CLIENT_ID] = document(client_name="A new name")
    known.clock.advance(61)
    assert await known.get() == "A new name", "asked for as soon as there is room"
    known.clock.advance(86400)
    await flood(known, 0)
    assert await known.get() == "temporarily_unavailable"


async def test_a_spent_budget_brings_no_refused_document_back() -> None:
    network = Network.of(document(), fresh_for=60)
    known = Known(network)
    assert await known.get() == "Example Client"
    network.documents[CLIENT_ID] = document(client_secret="x")
    known.clock.advance(61)
    assert await known.get() == "invalid_client_metadata"
    known.clock.advance(61)
    await flood(known, 0)
    assert await known.get() == "temporarily_unavailable"


async def test_failures_push_no_document_out() -> None:
    """Anybody can cause failures; a thousand outcomes are kept."""
    known = Known(network := Network.of(document(), fresh_for=86400))
    assert await known.get() == "Example Client"
    for minute in range(10):
        known.clock.advance(61)
        await flood(known, 200 * minute)
    assert len(network.asked) > 1000
    assert await known.get() == "Example Client"
    assert network.asked.count(CLIENT_ID) == 1


async def test_no_more_than_sixteen_are_under_way_and_four_to_one_host() -> None:
    known = Known(network := Network(delay=0.05))
    answers: list[str | None] = []

    async def ask(client_id: str) -> None:
        answers.append(await known.get(client_id))

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(ask, f"https://victim.example/{number}")
        for number in range(30):
            tasks.start_soon(ask, f"https://host{number}.example/x")
    assert sum("victim" in url for url in network.asked) == 4
    assert len(network.asked) == 16
    assert answers.count("temporarily_unavailable") == 24
    assert await known.get("https://later.example/x") == "invalid_client", "and then there is room again"


async def test_memory_is_bounded_and_the_least_used_goes_first() -> None:
    clock = Clock()
    network = Network({f"https://a.example/{number}": number for number in range(2000)}, fresh_for=86400)
    budget = FetchBudget(per_host=10**6, in_all=10**6, now=clock)
    cache = DocumentCache[object](
        network, lambda _url, value: value, budget, Limits(100, documents=50), now=clock
    )
    for number in range(2000):
        await cache.get(https_url("https://a.example/0"))
        await cache.get(https_url(f"https://a.example/{number}"))
    assert len(cache) == 50
    assert network.asked.count("https://a.example/0") == 1


async def test_a_budget_says_when_to_come_back() -> None:
    budget = FetchBudget(per_host=1, now=Clock())
    with budget.spend("a.example:443"):
        pass
    with pytest.raises(TemporarilyUnavailable) as refusal, budget.spend("a.example:443"):
        pass
    assert refusal.value.status_code == 503
    assert refusal.value.headers["Retry-After"] == "60"


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (b"<html></html>", "Content-Type: text/html"),
        (b'"' + b"x" * 5118 + b'" ', "X-A: 5121 bytes"),
        (b"[]", "X-A: array"),
        (b'{"client_id": 1} junk', "X-A: junk"),
        (b"\x1f\x8b", "Content-Encoding: gzip"),
    ],
)
async def test_whatever_a_server_sends_instead_of_a_document_is_invalid_client(
    body: bytes, header: str
) -> None:
    """Over real https; bounded by size and time, and nothing is kept but that it failed."""
    content_type = None if header.startswith("Content-Type") else "application/json"
    async with https_server(answering(body, header, content_type=content_type)) as web:
        known = Known(web.fetch())
        assert await known.get() == "invalid_client"
        assert await known.get() == "invalid_client"
    assert len(web.requests) == 1


async def test_why_a_fetch_failed_is_told_to_the_operator_and_not_to_the_client() -> None:
    """What this server can reach, and what not, is nothing for a stranger."""
    async with https_server(answering(b"{}")) as web:
        known = Known(web.fetch("10.0.0.1"))
        with pytest.raises(InvalidClient) as refusal:
            await known.clients.get(CLIENT_ID)
    assert refusal.value.description == "the client ID metadata document cannot be fetched"
    (event,) = known.happened
    assert isinstance(event, ClientDocumentRefused)
    assert "not public" in event.reason
    assert web.connected == []


async def test_the_same_error_can_be_raised_many_times() -> None:
    known = Known(Network.of(document(client_name=None)))
    for _ in range(3):
        with pytest.raises(InvalidClientMetadata, match="client_name"):
            await known.clients.get(CLIENT_ID)


class Body:
    """Something large that a request holds."""


async def test_a_failure_that_is_kept_keeps_nothing_else_alive() -> None:
    """A thousand failures are kept: with their tracebacks they would be a thousand requests."""
    known = Known(Network.of(document(client_name=None)))

    async def request() -> weakref.ref[Body]:
        body = Body()
        for _ in range(2):
            with pytest.raises(InvalidClientMetadata):
                await known.clients.get(CLIENT_ID)
        return weakref.ref(body)

    held = await request()
    gc.collect()
    assert held() is None


async def test_the_default_fetch_refuses_what_is_not_public() -> None:
    with pytest.raises(InvalidClient):
        await Known(SafeFetch(deadline=0.1)).clients.get("https://localhost/x")
