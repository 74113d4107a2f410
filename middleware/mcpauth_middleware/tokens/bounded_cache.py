"""A cache that forgets: each entry at its time, and the one used longest ago when there are too many."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

V = TypeVar("V")


class BoundedCache(Generic[V]):
    """At most `max_entries` values by key."""

    def __init__(self, *, max_entries: int, now: Callable[[], float]) -> None:
        self._max_entries = max_entries
        self._now = now
        # In the order of their last use.
        self._entries: OrderedDict[bytes, tuple[float, float, V]] = OrderedDict()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._entries)

    def get(self, key: bytes) -> V | None:
        """The value, until its time has come, or until the clock is set back to before it was put."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        since, until, value = entry
        if not since <= self._now() < until:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: bytes, value: V, *, until: float) -> None:
        """Keep a value until a moment, in place of what is there."""
        now = self._now()
        if until <= now:
            return
        self._entries[key] = (now, until, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def drop(self, key: bytes) -> None:
        """Forget one."""
        self._entries.pop(key, None)
