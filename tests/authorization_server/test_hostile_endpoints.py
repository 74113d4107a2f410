"""Hostile input on every endpoint: an error of the standard, soon, and never a failure of the server."""

from __future__ import annotations

import gc
import json
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Route

from mcpauth.stores.memory import MemoryStore
from tests.authorization_server.front_helpers import LOOPBACK
from tests.authorization_server.hostile_endpoints import (
    ENDPOINTS,
    Attempt,
    Endpoint,
    attempts,
    encoded,
    honest,
)
from tests.authorization_server.hostile_target import Target, attack, target
from tests.authorization_server.hostile_values import ODD_HEADERS, ODD_TEXTS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from anyio.from_thread import BlockingPortal

pytestmark = pytest.mark.anyio


async def test_every_route_is_attacked() -> None:
    """A new endpoint joins with a line in `ENDPOINTS`."""
    async with target() as place:
        app = place.server.app
        assert isinstance(app, Starlette)
        routes = {
            (method, route.path)
            for route in app.router.routes
            if isinstance(route, Route)
            for method in (route.methods or set()) - {"HEAD", "OPTIONS"}
        }
    assert routes == {(endpoint.method, endpoint.route) for endpoint in ENDPOINTS}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
async def test_an_honest_request_gets_further(endpoint: Endpoint) -> None:
    """The control: what the attempts change a little is good, where a table can tell."""
    async with target() as place:
        answer = await attack(place, honest(endpoint), endpoint, await place.values())
    assert answer.status < 400 or not endpoint.complete, answer
    assert b"error=" not in answer.header(b"location")


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
async def test_hostile_input_is_an_error_of_the_standard(endpoint: Endpoint) -> None:
    """RFC 6749 §5.2, RFC 7591 §3.2.2; pages for people; nobody is sent elsewhere, nothing may be kept."""
    async with target() as place:
        for attempt in attempts(endpoint):
            await attack(place, attempt, endpoint, await place.values(renew=False))
            place.server.clock.advance(1)
        answer = await attack(place, honest(endpoint), endpoint, await place.values())
        assert answer.status < 400 or not endpoint.complete, "the server lives on"


@pytest.fixture(scope="module")
def portal() -> Generator[BlockingPortal]:
    """An event loop that outlives the examples of Hypothesis."""
    with start_blocking_portal() as started:
        yield started


@pytest.fixture(scope="module")
def place(portal: BlockingPortal) -> Generator[Target]:
    with portal.wrap_async_context_manager(target()) as started:
        yield started


values = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.sampled_from([value for endpoint in ENDPOINTS for value in endpoint.values.values()]),
    st.binary(max_size=60),
    st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")),
)
headers = st.lists(
    st.one_of(
        st.sampled_from(ODD_HEADERS),
        st.tuples(st.sampled_from([name for name, _ in ODD_HEADERS]), st.binary(max_size=60)),
    ),
    max_size=3,
)


json_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.just(LOOPBACK),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[Endpoint, Attempt]:
    """Any endpoint with any of its parameters, in any number, as any values."""
    endpoint = draw(st.sampled_from(ENDPOINTS))
    good = honest(endpoint)
    more = draw(headers)
    if not endpoint.parameters:
        return endpoint, replace(good, headers=(*good.headers, *more))
    names = st.sampled_from(list(endpoint.values))
    if endpoint.takes == "json":
        body = json.dumps(draw(st.dictionaries(names, json_values))).encode()
        return endpoint, replace(good, headers=(*good.headers, *more), body=(body,))
    chosen = draw(st.dictionaries(names, values))
    honest_ones = {name: value for name, value in endpoint.values.items() if draw(st.booleans())}
    form = encoded({**honest_ones, **chosen})
    if endpoint.takes == "query":
        return endpoint, replace(good, headers=(*good.headers, *more), query=form)
    cut = draw(st.integers(0, len(form)))
    return endpoint, replace(good, headers=(*good.headers, *more), body=(form[:cut], form[cut:]))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests())
def test_no_combination_is_a_failure(
    portal: BlockingPortal, place: Target, request: tuple[Endpoint, Attempt]
) -> None:
    """What nobody thought of."""
    endpoint, attempt = request

    async def run() -> None:
        place.server.clock.advance(1)
        await attack(place, attempt, endpoint, await place.values(renew=False))

    portal.call(run)


ROUNDS, REQUESTS = 3, 100


def remembered(number: int) -> Iterator[tuple[Endpoint, Attempt]]:
    """What makes the server remember something, and anybody may send: each time something else."""
    text = b"%d" % number
    for endpoint in ENDPOINTS:
        if "code_challenge" in endpoint.parameters:
            yield endpoint, honest(endpoint, state=text * 3000)
            yield endpoint, honest(endpoint, client_id=b"https://h%s.example/client.json" % text)
        elif endpoint.route == "/register":
            yield endpoint, honest(endpoint, client_name=b'"%s"' % (text * 100))
        elif endpoint.route == "/sign-in" and endpoint.method == "POST":
            yield endpoint, honest(endpoint, username=text * 20, password=text)


@pytest.mark.timeout(300)
async def test_memory_is_bounded_however_much_comes() -> None:
    """Requests under way, registrations, guesses, failed fetches: all of it is forgotten again."""
    async with target() as place:
        values = await place.values()
        store = place.server.store
        assert isinstance(store, MemoryStore)
        sizes: list[int] = []
        tracemalloc.start()
        try:
            for number in range(ROUNDS * REQUESTS):
                for endpoint, attempt in remembered(number):
                    place.server.clock.advance(1)
                    await attack(place, attempt, endpoint, values)
                if number % REQUESTS == REQUESTS - 1:
                    # Longer than anything that a stranger can make the server remember.
                    place.server.clock.advance(2 * 24 * 3600)
                    place.server.happened.clear()
                    # Sooner than it would, so that each round ends alike.
                    store._sweep_at = 0  # pyright: ignore[reportPrivateUsage]
                    values = await place.values()
                    gc.collect()
                    sizes.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
    # Each round brings two megabytes. What stays are outcomes of fetches, up to a thousand.
    assert sizes[-1] - sizes[0] < 500_000, sizes
