"""Signing keys: made once, kept in the store, never shown."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mcpauth.oauth.signing_keys import SigningKeys
from mcpauth.stores.sqlite import SqliteStore
from tests.authorization_server.core_helpers import Clock, core_server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_the_first_start_makes_the_key_that_later_ones_find(tmp_path: Path) -> None:
    kids: list[str] = []
    for _ in range(2):
        store = await SqliteStore.open(tmp_path / "as.db")
        kids.append((await SigningKeys.load(store)).current.kid)
        await store.aclose()
    assert kids[0] == kids[1]


async def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    stores = [await SqliteStore.open(tmp_path / "as.db") for _ in range(4)]
    rings = await asyncio.gather(*(SigningKeys.load(store, Clock()) for store in stores))
    assert len({ring.current.kid for ring in rings}) == 1
    assert all(len(ring.jwks()["keys"]) == 1 for ring in rings)
    await asyncio.gather(*(store.aclose() for store in stores))


async def test_the_private_half_shows_nowhere() -> None:
    async with core_server() as server:
        ((_, record),) = await server.store.list("signing_key")
        secret = record["private_jwk"]["d"]
        assert secret not in (await server.http.get("/jwks")).text
        assert secret not in repr(server.keys) + repr(server.keys.current)
