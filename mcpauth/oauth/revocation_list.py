"""What has been revoked and may still be in use: for resource servers that verify access tokens on their own.

An entry is needed only until the last access token that it is about has expired, so the list is as long as
what was revoked within one access-token lifetime. It holds random ids and moments, and no secret.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from mcpauth.oauth.key_rings import KINDS as SIGNING_KEYS
from mcpauth.oauth.key_schedule import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth.oauth.store import Store

KIND = "revocation"

# For clocks that differ, and for a token that is being minted while its grant ends.
MARGIN = timedelta(seconds=60)

Revocable: TypeAlias = Literal["grant_id", "jti"]
"""What an entry names: the claim of the access tokens that it is about."""


@dataclass(frozen=True, slots=True, order=True)
class Revocation:
    """Access tokens whose `claim` is `value` are not good any more; `until` is when none can be left."""

    claim: Revocable
    value: str
    until: int

    @property
    def key(self) -> str:
        """What it is stored under."""
        return f"{self.claim}:{self.value}"


class RevocationList:
    """The recent revocations in the store."""

    def __init__(
        self,
        store: Store,
        *,
        access_token_lifetime: timedelta = timedelta(minutes=10),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._lifetime = int(access_token_lifetime.total_seconds())
        self._now = now

    async def add_grant(self, grant_id: str) -> None:
        """Every access token of the grant, one that is being minted just now included."""
        expires_at = int(self._now()) + await self._longest_lifetime()
        revocation = Revocation("grant_id", grant_id, self._end(expires_at))
        # One may be there from a first try, or from when its user was disabled: the later end counts.
        while not await self._add(revocation):
            old = await self._store.get(KIND, revocation.key)
            if old is not None and await self._store.replace(
                KIND, revocation.key, old, asdict(revocation), expires_at=revocation.until
            ):
                return

    async def remove_grant(self, grant_id: str) -> None:
        """The grant is in force again."""
        await self._store.take(KIND, f"grant_id:{grant_id}")

    async def add_token(self, token_id: str, expires_at: int) -> bool:
        """One access token; False when it was revoked already."""
        return await self._add(Revocation("jti", token_id, self._end(expires_at)))

    async def has_token(self, token_id: str) -> bool:
        """Whether this one access token was revoked."""
        return await self._store.get(KIND, f"jti:{token_id}") is not None

    async def entries(self) -> tuple[Revocation, ...]:
        """Every revocation that may still matter, in a fixed order."""
        return tuple(sorted(Revocation(**record) for _, record in await self._store.list(KIND)))

    async def _add(self, revocation: Revocation) -> bool:
        return await self._store.add(KIND, revocation.key, asdict(revocation), expires_at=revocation.until)

    async def _longest_lifetime(self) -> int:
        """Seconds that an access token may live: of these settings, of earlier ones, of another process.

        The keys promise it for all that they signed, so that no entry ends before the token that it is about.
        """
        kept = [stored for kind in sorted(SIGNING_KEYS) for stored in await self._store.list(kind)]
        return max([self._lifetime, *(Turn.of_record(*stored).token_lifetime for stored in kept)])

    def _end(self, expires_at: int) -> int:
        return expires_at + int(MARGIN.total_seconds())
