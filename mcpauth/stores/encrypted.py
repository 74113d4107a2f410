"""A store in front of another one that keeps the server's own secrets encrypted there.

Whoever gets the database file or a backup of it cannot sign tokens. All other records are as they were: what
is secret in them is stored by digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.oauth.key_rings import KINDS
from mcpauth.oauth.store import Record, Records, Store, StoreUnavailable, from_json, to_json

if TYPE_CHECKING:
    from mcpauth.oauth.encryption_keys import EncryptionKeys

SECRET_KINDS = KINDS | {"secret"}
_SEALED = "sealed"


class EncryptedStore:
    """Passes every verb on; records of secret kinds go in sealed and come out open.

    Raises:
        StoreUnavailable: besides what the store behind it says, a record does not open.
    """

    def __init__(
        self, store: Store, keys: EncryptionKeys, *, secret_kinds: frozenset[str] = SECRET_KINDS
    ) -> None:
        self._store = store
        self._secret_kinds = secret_kinds
        self._keys = keys

    async def unlock(self) -> None:
        """Open every secret once, so that a wrong key is found at the start, and seal what is not yet sealed
        under the first key.

        Raises:
            StoreUnavailable: one does not open, or the store cannot be used.
        """
        for kind in sorted(self._secret_kinds):
            for key, stored in await self._store.list(kind):
                opened = self._opened(kind, key, stored)
                if self._keys and not self._is_current(kind, key, stored):
                    # Changed meanwhile: whoever did it had the keys, too.
                    await self._store.replace(kind, key, stored, self._sealed(kind, key, opened))

    async def add(
        self, kind: str, key: str, record: Record, *, expires_at: int | None = None, owner: str | None = None
    ) -> bool:
        """See `Store.add`."""
        return await self._store.add(
            kind, key, self._sealed(kind, key, record), expires_at=expires_at, owner=owner
        )

    async def get(self, kind: str, key: str) -> Record | None:
        """See `Store.get`."""
        stored = await self._store.get(kind, key)
        return None if stored is None else self._opened(kind, key, stored)

    async def take(self, kind: str, key: str) -> Record | None:
        """See `Store.take`."""
        stored = await self._store.take(kind, key)
        return None if stored is None else self._opened(kind, key, stored)

    async def replace(
        self, kind: str, key: str, old: Record, new: Record, *, expires_at: int | None = None
    ) -> bool:
        """See `Store.replace`."""
        if kind in self._secret_kinds:
            # Sealed twice, equal records differ: the stored one says what is there.
            stored = await self._store.get(kind, key)
            if stored is None or to_json(self._opened(kind, key, stored)) != to_json(old):
                return False
            old = stored
        return await self._store.replace(kind, key, old, self._sealed(kind, key, new), expires_at=expires_at)

    async def list(self, kind: str, owner: str | None = None) -> Records:
        """See `Store.list`."""
        records = await self._store.list(kind, owner)
        if kind not in self._secret_kinds:
            return records
        return [(key, self._opened(kind, key, stored)) for key, stored in records]

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self._store.aclose()

    def _sealed(self, kind: str, key: str, record: Record) -> Record:
        if kind not in self._secret_kinds or not self._keys:
            return record
        return {_SEALED: self._keys.seal(to_json(record), _place(kind, key))}

    def _opened(self, kind: str, key: str, stored: Record) -> Record:
        if kind not in self._secret_kinds or _SEALED not in stored:
            return stored
        if not self._keys:
            raise StoreUnavailable(
                "its secrets are encrypted, and neither MCPAUTH_ENCRYPTION_KEY nor encryption_key_file is set"
            )
        try:
            return from_json(self._keys.unseal(stored[_SEALED], _place(kind, key)))
        except ValueError:
            raise StoreUnavailable(
                f"the encryption key does not open its {kind} {key}:"
                " it is not the key of this database, or the record was changed"
            ) from None

    def _is_current(self, kind: str, key: str, stored: Record) -> bool:
        return _SEALED in stored and self._keys.is_current(stored[_SEALED], _place(kind, key))


def _place(kind: str, key: str) -> str:
    """Where a record belongs, as associated data: nobody can exchange two of them in the database."""
    return f"mcpauth/{kind}/{key}"


async def unlocked(store: Store, keys: EncryptionKeys) -> Store:
    """The store with its secrets open under these keys.

    Raises:
        StoreUnavailable: they do not open.
    """
    opened = EncryptedStore(store, keys)
    await opened.unlock()
    return opened
