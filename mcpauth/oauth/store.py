"""The store: what the authorization server remembers, behind a few atomic verbs about one key each.

One key a verb, so that no verb needs a transaction and none spans the slots of a Redis Cluster. Single use is
`take`, rotation and every other change is `replace`, and a replay is an `add` that answers False.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Protocol, TypeAlias

Record: TypeAlias = dict[str, Any]
"""What is stored: JSON-able values only; tuples come back as lists."""

Records: TypeAlias = list[tuple[str, Record]]


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


class StoreUnavailable(Exception):
    """The store could not do it now: locked, full, closed, unreachable. Nothing is known to have changed."""


class Store(Protocol):
    """Where records live. An expired record (`expires_at` is not after now) behaves like an absent one.

    Every answer of a verb that changes something is sent only after the change is durable.

    Raises:
        StoreUnavailable: from every method.
    """

    async def add(
        self, kind: str, key: str, record: Record, *, expires_at: int | None = None, owner: str | None = None
    ) -> bool:
        """Store the record under a free key; False when the key is taken."""
        ...

    async def get(self, kind: str, key: str) -> Record | None:
        """The record under the key."""
        ...

    async def take(self, kind: str, key: str) -> Record | None:
        """The record, removed in the same step: of two callers one gets None."""
        ...

    async def replace(
        self, kind: str, key: str, old: Record, new: Record, *, expires_at: int | None = None
    ) -> bool:
        """Put `new` where exactly `old` still is; False when it is not.

        `expires_at` None keeps the moment it had; the owner is kept.
        """
        ...

    async def list(self, kind: str, owner: str | None = None) -> Records:
        """The records of a kind (of one owner) with their keys, by key: for pages and the command line."""
        ...

    async def aclose(self) -> None:
        """Finish what was begun and let go of files and connections."""
        ...


def digest(secret: str) -> str:
    """SHA-256, hexadecimal: how codes, tokens, secrets and session ids are keyed and stored.

    A plain hash is enough because all of them are 128 random bits or more; passwords are not stored so.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def to_json(record: Record) -> str:
    """The one JSON text of a record: equal records have equal texts, which `replace` compares."""
    return _ENCODER.encode(record)


def from_json(text: str) -> Record:
    """The record of a text made by `to_json`; a new object on each call."""
    record: Record = json.loads(text)
    return record
