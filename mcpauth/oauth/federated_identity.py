"""Users whom another server vouches for: which account an issuer's subject is (OpenID Connect Core §5.7).

Issuer and subject together are the only key. No e-mail address and no name ever leads to an account: whoever
could choose theirs at the issuer would choose whose account they get.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from mcpauth.oauth.store import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth.oauth.store import Record, Store
    from mcpauth.oauth.user import User, Users

KIND = "federated_identity"


@dataclass(frozen=True, slots=True)
class FederatedIdentity:
    """A subject of an issuer, and the user that it is here."""

    issuer: str
    subject: str
    user_id: str
    created_at: int

    def to_record(self) -> Record:
        """The identity as stored."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Record) -> FederatedIdentity:
        """The identity of a stored record."""
        return cls(**record)


class FederatedIdentities:
    """The identities in the store. A user may have several; each is one user's."""

    def __init__(self, store: Store, users: Users, *, now: Callable[[], float]) -> None:
        self._store = store
        self._users = users
        self._now = now

    async def find(self, issuer: str, subject: str) -> FederatedIdentity | None:
        """The identity, if it is linked to a user."""
        record = await self._store.get(KIND, _key(issuer, subject))
        return FederatedIdentity.from_record(record) if record is not None else None

    async def link(self, user: User, issuer: str, subject: str) -> bool:
        """Make the subject this user; False when it is some user already."""
        identity = FederatedIdentity(issuer, subject, user.user_id, int(self._now()))
        return await self._store.add(KIND, _key(issuer, subject), identity.to_record(), owner=user.user_id)

    async def unlink(self, user: User, issuer: str, subject: str) -> bool:
        """The subject is this user no more; False when it was not."""
        found = await self.find(issuer, subject)
        if found is None or found.user_id != user.user_id:
            return False
        return await self._store.take(KIND, _key(issuer, subject)) is not None

    async def of(self, user_id: str) -> list[FederatedIdentity]:
        """The identities of a user, by issuer and subject."""
        found = [FederatedIdentity.from_record(record) for _, record in await self._store.list(KIND, user_id)]
        return sorted(found, key=lambda each: (each.issuer, each.subject))

    async def user_of(self, issuer: str, subject: str) -> User | None:
        """The user that the subject is."""
        found = await self.find(issuer, subject)
        return await self._users.by_id(found.user_id) if found is not None else None

    async def provision(self, issuer: str, subject: str) -> User | None:
        """A new user without a password for a subject that is none yet; None when that cannot be.

        The name is made of issuer and subject alone, so that of two requests at once both get the same user,
        and the one of an attempt that was broken off is found again.
        """
        name = f"federated-{_key(issuer, subject)[:32]}"
        user = await self._users.add(name, None) or await self._users.by_name(name)
        if user is None or user.password_hash is not None:
            return None
        if await self.link(user, issuer, subject):
            return user
        return await self.user_of(issuer, subject)


def _key(issuer: str, subject: str) -> str:
    # The length first, so that no two pairs of issuer and subject are one text.
    return digest(f"{len(issuer)}:{issuer}{subject}")
