"""Client authentication, RFC 6749 §2.3 and §3.2.1: once for every endpoint that needs it.

Each module is one method. Whatever is wrong with the credentials, the answer is the same `invalid_client`, so
that nobody learns which clients exist; an event tells the operator.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NoReturn

from mcpauth.events import ClientAuthenticationFailed, ClientAuthenticationFailure, Events
from mcpauth.oauth.client_authentication import client_secret_basic, client_secret_post, none
from mcpauth.oauth.client_authentication.method import NotProven
from mcpauth.oauth.errors import InvalidClient, InvalidClientMetadata, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcpauth.oauth.client import Client, KnownClients
    from mcpauth.oauth.client_authentication.method import ClientAuthenticationMethod, Credentials
    from mcpauth.oauth.form import Form

METHODS: tuple[ClientAuthenticationMethod, ...] = (none, client_secret_basic, client_secret_post)

MAX_TOLD = 200


class ClientAuthenticator:
    """Finds out which client a request is from.

    Raises:
        InvalidClient: it does not say or prove so; 401, with a Basic challenge where it used that header.
        InvalidRequest: it uses two methods at once (§2.3), or names two clients.
    """

    def __init__(
        self,
        clients: KnownClients,
        methods: Sequence[ClientAuthenticationMethod] = METHODS,
        *,
        events: Events | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._clients = clients
        self._methods = tuple(methods)
        self._events = events if events is not None else Events()
        self._now = now

    @property
    def names(self) -> tuple[str, ...]:
        """The methods it accepts, as registered with IANA."""
        return tuple(method.NAME for method in self._methods)

    async def authenticate(self, headers: Mapping[str, str], form: Form) -> Client:
        """The client that the request is from."""
        # The one header that the methods read; each of them asks for it.
        header = headers.get("authorization")
        headers = {"authorization": header} if header is not None else {}
        try:
            method, credentials = self._credentials(headers, form)
            return await self._client(method, credentials)
        except InvalidClient as error:
            if headers:
                # §5.2: the scheme that was tried, or would have been right.
                raise InvalidClient(
                    error.description, headers={"WWW-Authenticate": 'Basic realm="token"'}
                ) from error
            raise

    def _credentials(
        self, headers: Mapping[str, str], form: Form
    ) -> tuple[ClientAuthenticationMethod, Credentials]:
        found = [(method, method.credentials(headers, form)) for method in self._methods]
        used = [(method, credentials) for method, credentials in found if credentials is not None]
        if len(used) > 1:
            raise InvalidRequest("the client authenticates in two ways at once")
        if not used:
            raise InvalidClient("the client does not authenticate in a way that this server knows")
        return used[0]

    async def _client(self, method: ClientAuthenticationMethod, credentials: Credentials) -> Client:
        client = await self._find(credentials.client_id)
        # Verified before anything is decided, so that an unknown client costs what a known one does.
        proven, detail = await _proven(method, client, credentials)
        if client is None:
            await self._refuse(method, credentials, "unknown_client")
        if not method.may_use(client):
            await self._refuse(method, credentials, "wrong_method")
        if not proven or 0 < client.client_secret_expires_at <= self._now():
            await self._refuse(method, credentials, "wrong_secret", detail)
        return client

    async def _find(self, client_id: str) -> Client | None:
        try:
            return await self._clients.get(client_id)
        except (InvalidClient, InvalidClientMetadata):
            # Whatever is wrong with a client's own document, here it is an unknown client (RFC 6749 §5.2).
            return None

    async def _refuse(
        self,
        method: ClientAuthenticationMethod,
        credentials: Credentials,
        reason: ClientAuthenticationFailure,
        detail: str | None = None,
    ) -> NoReturn:
        await self._events.emit(
            ClientAuthenticationFailed(
                client_id=credentials.client_id[:MAX_TOLD], method=method.NAME, reason=reason, detail=detail
            )
        )
        raise InvalidClient("the client is unknown or did not prove who it is")


async def _proven(
    method: ClientAuthenticationMethod, client: Client | None, credentials: Credentials
) -> tuple[bool, str | None]:
    try:
        return await method.verify(client, credentials), None
    except NotProven as error:
        return False, error.reason
