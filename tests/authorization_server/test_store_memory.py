"""The store in memory keeps the contract."""

from __future__ import annotations

import pytest

from mcpauth.stores.memory import SWEEP_AFTER, MemoryStore
from tests.authorization_server.core_helpers import START, Clock
from tests.authorization_server.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self, clock: Clock) -> MemoryStore:
        return MemoryStore(clock)

    async def test_expired_records_do_not_pile_up(self, store: MemoryStore, clock: Clock) -> None:
        for n in range(3 * SWEEP_AFTER):
            await store.add("k", str(n), {}, expires_at=START + n + 1)
            clock.advance(1)
        assert len(store) <= SWEEP_AFTER
