"""Dynamic client registration, RFC 7591 §3: how the clients that introduce themselves are kept few.

Two things keep them so. A native public client that registers again with the same metadata gets the same
client_id: installations of one program share it, as they would share a pre-registered one, and so none of
them may manage it. And a registration by which nobody ever got a token ends after a while.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from mcpauth.oauth.random_text import random_text
from mcpauth.oauth.redirect_uri import is_native
from mcpauth.oauth.store import Record, Store, digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth.oauth.client import Client, Clients

KIND = "native_registration"

# `replace` keeps a moment or sets one; the last second that RFC 3339 can write is never.
NEVER = 253_402_300_799


@dataclass(frozen=True, slots=True, repr=False)
class Registered:
    """What a registration gives. The secret and the token are shown this once; either may be None."""

    client: Client
    client_secret: str | None = None
    registration_access_token: str | None = None
    is_new: bool = True


class Registrations:
    """Registers clients, and confirms those that are used."""

    def __init__(
        self,
        store: Store,
        clients: Clients,
        *,
        unconfirmed_lifetime: timedelta = timedelta(days=1),
        now: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._clients = clients
        self._unconfirmed_lifetime = int(unconfirmed_lifetime.total_seconds())
        self._now = now
        self._token_bytes = token_bytes

    async def register(self, metadata: object) -> Registered:
        """Make a client of metadata, or find the one that was made of the same.

        Raises:
            InvalidClientMetadata, InvalidRedirectUri: what cannot be registered.
        """
        made, client_secret = self._clients.make(self._clients.check(metadata), source="dynamic")
        client = replace(made, confirmed=False)
        if is_shared(client):
            return await self._share(client)
        token = registration_access_token(client, self._token_bytes)
        client = replace(client, registration_access_token_digest=digest(token))
        await self._clients.add(client, expires_at=self._ends_at())
        return Registered(client, client_secret, token)

    async def confirm(self, client_id: str) -> None:
        """Somebody has allowed the client something: keep it."""
        client = await self._clients.change(client_id, _confirmed, expires_at=NEVER)
        if client is not None and is_shared(client):
            entry = _entry(client)
            await self._store.replace(KIND, fingerprint(client), entry, entry, expires_at=NEVER)

    async def _share(self, client: Client) -> Registered:
        if known := await self._known(client):
            return Registered(known, is_new=False)
        await self._clients.add(client, expires_at=self._ends_at())
        key, entry = fingerprint(client), _entry(client)
        if await self._store.add(KIND, key, entry, expires_at=self._ends_at()):
            return Registered(client)
        if known := await self._known(client):
            # Another process was quicker.
            await self._clients.remove(client.client_id)
            return Registered(known, is_new=False)
        # What was remembered is gone: an operator removed it.
        gone = await self._store.get(KIND, key)
        if gone is not None:
            await self._store.replace(KIND, key, gone, entry, expires_at=self._ends_at())
        return Registered(client)

    async def _known(self, client: Client) -> Client | None:
        key = fingerprint(client)
        entry = await self._store.get(KIND, key)
        known = await self._clients.get(entry["client_id"]) if entry is not None else None
        if entry is None or known is None or fingerprint(known) != key:
            return None
        if not known.confirmed:
            # Whoever registers now has the whole time before them.
            await self._clients.change(known.client_id, _unconfirmed, expires_at=self._ends_at())
            await self._store.replace(KIND, key, entry, entry, expires_at=self._ends_at())
        return known

    def _ends_at(self) -> int:
        return int(self._now()) + self._unconfirmed_lifetime


def registration_access_token(client: Client, token_bytes: Callable[[int], bytes]) -> str:
    """A token to manage the client with, RFC 7592 §3; it begins with whose it is."""
    return f"{client.client_id}.{random_text(token_bytes)}"


def is_shared(client: Client) -> bool:
    """Whether every installation of the program may be this client: none can prove to be another one."""
    return (
        client.source == "dynamic"
        and client.is_public
        and all(is_native(uri) for uri in client.redirect_uris)
        and client.registration_access_token_digest is None
        and not {"jwks", "jwks_uri"} & client.metadata.keys()
    )


def fingerprint(client: Client) -> str:
    """The same for the same metadata."""
    told = client.registration_response(None)
    return digest(json.dumps({**told, "client_id": "", "client_id_issued_at": 0}, sort_keys=True))


def _entry(client: Client) -> Record:
    return {"client_id": client.client_id}


def _confirmed(client: Client) -> Client | None:
    return None if client.confirmed else replace(client, confirmed=True)


def _unconfirmed(client: Client) -> Client | None:
    return None if client.confirmed else client
