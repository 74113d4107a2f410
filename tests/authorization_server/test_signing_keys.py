"""Rotation: one key after another signs, and no token that is good stops being so."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from mcpauth.oauth.access_token import AccessTokens
from mcpauth.oauth.key_pair import new_private_jwk, signing_key
from mcpauth.oauth.key_refresh import kept_fresh
from mcpauth.oauth.key_rings import KeyRings
from mcpauth.oauth.key_schedule import LATE, PUBLISHED_AHEAD
from mcpauth.oauth.permission import Permission
from mcpauth.oauth.signing_keys import KIND, SigningKeys
from mcpauth.oauth.store import StoreUnavailable
from mcpauth.stores.memory import MemoryStore
from mcpauth.stores.sqlite import SqliteStore
from mcpauth_middleware import InvalidToken, JwtVerifier
from tests.authorization_server.core_helpers import ISSUER, NOTES, Clock, core_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx2

    from mcpauth.oauth.store import Records

pytestmark = pytest.mark.anyio

DAY = 86_400
TOKEN_LIFETIME = 600
LIFETIME = timedelta(days=90)


def tokens_of(keys: SigningKeys, clock: Clock) -> AccessTokens:
    return AccessTokens(ISSUER, KeyRings(keys), MemoryStore(clock), now=clock)


async def mint(keys: SigningKeys, clock: Clock) -> str:
    permission = Permission(NOTES, ("notes:read",))
    return (await tokens_of(keys, clock).mint_for_client("robot", permission)).value


def states(keys: SigningKeys) -> list[str]:
    return [key.state for key in keys.statuses()]


def published(keys: SigningKeys) -> list[str]:
    return [key["kid"] for key in keys.jwks()["keys"]]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to be")


async def test_a_new_key_is_published_before_it_signs() -> None:
    """A resource server that asked for the keys just before may keep them for ten minutes."""
    clock = Clock()
    keys = await SigningKeys.load(MemoryStore(clock), clock)
    first = keys.current.kid
    clock.advance(90 * DAY - PUBLISHED_AHEAD - 1)
    await keys.refresh()
    assert states(keys) == ["current"]
    clock.advance(1)
    await keys.refresh()
    assert states(keys) == ["current", "next"]
    assert keys.current.kid == first
    clock.advance(PUBLISHED_AHEAD)
    assert states(keys) == ["retiring", "current"]
    assert keys.current.kid == published(keys)[1]


async def test_the_old_key_verifies_until_its_last_token_has_expired_and_is_gone_then() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    keys = await SigningKeys.load(store, clock)
    tokens = tokens_of(keys, clock)
    old = keys.current.kid
    await keys.rotate()
    clock.advance(PUBLISHED_AHEAD - 1)
    last = await mint(keys, clock)
    assert jwt.get_unverified_header(last)["kid"] == old
    clock.advance(1)
    assert jwt.get_unverified_header(await mint(keys, clock))["kid"] != old
    clock.advance(TOKEN_LIFETIME - 2)
    assert await tokens.read(last) is not None
    clock.advance(2 + LATE)
    assert old not in published(keys)
    assert keys.find(old) is None
    await keys.refresh()
    assert len(await store.list(KIND)) == 1  # its private half is nowhere any more


async def test_longer_token_lifetimes_keep_the_old_keys_longer() -> None:
    """The setting may have been raised since the key was made."""
    clock = Clock()
    store = MemoryStore(clock)
    await SigningKeys.load(store, clock)
    keys = await SigningKeys.load(store, clock, token_lifetime=timedelta(days=1))
    await keys.rotate()
    clock.advance(PUBLISHED_AHEAD + DAY)
    assert states(keys) == ["retiring", "current"]
    clock.advance(LATE)
    assert states(keys) == ["current"]


async def test_zero_turns_automatic_rotation_off() -> None:
    clock = Clock()
    keys = await SigningKeys.load(MemoryStore(clock), clock, lifetime=timedelta(0))
    clock.advance(1000 * DAY)
    await keys.refresh()
    assert states(keys) == ["current"]


async def test_after_a_long_sleep_the_new_key_waits_its_time_all_the_same() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await SigningKeys.load(store, clock)
    clock.advance(365 * DAY)
    keys = await SigningKeys.load(store, clock)
    assert states(keys) == ["current", "next"]
    assert keys.statuses()[1].signs_from == clock() + PUBLISHED_AHEAD


async def test_a_key_from_before_rotation_goes_on_signing() -> None:
    """Records of the first version of this program have no turn in them."""
    clock = Clock()
    store = MemoryStore(clock)
    keys = await SigningKeys.load(store, clock)
    ((name, record),) = await store.list(KIND)
    early = {key: record[key] for key in ("algorithm", "created_at", "private_jwk")}
    assert await store.replace(KIND, name, record, early)
    again = await SigningKeys.load(store, clock)
    assert again.current.kid == keys.current.kid
    assert states(again) == ["current"]


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
async def test_each_algorithm_signs_what_a_resource_server_verifies(algorithm: str) -> None:
    """RFC 7518 §3.1, RFC 8037 §3.1; the published key says its `alg` (RFC 7517 §4.4)."""
    clock = Clock()
    keys = await SigningKeys.load(MemoryStore(clock), clock, algorithm=algorithm)
    (public,) = keys.jwks()["keys"]
    assert public["alg"] == algorithm
    assert not {"d", "p", "q"} & public.keys()
    token = await mint(keys, clock)
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    claims = jwt.decode(
        token,
        jwt.PyJWK(public),
        [algorithm],
        audience=NOTES,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["client_id"] == "robot"
    assert await tokens_of(keys, clock).read(token) == claims


async def test_another_algorithm_in_the_settings_makes_the_next_key() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    keys = await SigningKeys.load(store, clock)
    for _ in range(2):  # the second start finds it under way
        keys = await SigningKeys.load(store, clock, algorithm="EdDSA")
        assert [(key.algorithm, key.state) for key in keys.statuses()] == [
            ("ES256", "current"),
            ("EdDSA", "next"),
        ]
    old = await mint(keys, clock)
    clock.advance(PUBLISHED_AHEAD)
    assert keys.current.algorithm == "EdDSA"
    clock.advance(-PUBLISHED_AHEAD + 1)
    assert await tokens_of(keys, clock).read(old) is not None


async def test_a_process_with_older_settings_does_not_change_the_algorithm_back() -> None:
    """While two versions of the settings run side by side, the newest start decides."""
    clock = Clock()
    store = MemoryStore(clock)
    older = await SigningKeys.load(store, clock, algorithm="ES256")
    await SigningKeys.load(store, clock, algorithm="EdDSA")
    clock.advance(PUBLISHED_AHEAD)
    await older.refresh()
    assert older.current.algorithm == "EdDSA"
    assert len(await store.list(KIND)) == 2


async def test_processes_that_rotate_at_once_make_one_key(tmp_path: Path) -> None:
    clock = Clock()
    stores = [await SqliteStore.open(tmp_path / "as.db") for _ in range(4)]
    rings = await asyncio.gather(*(SigningKeys.load(store, clock) for store in stores))
    clock.advance(90 * DAY)
    await asyncio.gather(*(ring.refresh() for ring in rings))
    for ring in rings:
        await ring.refresh()
    assert {tuple(states(ring)) for ring in rings} == {("current", "next")}
    clock.advance(PUBLISHED_AHEAD)
    assert len({ring.current.kid for ring in rings}) == 1
    await asyncio.gather(*(store.aclose() for store in stores))


async def test_rotating_twice_makes_one_key() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    keys = await SigningKeys.load(store, clock)
    assert await keys.rotate() == await keys.rotate()
    assert len(await store.list(KIND)) == 2


async def test_retiring_the_current_key_replaces_it_at_once() -> None:
    """What has leaked must sign nothing any more."""
    clock = Clock()
    store = MemoryStore(clock)
    keys = await SigningKeys.load(store, clock)
    leaked, token = keys.current.kid, await mint(keys, clock)
    assert await keys.retire(leaked)
    assert keys.current.kid != leaked
    assert published(keys) == [keys.current.kid]
    assert await tokens_of(keys, clock).read(token) is None
    assert not await keys.retire(leaked)
    assert len(await store.list(KIND)) == 1


async def test_another_process_follows_without_a_restart() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    one, other = await SigningKeys.load(store, clock), await SigningKeys.load(store, clock)
    await one.retire(one.current.kid)
    async with kept_fresh(other, every=0.001):
        await until(lambda: other.current.kid == one.current.kid)


class Unreachable(MemoryStore):
    """A store that is away for a while."""

    away = False

    async def list(self, kind: str, owner: str | None = None) -> Records:
        if self.away:
            raise StoreUnavailable("away")
        return await super().list(kind, owner)


async def test_without_its_store_a_process_goes_on_with_the_keys_it_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    store = Unreachable(clock)
    keys = await SigningKeys.load(store, clock)
    kid = keys.current.kid
    store.away = True
    clock.advance(60)
    async with kept_fresh(keys, every=0.001):
        await until(lambda: bool(caplog.records))
    await keys.refresh_if_old()
    assert published(keys) == [kid]
    store.away = False
    await store.take(KIND, "000001")
    with pytest.raises(StoreUnavailable):
        await keys.refresh()
    assert keys.current.kid == kid


async def test_the_published_keys_are_read_again_after_half_a_minute() -> None:
    async with core_server() as server:
        elsewhere = await SigningKeys.load(server.store, server.clock)
        await elsewhere.rotate()
        assert len((await server.http.get("/jwks")).json()["keys"]) == 1
        server.clock.advance(30)
        assert len((await server.http.get("/jwks")).json()["keys"]) == 2


async def test_a_key_that_only_a_newer_version_understands_does_not_take_the_others_away() -> None:
    """Two versions share a store while they are exchanged: the older one goes on with what it knows."""
    async with core_server() as server:
        before = (await server.http.get("/jwks")).json()
        (_, record), *_ = await server.store.list(KIND)
        await server.store.add(KIND, "000002", record | {"algorithm": "ML-DSA-44"})
        server.clock.advance(31)
        response = await server.http.get("/jwks")
        assert (response.status_code, response.json()) == (200, before)


async def test_a_resource_server_follows_through_a_rotation_without_one_failure() -> None:
    """Its keys are as old as it lets them become: it must never meet a token that it cannot verify."""
    async with core_server() as server:
        asked: list[str] = []

        async def note(request: httpx2.Request) -> None:
            asked.append(request.url.path)

        server.http.event_hooks = {"request": [note], "response": []}
        verifier = JwtVerifier(resource=NOTES, issuers=[ISSUER], http_client=server.http, now=server.clock)
        await server.keys.rotate()
        kids: set[str] = set()
        for _ in range(60):
            token = await mint(server.keys, server.clock)
            kids.add(jwt.get_unverified_header(token)["kid"])
            assert (await verifier.verify(token)).client_id == "robot"
            server.clock.advance(60)
        assert len(kids) == 2
        asked.clear()
        await _flood(verifier, await mint(server.keys, server.clock))
        assert asked.count("/jwks") <= 2  # one is the renewal that was due; none is asked for by each token


async def _flood(verifier: JwtVerifier, token: str) -> None:
    """Tokens with a `kid` that nobody knows."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    ring = await SigningKeys.load(MemoryStore())
    for number in range(20):
        forged = jwt.encode(
            claims,
            ring.current.private_key,
            algorithm="ES256",
            headers={"typ": "at+jwt", "kid": f"unknown {number}"},
        )
        with pytest.raises(InvalidToken):
            await verifier.verify(forged)


async def test_a_kid_can_be_given_on_a_command_line() -> None:
    """It is a thumbprint in base64url, and what begins with a hyphen would be taken for an option."""
    made = [
        signing_key({"algorithm": "ES256", "private_jwk": await new_private_jwk("ES256")}) for _ in range(500)
    ]
    assert len({key.kid for key in made}) == 500
    assert not [key.kid for key in made if key.kid.startswith("-")]
