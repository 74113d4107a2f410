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
    """

    number: int
    signs_from: int
    token_lifetime: int

    @classmethod
    def of_record(cls, key: str, record: Record) -> Turn:
        """The turn of a stored key; early records say neither when it signs nor for how long."""
        told = {"signs_from": record["created_at"], "token_lifetime": _LONGEST_TOKEN} | record
        return cls(int(key), told["signs_from"], told["token_lifetime"])


class Schedule:
    """The turns of all keys."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = tuple(sorted(turns, key=lambda turn: turn.number))

    def current(self, now: float) -> Turn | None:
        """The key that signs: the newest whose time has come.

        If the clock is behind that of the process that made the only key, it is that key all the same.
        """
        due = [turn for turn in self._turns if turn.signs_from <= now]
        return due[-1] if due else next(iter(self._turns), None)

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
        return self._turns[-1].signs_from + lifetime if self._turns and lifetime else None
