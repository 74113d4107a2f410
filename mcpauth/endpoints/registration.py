"""The registration endpoint, RFC 7591 §3: a client introduces itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpauth.events import ClientRegistered, Events, RegistrationRefused
from mcpauth.oauth.errors import InvalidClientMetadata, InvalidRequest, InvalidToken, OAuthError
from mcpauth.web.bearer import bearer_token
from mcpauth.web.json_body import read_json
from mcpauth.web.responses import no_store_json, oauth_errors

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.registration import Registered, Registrations
    from mcpauth.oauth.registration_token import RegistrationTokens
    from mcpauth.web.ceiling import Ceiling


class RegistrationEndpoint:
    """Answers `POST /register`. With `tokens`, only to those who have an initial access token.

    Raises:
        InvalidToken: the initial access token is missing or not valid (RFC 7591 §3, RFC 6750 §3.1).
        TemporarilyUnavailable: 429, too many from one address.
        InvalidClientMetadata: not a JSON object, or a member that cannot be registered.
        InvalidRedirectUri: no redirect URI, or one that cannot be registered.
    """

    def __init__(
        self,
        registrations: Registrations,
        events: Events,
        *,
        url: str,
        ceiling: Ceiling,
        tokens: RegistrationTokens | None = None,
    ) -> None:
        self._registrations = registrations
        self._events = events
        self._url = url
        self._ceiling = ceiling
        self._tokens = tokens

    @oauth_errors
    async def post(self, request: Request) -> Response:
        """Register the client, and tell it its id and secret."""
        try:
            registered = await self._register(request)
        except OAuthError as error:
            await self._events.emit(RegistrationRefused(error=error.code, description=error.description))
            raise
        if registered.is_new:
            await self._tell(registered.client)
        return no_store_json(self._response(registered), status=201)

    async def _register(self, request: Request) -> Registered:
        if self._tokens is not None and not await self._tokens.accepts(bearer_token(request)):
            raise InvalidToken("the initial access token is not valid")
        attempt = self._ceiling.take(request)
        registered = await self._registrations.register(await metadata_of(request))
        if not registered.is_new:
            # Nothing was stored: a program that registers at each start is no flood.
            self._ceiling.give_back(attempt)
        return registered

    def _response(self, registered: Registered) -> dict[str, Any]:
        client = registered.client
        response = client.registration_response(registered.client_secret)
        if registered.registration_access_token is not None:
            response |= management_members(self._url, client, registered.registration_access_token)
        return response

    async def _tell(self, client: Client) -> None:
        await self._events.emit(
            ClientRegistered(
                client_id=client.client_id,
                client_name=client.client_name,
                redirect_uris=client.redirect_uris,
                source=client.source,
            )
        )


def management_members(url: str, client: Client, registration_access_token: str) -> dict[str, Any]:
    """With what and where the client manages its registration, RFC 7592 §3."""
    return {
        "registration_access_token": registration_access_token,
        "registration_client_uri": f"{url}/{client.client_id}",
    }


async def metadata_of(request: Request) -> object:
    """The client metadata of a request.

    Raises:
        InvalidClientMetadata: the body is not JSON, or too long.
    """
    try:
        return await read_json(request)
    except InvalidRequest as error:
        # RFC 7591 §3.2.2 has no invalid_request.
        raise InvalidClientMetadata(error.description, status=error.status_code) from error
    except ValueError as error:
        raise InvalidClientMetadata("the body is not JSON") from error
