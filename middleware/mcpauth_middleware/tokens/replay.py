"""Which proofs were used already, RFC 9449 §11.1: each is good once in the time in which it is accepted."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from mcpauth_middleware.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ENTRIES = 200_000
MAX_ENTRIES_OF_A_KEY = 20_000
"""No client can crowd out the others."""


class SeenProofs:
    """Remembers proofs of this process until they have expired.

    Nothing is forgotten early: a proof that was forgotten could be used again. When there is no room, new
    ones are refused, of the key that took too much or, at last, of everyone.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        max_entries: int = MAX_ENTRIES,
        max_entries_of_a_key: int = MAX_ENTRIES_OF_A_KEY,
    ) -> None:
        self._now = now
        self._max_entries = max_entries
        self._max_entries_of_a_key = max_entries_of_a_key
        # In the order in which they were seen, which is nearly that in which they expire. A plain dict would
        # look for its first entry among all that were deleted before it.
        self._seen: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._of_key: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._seen)

    def is_first(self, key: str, token_id: str, *, until: float) -> bool:
        """Whether this `jti` was not seen with this key; from now on it was.

        Raises:
            Unavailable: there is no room to remember it.
        """
        self._forget_expired()
        entry = hashlib.sha256(f"{key}\0{token_id}".encode("utf-8", "surrogatepass")).digest()
        if entry in self._seen:
            return False
        if len(self._seen) >= self._max_entries or self._of_key[key] >= self._max_entries_of_a_key:
            raise Unavailable("too_many_proofs", retry_after=30)
        self._seen[entry] = (until, key)
        self._of_key[key] += 1
        return True

    def _forget_expired(self) -> None:
        now = self._now()
        while self._seen:
            entry = next(iter(self._seen))
            until, key = self._seen[entry]
            if until > now:
                return
            del self._seen[entry]
            self._of_key[key] -= 1
            if not self._of_key[key]:
                del self._of_key[key]
