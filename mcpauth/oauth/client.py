"""Clients: who may ask for authorization, RFC 6749 §2 and RFC 7591."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from mcpauth.oauth.client_metadata import GRANT_TYPES, PUBLIC, ClientMetadata, check_client_metadata
from mcpauth.oauth.operator_terms import NO_TERMS, OperatorTerms
from mcpauth.oauth.random_text import random_text
from mcpauth.oauth.redirect_uri import PRIVATE_USE_SCHEMES, matches
from mcpauth.oauth.store import Record, Store, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

KIND = "client"
MAX_READ = 1000

ClientSource: TypeAlias = Literal["pre-registered", "dynamic", "client_id_metadata_document"]


def _nothing() -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client.

    `client_name` is "" when it gave none. `scope` is what a request that names no scope means, never a
    ceiling: clients step up beyond what they registered. `metadata` is what else it told, to be told back.
    """

    client_id: str
    client_name: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    token_endpoint_auth_method: str
    client_secret_digest: str | None
    scope: str | None
    source: ClientSource
    client_uri: str | None
    created_at: int
    metadata: Mapping[str, Any] = field(default_factory=_nothing)
    client_secret_expires_at: int = 0  # RFC 7591 §3.2.1: 0 is never
    terms: OperatorTerms = NO_TERMS
    confirmed: bool = True  # False: it registered itself, and nobody has allowed it anything yet
    registration_access_token_digest: str | None = None

    @property
    def is_public(self) -> bool:
        """Whether it has nothing to prove itself with (RFC 6749 §2.1)."""
        return self.token_endpoint_auth_method == PUBLIC

    @property
    def is_vouched_for(self) -> bool:
        """Whether an operator registered it, and it can prove to be the one."""
        return self.source == "pre-registered" and not self.is_public

    @property
    def auth_methods(self) -> tuple[str, ...]:
        """The ways in which it may prove itself: its own, or those that its document offers."""
        offered = self.metadata.get("token_endpoint_auth_methods_supported", ())
        return (self.token_endpoint_auth_method, *offered)

    @property
    def pushes_only(self) -> bool:
        """Whether it has its authorization requests refused unless they were pushed (RFC 9126 §6)."""
        return self.metadata.get("require_pushed_authorization_requests") is True

    def redirects_to(self, redirect_uri: str) -> bool:
        """Whether the redirect URI of a request is one of the client's."""
        return any(matches(registered, redirect_uri) for registered in self.redirect_uris)

    def to_record(self) -> Record:
        """The client as stored."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {
            "metadata": dict(self.metadata),
            "terms": self.terms.to_record(),
        }

    @classmethod
    def from_record(cls, record: Record) -> Client:
        """The client of a stored record."""
        values: Record = {**record}
        values["redirect_uris"] = tuple(record["redirect_uris"])
        values["grant_types"] = tuple(record["grant_types"])
        values["terms"] = OperatorTerms.from_record(record.get("terms", {}))
        return cls(**values)

    def registration_response(self, client_secret: str | None) -> dict[str, Any]:
        """What the client is told about itself, RFC 7591 §3.2.1.

        Absent members are left out: the TypeScript clients refuse null and "" for a URL.
        """
        response: dict[str, Any] = {"client_id": self.client_id, "client_id_issued_at": self.created_at}
        if client_secret is not None:
            response["client_secret"] = client_secret
            response["client_secret_expires_at"] = self.client_secret_expires_at
        response |= {
            "redirect_uris": list(self.redirect_uris),
            "grant_types": list(self.grant_types),
            "token_endpoint_auth_method": self.token_endpoint_auth_method,
        }
        named = {"client_name": self.client_name, "client_uri": self.client_uri, "scope": self.scope}
        return response | {name: value for name, value in named.items() if value} | dict(self.metadata)


class KnownClients(Protocol):
    """Where the endpoints look clients up."""

    async def get(self, client_id: str) -> Client | None:
        """The client of this id, if there is one.

        Raises:
            InvalidClient, InvalidClientMetadata: what the id leads to is no client.
            TemporarilyUnavailable: nobody can tell now.
        """
        ...


class Clients:
    """The clients in the store.

    `scopes` are the scope names this server knows: others are dropped from a registration. None keeps all.
    `grant_types` are those that clients can register for.
    """

    def __init__(
        self,
        store: Store,
        *,
        scopes: Collection[str] | None = None,
        private_use_schemes: Collection[str] = PRIVATE_USE_SCHEMES,
        grant_types: Collection[str] = GRANT_TYPES,
        now: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._scopes = scopes
        self._private_use_schemes = private_use_schemes
        self._grant_types = grant_types
        self._now = now
        self._token_bytes = token_bytes
        self._read: dict[str, tuple[Record, Client]] = {}

    async def get(self, client_id: str) -> Client | None:
        """The client, if it is registered."""
        record = await self._store.get(KIND, client_id)
        if record is None:
            return None
        known = self._read.get(client_id)
        # The store is asked each time; only what an equal record was read as before is not made again.
        if known is not None and known[0] == record:
            return known[1]
        client = Client.from_record(record)
        if len(self._read) >= MAX_READ:
            self._read.clear()
        self._read[client_id] = (record, client)
        return client

    async def add(self, client: Client, *, expires_at: int | None = None) -> None:
        """Store a client.

        Raises:
            ValueError: the client_id is taken.
        """
        if not await self._store.add(KIND, client.client_id, client.to_record(), expires_at=expires_at):
            raise ValueError("the client_id is taken")

    async def change(
        self, client_id: str, change: Callable[[Client], Client | None], *, expires_at: int | None = None
    ) -> Client | None:
        """Put what `change` makes of the client in its place; None when there is none, or nothing to change.

        `expires_at` None keeps the moment it had.
        """
        while (record := await self._store.get(KIND, client_id)) is not None:
            changed = change(Client.from_record(record))
            if changed is None:
                return None
            if await self._store.replace(KIND, client_id, record, changed.to_record(), expires_at=expires_at):
                return changed
            # Somebody else changed it since it was read.
        return None

    async def remove(self, client_id: str) -> bool:
        """Forget the client. Its refresh tokens die with it: nobody can authenticate with its client_id."""
        return await self._store.take(KIND, client_id) is not None

    async def list(self) -> tuple[Client, ...]:
        """Every client."""
        return tuple(Client.from_record(record) for _, record in await self._store.list(KIND))

    async def register(self, metadata: object, *, source: ClientSource) -> tuple[Client, str | None]:
        """Make a client of RFC 7591 metadata.

        The second value is its secret, which is shown this once; None for a public client.

        Raises:
            InvalidClientMetadata, InvalidRedirectUri: what cannot be registered.
        """
        return await self.admit(self.check(metadata), source=source)

    def check(self, metadata: object) -> ClientMetadata:
        """The metadata, as far as this server can use it.

        Raises:
            InvalidClientMetadata, InvalidRedirectUri: what cannot be registered.
        """
        return check_client_metadata(
            metadata,
            scopes=self._scopes,
            private_use_schemes=self._private_use_schemes,
            grant_types=self._grant_types,
        )

    async def admit(
        self, checked: ClientMetadata, *, source: ClientSource, terms: OperatorTerms = NO_TERMS
    ) -> tuple[Client, str | None]:
        """Store a client of metadata that has been checked, on terms that an operator gives it."""
        client, client_secret = self.make(checked, source=source, terms=terms)
        await self.add(client)
        return client, client_secret

    def make(
        self, checked: ClientMetadata, *, source: ClientSource, terms: OperatorTerms = NO_TERMS
    ) -> tuple[Client, str | None]:
        """A client of metadata that has been checked, and its secret; nothing is stored."""
        client_secret = random_text(self._token_bytes) if checked.has_secret else None
        client = Client(
            # Hexadecimal: safe in a URL, in a Basic header and on a command line, and never an https URL.
            client_id=self._token_bytes(16).hex(),
            client_name=checked.client_name,
            redirect_uris=checked.redirect_uris,
            grant_types=checked.grant_types,
            token_endpoint_auth_method=checked.token_endpoint_auth_method,
            client_secret_digest=digest(client_secret) if client_secret is not None else None,
            scope=checked.scope,
            source=source,
            client_uri=checked.client_uri,
            created_at=int(self._now()),
            metadata=checked.rest,
            terms=terms,
        )
        return client, client_secret
