"""The database: does it open, can it be written, does its content fit the settings?"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpauth.doctor.files import of_private_file
from mcpauth.doctor.finding import Finding, failed, ok, warning
from mcpauth.oauth.client import Clients
from mcpauth.oauth.store import StoreUnavailable
from mcpauth.oauth.user import Users
from mcpauth.stores.encrypted import EncryptedStore
from mcpauth.stores.sqlite import SqliteStore
from mcpauth.token_service import key_rings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from mcpauth.oauth.store import Store
    from mcpauth.settings import Settings

CHECK = "database"
KEYS = "keys"


@dataclass(slots=True)
class Published:
    """The public keys of the database, None as long as nobody knows them."""

    jwks: list[dict[str, Any]] | None = field(default=None)


async def of_database(settings: Settings, published: Published) -> AsyncGenerator[Finding]:
    """The database of the settings. `published` is filled in."""
    if settings.in_memory:
        yield warning(CHECK, "in memory: all is forgotten when the server ends", "name a file")
        return
    path = Path(settings.database)
    if (missing := _missing(path)) is not None:
        yield missing
        return
    for finding in _of_files(path):
        yield finding
    try:
        store = await SqliteStore.open(path)
    except StoreUnavailable as error:
        yield failed(CHECK, str(error), "run this as the user of the server, or correct `database`")
        return
    try:
        async for finding in _of_store(settings, store, published):
            yield finding
    except StoreUnavailable as error:
        yield failed(CHECK, str(error), "look for a full disk, or another program that holds the file")
    finally:
        await store.aclose()


def _missing(path: Path) -> Finding | None:
    # Looked for here, since opening would make it.
    if path.exists():
        return None
    if path.parent.is_dir():
        return warning(CHECK, f"{path} is not there yet", "the first `mcpauth users add` makes it")
    return failed(CHECK, f"{path.parent} is no folder", "make it, or correct `database`")


def _of_files(path: Path) -> Iterator[Finding]:
    yield from of_private_file(CHECK, path)
    for beside in (Path(f"{path}-wal"), Path(f"{path}-shm")):
        if beside.exists():
            yield from (found for found in of_private_file(CHECK, beside) if found.state != "ok")


async def _of_store(settings: Settings, store: Store, published: Published) -> AsyncGenerator[Finding]:
    probe = secrets.token_hex(16)
    await store.add("doctor", probe, {}, expires_at=int(time.time()) + 60)
    await store.take("doctor", probe)
    users = await Users(store, now=time.time).list()
    if users:
        yield ok(CHECK, f"it can be written, and has {len(users)} user{'s' if len(users) > 1 else ''}")
    else:
        yield warning(CHECK, "it has no users, so nobody can sign in", "mcpauth users add NAME")
    clients = await Clients(store, now=time.time).list()
    for resource in settings.resources:
        served = any(resource.identifier in client.terms.serves for client in clients)
        if resource.has_opaque_tokens and not served:
            yield warning(
                CHECK,
                f"{resource.identifier} has opaque tokens, and no client may ask what they are worth",
                f"mcpauth clients add --name NAME --resource-server {resource.identifier}",
            )
    async for finding in _of_keys(settings, store, published):
        yield finding


async def _of_keys(settings: Settings, store: Store, published: Published) -> AsyncGenerator[Finding]:
    # Not `unlocked`: that would encrypt what is not.
    keys = key_rings(settings, EncryptedStore(store, settings.encryption()), now=time.time)
    try:
        await keys.read()
    except StoreUnavailable as error:
        yield failed(KEYS, str(error), "give MCPAUTH_ENCRYPTION_KEY what the server has")
        return
    found = keys.statuses()
    if not found:
        yield warning(KEYS, "there are none yet", "the server makes the first one when it starts")
        return
    published.jwks = keys.jwks()["keys"]
    current = [key for key in found if key.state == "current"]
    lifetime = settings.signing_key_lifetime.total_seconds()
    if lifetime and any(time.time() > key.signs_from + lifetime for key in current):
        yield warning(
            KEYS,
            "the key that signs should have changed by now",
            "let the server run; `mcpauth keys rotate` changes it as well",
        )
        return
    algorithms = sorted({key.algorithm for key in current})
    verb = "signs" if len(algorithms) == 1 else "sign"
    yield ok(KEYS, f"{len(found)} can be read; {' and '.join(algorithms)} {verb}")
