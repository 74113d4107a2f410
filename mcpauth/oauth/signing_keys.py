"""The keys that sign tokens, RFC 7517: made at the first start, kept in the store, changed now and then.

Keys are numbered. Whoever needs one adds the next number; of two processes one succeeds, and both read it.
A new key is published well before it signs, and an old one until the last token it signed has expired.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mcpauth.oauth.key_pair import DEFAULT_ALGORITHM, SigningKey, new_private_jwk, signing_key
from mcpauth.oauth.key_schedule import PUBLISHED_AHEAD, Schedule, State, Turn
from mcpauth.oauth.store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth.oauth.store import Record, Store

KIND = "signing_key"
REFRESH_SECONDS = 30
"""How old the view of the store may be: what another process or an operator changed is known after that."""


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """A key as an operator sees it; nothing of it is secret. `ends_at` is when it is gone, if known."""

    kid: str
    algorithm: str
    state: State
    created_at: int
    signs_from: int
    ends_at: int | None


@dataclass(frozen=True, slots=True, repr=False)
class _Stored:
    name: str
    record: Record
    turn: Turn
    key: SigningKey


class SigningKeys:
    """The key ring: one key signs, all that are published verify."""

    def __init__(
        self,
        store: Store,
        *,
        algorithm: str = DEFAULT_ALGORITHM,
        lifetime: timedelta = timedelta(days=90),
        token_lifetime: timedelta = timedelta(minutes=10),
        now: Callable[[], float] = time.time,
        kind: str = KIND,
    ) -> None:
        self._store = store
        self._kind = kind
        self._algorithm = algorithm
        self._lifetime = int(lifetime.total_seconds())
        self._token_lifetime = int(token_lifetime.total_seconds())
        self._now = now
        self._stored: tuple[_Stored, ...] = ()
        self._schedule = Schedule(())
        self._read_at = 0.0

    @classmethod
    async def load(
        cls,
        store: Store,
        now: Callable[[], float] = time.time,
        *,
        algorithm: str = DEFAULT_ALGORITHM,
        lifetime: timedelta = timedelta(days=90),
        token_lifetime: timedelta = timedelta(minutes=10),
    ) -> SigningKeys:
        """Read the keys at the start: the first one is made, and one of another algorithm if that is wanted.

        `lifetime` is how long each signs, zero for no automatic rotation.

        Raises:
            StoreUnavailable: the store could not be read or written.
        """
        keys = cls(store, algorithm=algorithm, lifetime=lifetime, token_lifetime=token_lifetime, now=now)
        await keys.start()
        return keys

    async def start(self, *, ahead: int = 0) -> None:
        """Do what `load` does; the first key signs in `ahead` seconds. A ring that had ended goes on.

        Raises:
            StoreUnavailable: the store could not be read or written.
        """
        await self.read()
        end = self._schedule.newest
        if end is not None and end.is_end and end.signs_from > self._now():
            await self._store.take(self._kind, _name(end.number))
            await self.read()
        if not self._schedule.goes_on:
            await self._add(signs_from=int(self._now()) + ahead)
        await self._promise_token_lifetime()
        # Only at the start: two processes of different settings would go on changing keys otherwise.
        if self._stored[-1].key.algorithm != self._algorithm:
            await self._add(signs_from=int(self._now()) + PUBLISHED_AHEAD)
        await self.refresh()

    async def end(self) -> None:
        """Have nothing in this ring sign any more, after as long as others may need to notice.

        Its keys are published until their tokens have expired, and forgotten then.

        Raises:
            StoreUnavailable: the store could not be read or written.
        """
        await self.read()
        while self._schedule.goes_on:
            longest = max(self._token_lifetime, *(each.turn.token_lifetime for each in self._stored))
            name, signs_from = self._next_name(), int(self._now()) + PUBLISHED_AHEAD
            # Numbered like a key: of an end and a rotation at once, the second knows of the first.
            end = {"created_at": int(self._now()), "signs_from": signs_from, "token_lifetime": longest}
            await self._store.add(self._kind, name, end)
            await self.read()
        await self.refresh()

    @property
    def current(self) -> SigningKey:
        """The key that signs, in a ring in which one always does."""
        return self.due or self._stored[0].key

    @property
    def due(self) -> SigningKey | None:
        """The key that signs; None while the first one waits its time, or when the ring has ended."""
        turn = self._schedule.current(self._now())
        return next((stored.key for stored in self._stored if stored.turn == turn), None)

    @property
    def algorithm(self) -> str:
        """How new keys sign."""
        return self._algorithm

    @property
    def is_empty(self) -> bool:
        """Whether no key is stored."""
        return not self._stored

    def find(self, kid: str) -> SigningKey | None:
        """The published key with this id."""
        return next((stored.key for stored in self._published() if stored.key.kid == kid), None)

    @property
    def algorithms(self) -> frozenset[str]:
        """With which algorithms tokens in use were signed, or soon will be."""
        return frozenset(stored.key.algorithm for stored in self._published())

    def jwks(self) -> dict[str, Any]:
        """The public keys, RFC 7517 §5."""
        return {"keys": [stored.key.jwk for stored in self._published()]}

    def statuses(self) -> list[KeyStatus]:
        """All keys that are not gone, in the order of their making."""
        return [self._status(stored) for stored in self._published()]

    async def refresh_if_old(self) -> None:
        """Refresh, when the view of the store is older than `REFRESH_SECONDS`; it stays if that fails."""
        if not 0 <= self._now() - self._read_at < REFRESH_SECONDS:
            # ValueError: a record that only a newer version of this program understands.
            with suppress(StoreUnavailable, ValueError):
                await self.refresh()

    async def refresh(self) -> None:
        """Read what others changed, forget retired keys, and make the next key when its time has come.

        Raises:
            StoreUnavailable: the store could not be read or written; the keys stay as they were.
        """
        await self.read()
        now = self._now()
        for turn in self._schedule.over(now):
            await self._store.take(self._kind, _name(turn.number))
        due_at = self._schedule.due_at(self._lifetime)
        if due_at is not None and now >= due_at - PUBLISHED_AHEAD:
            # Late after a long sleep: nobody has seen the new key yet, so it waits its time all the same.
            await self._add(signs_from=max(due_at, int(now) + PUBLISHED_AHEAD))

    async def rotate(self) -> KeyStatus:
        """Have a new key follow the current one as soon as all have seen it; the one that is to, if any is.

        Raises:
            StoreUnavailable: the store could not be read or written.
        """
        await self.read()
        if not self._in_state("next"):
            await self._add(signs_from=int(self._now()) + PUBLISHED_AHEAD)
        return self._status(self._in_state("next")[-1])

    async def retire(self, kid: str) -> bool:
        """Forget a key at once, with all tokens it signed; a new one replaces the one that signs.

        Raises:
            StoreUnavailable: the store could not be read or written.
        """
        await self.read()
        found = next((stored for stored in self._stored if stored.key.kid == kid), None)
        if found is None:
            return False
        if found.key == self.due:
            await self._add(signs_from=int(self._now()))
        elif self._schedule.goes_on and not self._schedule.without(found.turn).goes_on:
            await self._add(signs_from=int(self._now()) + PUBLISHED_AHEAD)
        await self._store.take(self._kind, found.name)
        await self.read()
        return True

    async def read(self) -> None:
        """Read the keys, and change nothing.

        Raises:
            StoreUnavailable: the store could not be read, or has lost the keys; they stay as they were.
        """
        known = {stored.name: stored for stored in self._stored}
        records = await self._store.list(self._kind)
        turns = {name: Turn.of_record(name, record) for name, record in records}
        stored = [
            _Stored(name, record, turns[name], _key(record, known.get(name)))
            for name, record in records
            if not turns[name].is_end
        ]
        if self._published() and not records:
            raise StoreUnavailable("it has lost the signing keys")
        self._stored = tuple(sorted(stored, key=lambda each: each.turn.number))
        self._schedule = Schedule(list(turns.values()))
        self._read_at = self._now()

    async def _add(self, *, signs_from: int) -> None:
        name = self._next_name()
        record = {
            "algorithm": self._algorithm,
            "created_at": int(self._now()),
            "signs_from": signs_from,
            "token_lifetime": self._token_lifetime,
            "private_jwk": await new_private_jwk(self._algorithm),
        }
        # Taken: another process was first, and its key is as good.
        await self._store.add(self._kind, name, record)
        await self.read()

    def _next_name(self) -> str:
        newest = self._schedule.newest
        return _name(newest.number + 1 if newest is not None else 1)

    async def _promise_token_lifetime(self) -> None:
        """Note on the keys that tokens may now live longer than when the keys were made."""
        for stored in self._stored:
            if stored.record.get("token_lifetime", 0) < self._token_lifetime:
                longer = {**stored.record, "token_lifetime": self._token_lifetime}
                await self._store.replace(self._kind, stored.name, stored.record, longer)
        await self.read()

    def _published(self) -> list[_Stored]:
        now = self._now()
        return [each for each in self._stored if self._schedule.state(each.turn, now) != "retired"]

    def _in_state(self, state: State) -> list[_Stored]:
        now = self._now()
        return [each for each in self._stored if self._schedule.state(each.turn, now) == state]

    def _status(self, stored: _Stored) -> KeyStatus:
        return KeyStatus(
            kid=stored.key.kid,
            algorithm=stored.key.algorithm,
            state=self._schedule.state(stored.turn, self._now()),
            created_at=stored.record["created_at"],
            signs_from=stored.turn.signs_from,
            ends_at=self._schedule.ends_at(stored.turn),
        )


def _name(number: int) -> str:
    """Where in the store a turn is."""
    return f"{number:06}"


def _key(record: Record, known: _Stored | None) -> SigningKey:
    """The key of a record; importing one costs more than signing, so what is known is kept."""
    if known is not None and known.record["private_jwk"] == record["private_jwk"]:
        return known.key
    return signing_key(record)
