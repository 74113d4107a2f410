"""The client configuration endpoint, RFC 7592 §2: a client reads, changes and ends its registration.

It is at the `registration_client_uri` of the registration response; metadata does not tell of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.endpoints.registration import management_members, metadata_of
from mcpauth.web.bearer import bearer_token
from mcpauth.web.responses import empty, no_store_json, oauth_errors

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.registration_management import RegistrationManagement


class RegistrationClientEndpoint:
    """Answers GET, PUT and DELETE at `/register/{client_id}`.

    Raises:
        InvalidToken: 401; the registration access token is missing, not valid, or another client's.
        InvalidClientMetadata, InvalidRedirectUri: new metadata that cannot be registered.
    """

    def __init__(self, management: RegistrationManagement, *, url: str) -> None:
        self._management = management
        self._url = url

    @oauth_errors
    async def answer(self, request: Request) -> Response:
        """Do what the method says."""
        token = bearer_token(request)
        client = await self._management.authenticate(request.path_params["client_id"], token)
        if request.method == "DELETE":
            await self._management.delete(client)
            return empty(status=204)
        if request.method == "PUT":
            client, client_secret = await self._management.update(client, await metadata_of(request))
            return self._response(client, client_secret, token)
        # The secret is not kept, so it cannot be told again (§3 lets it be left out).
        return self._response(client, None, token)

    def _response(self, client: Client, client_secret: str | None, token: str) -> Response:
        members = client.registration_response(client_secret)
        return no_store_json(members | management_members(self._url, client, token))
