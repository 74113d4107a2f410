"""Initial access tokens, RFC 7591 §1.2 and §3: with which an operator lets somebody register a client."""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from mcpauth.oauth.random_text import random_text
from mcpauth.oauth.store import Store, digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

KIND = "registration_token"

ID_LENGTH = 12


@dataclass(frozen=True, slots=True)
class RegistrationToken:
    """A token that was handed out. `token_id` is the beginning of its digest, which alone is kept."""

    token_id: str
    name: str
    created_at: int
    expires_at: int | None


class RegistrationTokens:
    """The initial access tokens in the store, by digest. Each may be used often, until it ends."""

    def __init__(
        self,
        store: Store,
        *,
        now: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._now = now
        self._token_bytes = token_bytes

    async def add(self, name: str, *, lifetime: timedelta | None = None) -> str:
        """A new token, which is shown this once."""
        token = random_text(self._token_bytes)
        now = int(self._now())
        expires_at = now + int(lifetime.total_seconds()) if lifetime is not None else None
        record = asdict(RegistrationToken(digest(token)[:ID_LENGTH], name, now, expires_at))
        await self._store.add(KIND, digest(token), record, expires_at=expires_at)
        return token

    async def accepts(self, token: str) -> bool:
        """Whether a client that shows this token may register."""
        return await self._store.get(KIND, digest(token)) is not None

    async def list(self) -> tuple[RegistrationToken, ...]:
        """Those that have not ended."""
        return tuple(RegistrationToken(**record) for _, record in await self._store.list(KIND))

    async def remove(self, token_id: str) -> bool:
        """End the token with this id; False when there is none."""
        keys = [key for key, _ in await self._store.list(KIND) if key[:ID_LENGTH] == token_id]
        return any([await self._store.take(KIND, key) is not None for key in keys])
