"""A store that fails when it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcpauth.oauth.store import Record, StoreUnavailable
from mcpauth.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Failing:
    """When a store is to fail: at the change of that number from now on."""

    at: int = 0


class FailingStore(MemoryStore):
    """A store that fails once, at the change it is told."""

    def __init__(self, clock: Callable[[], float], failing: Failing) -> None:
        super().__init__(clock)
        self._failing = failing

    def _change(self) -> None:
        self._failing.at -= 1
        if self._failing.at == 0:
            raise StoreUnavailable("it broke")

    async def add(
        self, kind: str, key: str, record: Record, *, expires_at: int | None = None, owner: str | None = None
    ) -> bool:
        self._change()
        return await super().add(kind, key, record, expires_at=expires_at, owner=owner)

    async def replace(
        self, kind: str, key: str, old: Record, new: Record, *, expires_at: int | None = None
    ) -> bool:
        self._change()
        return await super().replace(kind, key, old, new, expires_at=expires_at)
