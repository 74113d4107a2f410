"""Access tokens that were verified a moment ago, RFC 9068 §4: a client sends the same one again and again.

What is remembered ends with the token, after a short time, or as soon as its issuer's keys have changed:
a withdrawn key takes what it signed with it. Revocation is asked about after this, for every request.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mcpauth_middleware.tokens.bounded_cache import BoundedCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth_middleware.principal import Principal

DEFAULT_LIFETIME_SECONDS = 60.0
MAX_ENTRIES = 10_000
"""A principal takes a few kilobytes, so some tens of megabytes at most."""


class VerifiedTokens:
    """Remembers principals by the SHA-256 of their token, never the token itself.

    `generation` gives another object when what was verified with an issuer's keys may not be good any more.
    """

    def __init__(
        self,
        *,
        generation: Callable[[str], object],
        now: Callable[[], float],
        lifetime: float = DEFAULT_LIFETIME_SECONDS,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self._generation = generation
        self._now = now
        self._lifetime = lifetime
        self._entries: BoundedCache[tuple[Principal, object]] = BoundedCache(max_entries=max_entries, now=now)

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._entries)

    def find(self, token: str) -> Principal | None:
        """The principal of a token that was verified and is still good."""
        entry = self._entries.get(key := digest(token))
        if entry is None:
            return None
        principal, generation = entry
        if generation is not self._generation(principal.issuer):
            self._entries.drop(key)
            return None
        return principal

    def keep(self, token: str, principal: Principal) -> None:
        """Remember a token that was verified just now, before anything else could happen."""
        until = min(principal.expires_at, self._now() + self._lifetime)
        self._entries.put(digest(token), (principal, self._generation(principal.issuer)), until=until)


def digest(token: str) -> bytes:
    """What a token is known by where it must not be kept itself."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
