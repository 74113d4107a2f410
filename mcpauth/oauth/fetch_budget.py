"""How often this server goes out because strangers ask it to: never more than a budget, to one server and in
all.

Whoever can name a URL could otherwise make this server knock at somebody else's door as often as they like. A
host is one however many ports the URLs name: behind all of them is the same machine.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mcpauth.oauth.errors import TemporarilyUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

WINDOW_SECONDS = 60


class FetchBudget:
    """Counts the fetches of the last minute and those under way."""

    def __init__(
        self,
        *,
        per_host: int = 30,
        in_all: int = 120,
        at_once: int = 16,
        at_once_per_host: int = 4,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._per_host = per_host
        self._in_all = in_all
        self._at_once = at_once
        self._at_once_per_host = at_once_per_host
        self._now = now
        self._recent: deque[tuple[float, str]] = deque()
        self._begun: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def spend(self, host: str) -> Generator[None]:
        """One fetch, counted while it is under way and for a minute from its beginning.

        Raises:
            TemporarilyUnavailable: the budget is spent; nothing is counted.
        """
        self._forget()
        if (
            len(self._recent) >= self._in_all
            or self._begun[host] >= self._per_host
            or self._under_way.total() >= self._at_once
            or self._under_way[host] >= self._at_once_per_host
        ):
            headers = {"Retry-After": str(WINDOW_SECONDS)}
            raise TemporarilyUnavailable("too many documents of clients are being fetched", headers=headers)
        self._recent.append((self._now(), host))
        self._begun[host] += 1
        self._under_way[host] += 1
        try:
            yield
        finally:
            _less(self._under_way, host)

    def _forget(self) -> None:
        while self._recent and self._recent[0][0] <= self._now() - WINDOW_SECONDS:
            _, host = self._recent.popleft()
            _less(self._begun, host)


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
