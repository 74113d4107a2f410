"""Client configuration, RFC 7592 §2: a client reads, changes and ends its own registration."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from mcpauth.events import ClientDeleted, ClientUpdated, Events, RegistrationTokenRefused
from mcpauth.oauth.errors import InvalidClientMetadata, InvalidToken
from mcpauth.oauth.random_text import random_text
from mcpauth.oauth.store import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpauth.oauth.client import Client, Clients
    from mcpauth.oauth.client_metadata import ClientMetadata
    from mcpauth.oauth.grant import Grants

# §2.2: what the server alone says.
NOT_THE_CLIENTS = frozenset(
    {
        "registration_access_token",
        "registration_client_uri",
        "client_secret_expires_at",
        "client_id_issued_at",
    }
)
MAX_TOLD = 200


class RegistrationManagement:
    """Finds the client that a registration access token is for, and does what it asks."""

    def __init__(
        self,
        clients: Clients,
        grants: Grants,
        *,
        events: Events,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._clients = clients
        self._grants = grants
        self._events = events
        self._token_bytes = token_bytes

    async def authenticate(self, client_id: str, token: str) -> Client:
        """The client, if the token is its own.

        Raises:
            InvalidToken: it is not. A token of another client has been revoked (§2: it may be stolen).
        """
        owner = await self._clients.get(token.partition(".")[0])
        expected = owner.registration_access_token_digest if owner is not None else None
        if owner is None or not hmac.compare_digest(digest(token), expected or ""):
            raise InvalidToken("the registration access token is not valid")
        if owner.client_id != client_id:
            await self._clients.change(owner.client_id, _without_token)
            await self._events.emit(RegistrationTokenRefused(owner.client_id, tried=client_id[:MAX_TOLD]))
            raise InvalidToken("the registration access token is not valid")
        return owner

    async def update(self, client: Client, metadata: object) -> tuple[Client, str | None]:
        """Put new metadata in the place of all the old; the second value is a secret that the client now has.

        Raises:
            InvalidClientMetadata, InvalidRedirectUri: what cannot be registered, or not by the client.
            InvalidToken: the client has ended meanwhile.
        """
        members = _members(metadata)
        _check_identity(members, client)
        checked = self._clients.check(members)
        has_one = client.client_secret_digest is not None
        client_secret = random_text(self._token_bytes) if checked.has_secret and not has_one else None

        def updated(stored: Client) -> Client:
            kept = stored.client_secret_digest if checked.has_secret else None
            return _with(stored, checked, digest(client_secret) if client_secret is not None else kept)

        changed = await self._clients.change(client.client_id, updated)
        if changed is None:
            raise InvalidToken("the registration access token is not valid")
        await self._events.emit(ClientUpdated(changed.client_id, changed.client_name, changed.redirect_uris))
        return changed, client_secret

    async def delete(self, client: Client) -> None:
        """End the registration, and every grant to the client (§2.3)."""
        await self._grants.revoke_all_of_client(client.client_id, reason="client")
        await self._clients.remove(client.client_id)
        await self._events.emit(ClientDeleted(client.client_id))


def _members(metadata: object) -> Mapping[str, Any]:
    if not isinstance(metadata, dict):
        raise InvalidClientMetadata("the client metadata is not a JSON object")
    return cast("dict[str, Any]", metadata)


def _check_identity(members: Mapping[str, Any], client: Client) -> None:
    if members.get("client_id") != client.client_id:
        raise InvalidClientMetadata("client_id is missing, or not the client's")
    if NOT_THE_CLIENTS & members.keys():
        raise InvalidClientMetadata("a member is the server's to say: leave it out")
    client_secret = members.get("client_secret")
    if client_secret is None:
        return
    # §2.2: it may be told back, and must not be chosen.
    told = digest(client_secret) if isinstance(client_secret, str) else ""
    if not hmac.compare_digest(told, client.client_secret_digest or "-"):
        raise InvalidClientMetadata("client_secret is not the client's")


def _with(client: Client, checked: ClientMetadata, client_secret_digest: str | None) -> Client:
    return replace(
        client,
        client_name=checked.client_name,
        redirect_uris=checked.redirect_uris,
        grant_types=checked.grant_types,
        token_endpoint_auth_method=checked.token_endpoint_auth_method,
        client_secret_digest=client_secret_digest,
        scope=checked.scope,
        client_uri=checked.client_uri,
        metadata=checked.rest,
    )


def _without_token(client: Client) -> Client:
    return replace(client, registration_access_token_digest=None)
