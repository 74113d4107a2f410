"""The rings of signing keys, RFC 7517: the usual one, and one more for each further algorithm in use.

Each ring changes its keys by itself. One that is new to a running server signs only when its first key has
been published long enough for everybody to have it; until then the usual ring does.
"""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mcpauth.oauth.key_pair import ALGORITHMS
from mcpauth.oauth.key_schedule import PUBLISHED_AHEAD
from mcpauth.oauth.signing_keys import KIND, SigningKeys
from mcpauth.oauth.store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import timedelta

    from mcpauth.oauth.key_pair import SigningKey
    from mcpauth.oauth.signing_keys import KeyStatus
    from mcpauth.oauth.store import Store

_KIND_OF = {algorithm: f"{KIND}:{algorithm}" for algorithm in ALGORITHMS}
KINDS = frozenset({KIND, *_KIND_OF.values()})
"""The kinds of records that hold signing keys."""
_NONE: Mapping[str, SigningKeys] = MappingProxyType({})


class KeyRings:
    """The usual ring, and the others by their algorithm; those in `needed` have to sign.

    Rings that nothing here needs are read as well: processes of other settings may sign with them.
    """

    def __init__(
        self,
        usual: SigningKeys,
        others: Mapping[str, SigningKeys] = _NONE,
        *,
        needed: Collection[str] = (),
    ) -> None:
        self._usual = usual
        self._others = others
        self._needed = frozenset(needed)
        self._all = (usual, *others.values())

    @classmethod
    def of_store(
        cls,
        store: Store,
        *,
        algorithm: str,
        others: Collection[str],
        lifetime: timedelta,
        token_lifetime: timedelta,
        now: Callable[[], float] = time.time,
    ) -> KeyRings:
        """The rings in a store, not yet read: the usual one has `algorithm`, `others` are needed besides."""

        def ring(kind: str, algorithm: str) -> SigningKeys:
            return SigningKeys(
                store,
                algorithm=algorithm,
                lifetime=lifetime,
                token_lifetime=token_lifetime,
                now=now,
                kind=kind,
            )

        rings = {name: ring(kind, name) for name, kind in _KIND_OF.items()}
        return cls(ring(KIND, algorithm), rings, needed=others)

    async def start(self) -> None:
        """Make the keys that are missing, and have the rings end that nothing needs any more.

        At the very first start all sign at once: nobody can have old keys yet.

        Raises:
            StoreUnavailable: the store could not be read or written.
        """
        await self.read()
        ahead = 0 if self._usual.is_empty else PUBLISHED_AHEAD
        # The usual ring comes last: that it is there tells other processes that this was not the first start,
        # and if it leaves an algorithm, the ring that takes over is no later than that.
        for algorithm in sorted(self._needed):
            await self._others[algorithm].start(ahead=ahead)
        await self._usual.start()
        # And if the usual ring takes an algorithm over, the ring that had it lasts until then.
        for algorithm, ring in self._others.items():
            if algorithm not in self._needed:
                await ring.end()

    def current(self, algorithm: str | None = None) -> SigningKey:
        """The key that signs with this algorithm; the usual one without any, and as long as none may yet."""
        usual = self._usual.current
        if algorithm is None or algorithm == usual.algorithm or algorithm not in self._others:
            return usual
        return self._others[algorithm].due or usual

    def algorithms(self, algorithm: str | None = None) -> frozenset[str]:
        """With which algorithms tokens are signed, now or soon, for which `current` has this argument."""
        if algorithm is None:
            return self._usual.algorithms
        if self.current(algorithm).algorithm == algorithm:
            return frozenset({algorithm})
        return self._usual.algorithms | {algorithm}

    def find(self, kid: str) -> SigningKey | None:
        """The published key with this id, whichever ring it is in."""
        return next((key for ring in self._all if (key := ring.find(kid)) is not None), None)

    def jwks(self) -> dict[str, Any]:
        """The public keys of all rings, RFC 7517 §5."""
        return {"keys": [key for ring in self._all for key in ring.jwks()["keys"]]}

    def statuses(self) -> list[KeyStatus]:
        """All keys that are not gone, ring by ring."""
        return [status for ring in self._all for status in ring.statuses()]

    async def read(self) -> None:
        """Read all rings, and change nothing.

        Raises:
            StoreUnavailable: the store could not be read, or has lost the keys of a ring.
        """
        for ring in self._all:
            await ring.read()

    async def refresh(self) -> None:
        """Refresh all rings, also those after one that cannot be.

        Raises:
            StoreUnavailable: the store could not be read or written; the keys of that ring stay as they were.
            ValueError: it holds a key that only a newer version of this program understands.
        """
        failed: StoreUnavailable | ValueError | None = None
        for ring in self._all:
            try:
                await ring.refresh()
            except (StoreUnavailable, ValueError) as error:
                failed = failed or error
        if failed is not None:
            raise failed

    async def refresh_if_old(self) -> None:
        """Refresh the rings of which the view is old; it stays if that fails."""
        for ring in self._all:
            await ring.refresh_if_old()

    async def rotate(self, algorithm: str | None = None) -> list[KeyStatus]:
        """Have a new key follow in each needed ring, or in that of this algorithm.

        Raises:
            StoreUnavailable: the store could not be read or written.
        """
        rings = [self._usual, *(self._others[name] for name in sorted(self._needed))]
        return [await ring.rotate() for ring in rings if algorithm in {None, ring.algorithm}]

    async def retire(self, kid: str) -> bool:
        """Forget a key at once, in whichever ring it is; see `SigningKeys.retire`.

        Raises:
            StoreUnavailable: the store could not be read or written.
        """
        for ring in self._all:
            if await ring.retire(kid):
                return True
        return False
