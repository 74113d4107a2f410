"""Resource owners, RFC 6749 §1.1: the people who sign in and allow.

A user's `user_id` is the `sub` of every token: random, never reused, and unchanged when the user is renamed.
"""

from __future__ import annotations

import secrets
import unicodedata
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth.oauth.store import Record, Store

_KIND = "user"
LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class User:
    """One person who can sign in."""

    user_id: str
    username: str
    password_hash: str | None
    """None: no password is theirs, another server vouches for them."""
    disabled: bool
    generation: int
    """Counts what ends every session at once: a new password, being disabled."""
    created_at: int

    def to_record(self) -> Record:
        """The user as stored."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Record) -> User:
        """The user of a stored record."""
        return cls(**record)


def username_key(username: str) -> str:
    """The form in which user names are compared, RFC 8265 §3.3 in spirit: `Ｊosé`, `JOSÉ` and `josé` are one
    person.
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold())


def check_username(username: str) -> str:
    """The name as it is kept and shown.

    Raises:
        ValueError: empty, too long, or with characters that cannot be seen or could pass for another name's.

    """
    name = unicodedata.normalize("NFC", username)
    if not name or name != name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"a user name has 1 to {LONGEST_NAME} visible characters, and no spaces around it")
    return name


class Users:
    """The users of a store, found by name or by id."""

    def __init__(
        self,
        store: Store,
        *,
        now: Callable[[], float],
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._now = now
        self._token_bytes = token_bytes

    async def add(self, username: str, password_hash: str | None) -> User | None:
        """A new user, or None when the name is taken. Without a hash nobody can sign in with a password."""
        user = User(
            user_id=self._token_bytes(16).hex(),
            username=check_username(username),
            password_hash=password_hash,
            disabled=False,
            generation=0,
            created_at=int(self._now()),
        )
        added = await self._store.add(_KIND, username_key(username), user.to_record(), owner=user.user_id)
        return user if added else None

    async def by_name(self, username: str) -> User | None:
        """The user with this name, however it is written."""
        record = await self._store.get(_KIND, username_key(username))
        return None if record is None else User.from_record(record)

    async def by_id(self, user_id: str) -> User | None:
        """The user of a token's `sub`."""
        for _, record in await self._store.list(_KIND, user_id):
            return User.from_record(record)
        return None

    async def is_active(self, user_id: str) -> bool:
        """Whether the user exists and is not disabled: only then their grants are in force."""
        records = await self._store.list(_KIND, user_id)
        return any(not record["disabled"] for _, record in records)

    async def list(self) -> list[User]:
        """Every user, by name."""
        users = [User.from_record(record) for _, record in await self._store.list(_KIND)]
        return sorted(users, key=lambda user: username_key(user.username))

    async def set_password(self, user: User, password_hash: str) -> bool:
        """A new password ends every session; False when the record changed meanwhile."""
        return await self._replace(
            user, replace(user, password_hash=password_hash, generation=user.generation + 1)
        )

    async def rehash(self, user: User, password_hash: str) -> bool:
        """The same password, stored with today's parameters: nothing ends."""
        return await self._replace(user, replace(user, password_hash=password_hash))

    async def set_disabled(self, user: User, *, disabled: bool) -> bool:
        """Let the user sign in no more, or again; either ends every session."""
        return await self._replace(user, replace(user, disabled=disabled, generation=user.generation + 1))

    async def _replace(self, old: User, new: User) -> bool:
        return await self._store.replace(_KIND, username_key(old.username), old.to_record(), new.to_record())
