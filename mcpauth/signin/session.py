"""Sessions: a browser in which a user is signed in.

The id is random, new at every sign-in (nobody can fix it beforehand), and stored by digest.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcpauth.oauth.random_text import random_text
from mcpauth.oauth.store import Record, Store, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from mcpauth.oauth.user import User, Users

_KIND = "session"


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in user in one browser."""

    user: User
    auth_time: int
    acr: str
    amr: tuple[str, ...]
    request: str
    """Digest of the authorization request for which the user signed in; `prompt=login` asks for that."""
    key: str
    """The session's digest: binds a form to it without giving it away."""


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(
        self,
        store: Store,
        users: Users,
        *,
        lifetime: timedelta,
        now: Callable[[], float],
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.lifetime = lifetime
        self._store = store
        self._users = users
        self._now = now
        self._token_bytes = token_bytes

    async def begin(self, user: User, *, request_id: str, acr: str, amr: Sequence[str]) -> str:
        """A new session; the value for its cookie. `acr` and `amr` say how the user signed in."""
        session_id = random_text(self._token_bytes)
        now = int(self._now())
        record: Record = {
            "user_id": user.user_id,
            "username": user.username,
            "generation": user.generation,
            "auth_time": now,
            "acr": acr,
            "amr": list(amr),
            "request": digest(request_id),
        }
        expires_at = now + int(self.lifetime.total_seconds())
        await self._store.add(_KIND, digest(session_id), record, expires_at=expires_at, owner=user.user_id)
        return session_id

    async def find(self, session_id: str | None) -> Session | None:
        """The session of a cookie, if its user may still be signed in.

        A user who was disabled, removed or given a new password since is signed out everywhere at once.
        """
        if session_id is None:
            return None
        record = await self._store.get(_KIND, digest(session_id))
        if record is None:
            return None
        user = await self._users.by_name(record["username"])
        if user is None or user.disabled:
            return None
        if (user.user_id, user.generation) != (record["user_id"], record["generation"]):
            return None
        return Session(
            user=user,
            auth_time=record["auth_time"],
            acr=record["acr"],
            amr=tuple(record["amr"]),
            request=record["request"],
            key=digest(session_id),
        )

    async def end(self, session_id: str | None) -> None:
        """Forget a session."""
        if session_id is not None:
            await self._store.take(_KIND, digest(session_id))
