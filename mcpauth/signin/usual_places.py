"""From where users have signed in before, so that nobody elsewhere can keep them out by guessing.

A place is a network address as far as counting goes. Only a digest of it is kept, together with the name: it
tells nothing to whoever reads the database.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from mcpauth.oauth.store import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth.oauth.store import Store

KIND = "usual_place"
REMEMBERED = timedelta(days=90)


class UsualPlaces:
    """The places in the store."""

    def __init__(self, store: Store, *, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now

    async def has(self, name: str, place: str) -> bool:
        """Whether somebody has signed in under the name from there, not too long ago."""
        return await self._store.get(KIND, _key(name, place)) is not None

    async def add(self, name: str, place: str) -> None:
        """Somebody has."""
        key, expires_at = _key(name, place), int(self._now() + REMEMBERED.total_seconds())
        if not await self._store.add(KIND, key, {}, expires_at=expires_at):
            await self._store.replace(KIND, key, {}, {}, expires_at=expires_at)


def _key(name: str, place: str) -> str:
    # The length first, so that no two pairs of name and place are one text.
    return digest(f"{len(name)}:{name}{place}")
