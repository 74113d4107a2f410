"""A store in memory: for tests, trials and single processes that may forget everything."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mcpauth.oauth.store import Record, Records, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable

SWEEP_AFTER = 1000


@dataclass(frozen=True, slots=True)
class _Entry:
    text: str
    expires_at: int | None
    owner: str | None


class MemoryStore:
    """Keeps records as JSON texts, so that nobody changes a stored one by changing what they hold.

    No method awaits anything, so that each is one step to every other task of the event loop.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._sweep_at = SWEEP_AFTER

    def __len__(self) -> int:
        """How many records it holds, with expired ones that have not been swept yet."""
        return len(self._entries)

    async def add(
        self, kind: str, key: str, record: Record, *, expires_at: int | None = None, owner: str | None = None
    ) -> bool:
        """See `Store.add`."""
        if self._find(kind, key) is not None:
            return False
        self._sweep()
        self._entries[kind, key] = _Entry(to_json(record), expires_at, owner)
        return True

    async def get(self, kind: str, key: str) -> Record | None:
        """See `Store.get`."""
        entry = self._find(kind, key)
        return from_json(entry.text) if entry is not None else None

    async def take(self, kind: str, key: str) -> Record | None:
        """See `Store.take`."""
        entry = self._find(kind, key)
        self._entries.pop((kind, key), None)
        return from_json(entry.text) if entry is not None else None

    async def replace(
        self, kind: str, key: str, old: Record, new: Record, *, expires_at: int | None = None
    ) -> bool:
        """See `Store.replace`."""
        entry = self._find(kind, key)
        if entry is None or entry.text != to_json(old):
            return False
        moment = entry.expires_at if expires_at is None else expires_at
        self._entries[kind, key] = replace(entry, text=to_json(new), expires_at=moment)
        return True

    async def list(self, kind: str, owner: str | None = None) -> Records:
        """See `Store.list`."""
        found = (
            (key, entry.text)
            for (entry_kind, key), entry in self._entries.items()
            if entry_kind == kind and owner in (None, entry.owner) and self._is_alive(entry)
        )
        return [(key, from_json(text)) for key, text in sorted(found)]

    async def aclose(self) -> None:
        """See `Store.aclose`: there is nothing to let go of."""

    def _find(self, kind: str, key: str) -> _Entry | None:
        entry = self._entries.get((kind, key))
        return entry if entry is not None and self._is_alive(entry) else None

    def _is_alive(self, entry: _Entry) -> bool:
        return entry.expires_at is None or entry.expires_at > self._now()

    def _sweep(self) -> None:
        """Forget expired records whenever the store has doubled: on average an `add` costs the same."""
        if len(self._entries) < self._sweep_at:
            return
        self._entries = {key: entry for key, entry in self._entries.items() if self._is_alive(entry)}
        self._sweep_at = max(SWEEP_AFTER, 2 * len(self._entries))
