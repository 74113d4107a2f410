"""Tells everyone who waits when the revocation list changes, with one look at the store for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from mcpauth.oauth.store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcpauth.oauth.revocation_list import Revocation, RevocationList

logger = logging.getLogger(__name__)

# Another process on the same store may have revoked: this is how soon all hear of it.
INTERVAL_SECONDS = 0.5
MAX_WAITING = 256


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The list at one moment; equal lists have equal versions, in every process."""

    revocations: tuple[Revocation, ...]
    version: str

    @classmethod
    def of(cls, revocations: Sequence[Revocation]) -> Self:
        """The snapshot of these entries."""
        text = json.dumps([(each.key, each.until) for each in revocations])
        return cls(tuple(revocations), hashlib.sha256(text.encode()).hexdigest()[:32])


class TooManyWaiting(Exception):
    """As many wait as may; whoever asks can have the list of now."""


class RevocationFeed:
    """The list, now and when it changes.

    The store is read by whoever needs the list of now, at most once in `interval`, and by one shared task
    while anybody waits.
    """

    def __init__(
        self,
        revocations: RevocationList,
        *,
        interval: float = INTERVAL_SECONDS,
        max_waiting: int = MAX_WAITING,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._revocations = revocations
        self._interval = interval
        self._max_waiting = max_waiting
        self._monotonic = monotonic
        self._latest = Snapshot.of(())
        self._read_at = -float("inf")
        self._waiting: set[asyncio.Future[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether the server is going down: nobody should wait any more."""
        return self._is_closed

    async def current(self) -> Snapshot:
        """The list of now, at most `interval` seconds old.

        Raises:
            StoreUnavailable: the store could not be read.
        """
        if self._monotonic() - self._read_at >= self._interval:
            await self._read()
        return self._latest

    async def after(self, version: str, seconds: float) -> Snapshot:
        """The first list that differs from `version`, or the list as it is when so many seconds have passed.

        Raises:
            TooManyWaiting: it would have to wait, and too many do.
            StoreUnavailable: the store could not be read before the waiting, or not at its end.
        """
        deadline = self._monotonic() + seconds
        snapshot = await self.current()
        while snapshot.version == version and not self._is_closed:
            left = deadline - self._monotonic()
            if left <= 0:
                return await self.current()
            await self._change(left)
            snapshot = self._latest
        return snapshot

    def close(self) -> None:
        """Let everybody go who waits, and nobody wait from now on."""
        self._is_closed = True
        self._wake()

    async def aclose(self) -> None:
        """Close, and end the shared task."""
        self.close()
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    async def _change(self, seconds: float) -> None:
        """Wait for a change, so many seconds at most."""
        if len(self._waiting) >= self._max_waiting:
            raise TooManyWaiting
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(woken)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait({woken}, timeout=seconds)
        finally:
            self._waiting.discard(woken)

    async def _watch(self) -> None:
        """Read the store again and again, until nobody waits."""
        try:
            while self._waiting:
                await asyncio.sleep(self._interval)
                try:
                    await self._read()
                except StoreUnavailable as error:
                    # Whoever waits reads at the end of their waiting, and fails then if it is still so.
                    logger.warning("the revocation list could not be read: %s", error)
        finally:
            self._watching = None

    async def _read(self) -> None:
        snapshot = Snapshot.of(await self._revocations.entries())
        self._read_at = self._monotonic()
        if snapshot.version != self._latest.version:
            self._latest = snapshot
            self._wake()

    def _wake(self) -> None:
        for woken in self._waiting:
            if not woken.done():
                woken.set_result(None)
