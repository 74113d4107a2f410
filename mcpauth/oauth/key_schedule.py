"""When which key signs, and how long it is published (RFC 7517 §4.5 lets verifiers tell keys apart by `kid`).

A key's state follows from the moments in the records and from the clock alone. So all processes on one store
change from one key to the next at the same moment, without telling each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth.oauth.store import Record

State: TypeAlias = Literal["next", "current", "retiring", "retired"]

PUBLISHED_AHEAD = 15 * 60
"""Seconds for which a key is published before it signs. Resource servers keep keys for ten minutes and more
(ours ten at most while tokens come, others as the five minutes of `Cache-Control` say)."""
LATE = 5 * 60
"""Seconds for which a process may still sign with the last key: its clock is slow, its store was away."""
_LONGEST_TOKEN = 86_400


@dataclass(frozen=True, slots=True)
class Turn:
    """The turn of one key. `number` is its place in the order of making; `token_lifetime` are the seconds
    that the longest-lived tokens it signs may live.

    `at_once` is whether it was made to sign without having been published before; `is_end`, whether there is
    no key in this turn: from then on nothing signs.
    """

    number: int
    signs_from: int
    token_lifetime: int
    at_once: bool = True
    is_end: bool = False

    @classmethod
    def of_record(cls, key: str, record: Record) -> Turn:
        """The turn of a stored key; early records say neither when it signs nor for how long."""
        told = {"signs_from": record["created_at"], "token_lifetime": _LONGEST_TOKEN} | record
        return cls(
            int(key),
            told["signs_from"],
            told["token_lifetime"],
            at_once=told["signs_from"] <= record["created_at"],
            is_end="private_jwk" not in record,
        )


class Schedule:
    """The turns of all keys."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = tuple(sorted(turns, key=lambda turn: turn.number))

    def current(self, now: float) -> Turn | None:
        """The key that signs: the newest whose time has come.

        If the clock is behind that of the process that made the first key, it is that key all the same.
        """
        due = [turn for turn in self._turns if turn.signs_from <= now]
        return due[-1] if due else next((turn for turn in self._turns if turn.at_once), None)

    def state(self, turn: Turn, now: float) -> State:
        """What this key does now."""
        ends_at = self.ends_at(turn)
        if turn == self.current(now):
            return "current"
        if ends_at is None:
            return "next"
        if now >= ends_at:
            return "retired"
        return "next" if turn.signs_from > now else "retiring"

    def ends_at(self, turn: Turn) -> int | None:
        """When the last token that it signs has expired; None while no other key is to follow it."""
        later = [other.signs_from for other in self._turns if other.number > turn.number]
        return min(later) + turn.token_lifetime + LATE if later else None

    def due_at(self, lifetime: int) -> int | None:
        """When the key after the newest one is to sign, if each signs for `lifetime` seconds; 0: never."""
        if self.newest is None or self.newest.is_end or not lifetime:
            return None
        return self.newest.signs_from + lifetime

    @property
    def newest(self) -> Turn | None:
        """The last turn that there is, whether its time has come or not."""
        return self._turns[-1] if self._turns else None

    @property
    def goes_on(self) -> bool:
        """Whether there is a key that signs, now or later, until another one follows."""
        return self.newest is not None and not self.newest.is_end

    def without(self, turn: Turn) -> Schedule:
        """The turns that are left."""
        return Schedule([each for each in self._turns if each != turn])

    def over(self, now: float) -> list[Turn]:
        """The turns whose records can be forgotten."""
        return [turn for turn in self._turns if self._is_over(turn, now)]

    def _is_over(self, turn: Turn, now: float) -> bool:
        if turn.is_end and turn == self.newest:
            # It outlasts the keys: without it they would sign again, and a process that knew one that is
            # gone would take the empty ring for one that got lost.
            keys_left = any(not each.is_end for each in self._turns)
            return not keys_left and now >= turn.signs_from + turn.token_lifetime + 2 * LATE
        return self.state(turn, now) == "retired"
