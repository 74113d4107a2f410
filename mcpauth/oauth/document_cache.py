"""Documents of others, kept as RFC 9111 lets a cache keep them, and asked for as seldom as possible.

Those who ask for one URL at the same time share one fetch. After a failure nobody asks again for a minute. A
failure is never kept as a document, nor a document beyond its time, but for two things: whatever its headers
say, it is not asked for twice in half a minute; and while strangers have spent the budget, so that nobody can
ask, it is used as long as any document may be kept (RFC 9111 §4.2.4). They would otherwise decide whose
documents can be had.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import anyio

from mcpauth.oauth.errors import OAuthError, TemporarilyUnavailable
from mcpauth.oauth.fetching import Fetch, FetchFailed

if TYPE_CHECKING:
    from mcpauth.oauth.fetch_budget import FetchBudget
    from mcpauth.oauth.https_url import HttpsUrl

T = TypeVar("T")

OnFailure: TypeAlias = Callable[[str, Exception], Awaitable[None]]
"""Told of each fetch that failed: the URL and a `FetchFailed` or `OAuthError`."""

BACK_OFF_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes and times: bytes of a document, seconds to keep one, and how many are kept, and as many failures.

    `shortest_seconds` is against RFC 9111 §5.2.2.5: a sign-in looks at the client eight times, and with
    `no-store` four sign-ins would have spent the minute's budget for the host.
    """

    max_bytes: int
    shortest_seconds: int = 30
    default_seconds: int = 10 * 60
    longest_seconds: int = 24 * 60 * 60
    documents: int = 1000


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[T]):
    value: T | None
    failure: Exception | None
    at: float
    until: float
    stale_until: float
    """Until when it is used while nobody can ask."""
    renewal: Exception | None = None
    """Why the latest attempt to renew the value came to nothing."""

    def get(self, *, renew: bool = False) -> T:
        failure = self.failure or (self.renewal if renew else None)
        if failure is not None:
            raise copy(failure)
        assert self.value is not None  # noqa: S101 - an outcome is one or the other
        return self.value


@dataclass(slots=True)
class _UnderWay(Generic[T]):
    done: anyio.Event = field(default_factory=anyio.Event)
    outcome: _Outcome[T] | None = None


class DocumentCache(Generic[T]):
    """Documents by URL. `read` makes of one what is kept, or raises an `OAuthError`."""

    def __init__(
        self,
        fetch: Fetch,
        read: Callable[[str, object], T],
        budget: FetchBudget,
        limits: Limits,
        *,
        on_failure: OnFailure | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._fetch = fetch
        self._read = read
        self._budget = budget
        self._limits = limits
        self._on_failure = on_failure
        self._now = now
        self._kept: OrderedDict[str, _Outcome[T]] = OrderedDict()
        # Apart, because anybody can cause them: they push no document out.
        self._failed: OrderedDict[str, _Outcome[T]] = OrderedDict()
        self._under_way: dict[str, _UnderWay[T]] = {}

    def __len__(self) -> int:
        """How many outcomes are kept."""
        return len(self._kept) + len(self._failed)

    async def get(self, url: HttpsUrl, *, renew: bool = False) -> T:
        """The document. `renew` asks for it anew, unless that was done in the last minute.

        Raises:
            FetchFailed: it could not be had, now or less than a minute ago; nor, if asked for, anew.
            OAuthError: `read` refused it, or the budget is spent.
        """
        while True:
            kept = self._found(url.text)
            if kept is not None and self._still_good(kept, renew=renew):
                return kept.get(renew=renew)
            under_way = self._under_way.get(url.text)
            if under_way is None:
                return (await self._load_if_possible(url, kept, renew=renew)).get(renew=renew)
            await under_way.done.wait()
            if under_way.outcome is not None:
                return under_way.outcome.get(renew=renew)
            # Whoever was fetching it hung up, or could not: somebody else has to try.

    def _still_good(self, kept: _Outcome[T], *, renew: bool) -> bool:
        recent = kept.at > self._now() - BACK_OFF_SECONDS
        return kept.until > self._now() and (recent or not renew)

    def _found(self, url: str) -> _Outcome[T] | None:
        for outcomes in (self._kept, self._failed):
            if url in outcomes:
                outcomes.move_to_end(url)
                return outcomes[url]
        return None

    async def _load_if_possible(self, url: HttpsUrl, kept: _Outcome[T] | None, *, renew: bool) -> _Outcome[T]:
        try:
            return await self._load(url)
        except TemporarilyUnavailable:
            if kept is None or renew or kept.stale_until <= self._now():
                raise
            return kept

    async def _load(self, url: HttpsUrl) -> _Outcome[T]:
        under_way = self._under_way[url.text] = _UnderWay[T]()
        try:
            under_way.outcome = self._unless_known(url.text, await self._outcome(url))
        finally:
            del self._under_way[url.text]
            under_way.done.set()
        self._keep(url.text, under_way.outcome)
        return under_way.outcome

    async def _outcome(self, url: HttpsUrl) -> _Outcome[T]:
        at = self._now()
        with self._budget.spend(url.host):
            try:
                fetched = await self._fetch(url.text, max_bytes=self._limits.max_bytes)
                value = self._read(url.text, fetched.document)
            except TemporarilyUnavailable:
                raise
            except (FetchFailed, OAuthError) as error:
                if self._on_failure is not None:
                    await self._on_failure(url.text, error)
                # A copy has no traceback: it would keep alive whatever the request held that was first.
                ends = at + BACK_OFF_SECONDS
                return _Outcome(None, copy(error), at, until=ends, stale_until=ends)
        return _Outcome(
            value,
            None,
            at,
            until=at + self._seconds(fetched.fresh_for),
            stale_until=at + self._limits.longest_seconds,
        )

    def _unless_known(self, url: str, outcome: _Outcome[T]) -> _Outcome[T]:
        """The outcome; where renewing failed, the document that is still good, left alone for a minute."""
        kept = self._kept.get(url)
        if outcome.failure is None or kept is None or kept.failure is not None or kept.until <= self._now():
            return outcome
        return replace(kept, at=outcome.at, renewal=outcome.failure)

    def _seconds(self, fresh_for: int | None) -> int:
        seconds = self._limits.default_seconds if fresh_for is None else fresh_for
        return min(max(seconds, self._limits.shortest_seconds), self._limits.longest_seconds)

    def _keep(self, url: str, outcome: _Outcome[T]) -> None:
        self._kept.pop(url, None)
        self._failed.pop(url, None)
        outcomes = self._kept if outcome.failure is None else self._failed
        outcomes[url] = outcome
        while len(outcomes) > self._limits.documents:
            outcomes.popitem(last=False)
