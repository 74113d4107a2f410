"""The pushed authorization request endpoint, RFC 9126 §2: a client hands in what its user's browser shall not
carry, and gets a reference to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.events import AuthorizationPushed, AuthorizationPushRefused, Events
from mcpauth.oauth.errors import OAuthError
from mcpauth.oauth.pushed_authorization_request import LIFETIME
from mcpauth.web.forms import read_form
from mcpauth.web.responses import no_store_json, oauth_errors

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.oauth.client_authentication import ClientAuthenticator
    from mcpauth.oauth.pushed_authorization_request import PushedAuthorizationRequests


class PushedAuthorizationRequestEndpoint:
    """Answers `POST /par`. Errors are the client's to read: nobody is redirected (§2.3).

    Raises:
        InvalidRequest: the body is no form, or a parameter is repeated.
        InvalidClient: the client did not prove who it is.
        OAuthError: whatever /authorize would refuse.
    """

    def __init__(
        self, clients: ClientAuthenticator, pushed: PushedAuthorizationRequests, events: Events
    ) -> None:
        self._clients = clients
        self._pushed = pushed
        self._events = events

    @oauth_errors
    async def post(self, request: Request) -> Response:
        """Read, authenticate, check, keep."""
        form = await read_form(request)
        client = await self._clients.authenticate(request.headers, form)
        try:
            request_uri = await self._pushed.push(client, form)
        except OAuthError as error:
            await self._events.emit(
                AuthorizationPushRefused(
                    client_id=client.client_id, error=error.code, description=error.description
                )
            )
            raise
        await self._events.emit(AuthorizationPushed(client_id=client.client_id))
        answer = {"request_uri": request_uri, "expires_in": int(LIFETIME.total_seconds())}
        return no_store_json(answer, status=201)
