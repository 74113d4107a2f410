"""The device authorization endpoint, RFC 8628 §3.1: a device without a browser gets a code to show.

The user goes with it to the page at `verification_uri`, on a device that has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from mcpauth.events import DeviceAuthorizationBegun, DeviceAuthorizationRefused, Events
from mcpauth.oauth.client_metadata import DEVICE_CODE
from mcpauth.oauth.errors import OAuthError, UnauthorizedClient
from mcpauth.oauth.identity import asked_permissions
from mcpauth.web.forms import read_form
from mcpauth.web.responses import no_store_json, oauth_errors

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.client_authentication import ClientAuthenticator
    from mcpauth.oauth.device_code import DeviceAuthorization, DeviceCodes
    from mcpauth.oauth.form import Form
    from mcpauth.oauth.resource_registry import ResourceRegistry
    from mcpauth.web.ceiling import Ceiling


class DeviceAuthorizationEndpoint:
    """Answers `POST /device_authorization`. `verification_uri` is the URL of the page.

    Raises:
        InvalidRequest: a parameter is repeated, or the body is no form.
        InvalidClient: the client did not prove who it is.
        UnauthorizedClient: the client is not registered for the grant type.
        InvalidTarget, InvalidScope: what it asks for is unknown.
        TemporarilyUnavailable: 429, too many from this client or address.
    """

    def __init__(
        self,
        clients: ClientAuthenticator,
        codes: DeviceCodes,
        registry: ResourceRegistry,
        events: Events,
        *,
        ceiling: Ceiling,
        verification_uri: str,
    ) -> None:
        self._clients = clients
        self._codes = codes
        self._registry = registry
        self._events = events
        self._ceiling = ceiling
        self._verification_uri = verification_uri

    @oauth_errors
    async def post(self, request: Request) -> Response:
        """Codes for the device, §3.2."""
        form = await read_form(request)
        client = await self._clients.authenticate(request.headers, form)
        self._ceiling.take(request, known=client.client_id if client.is_vouched_for else None)
        try:
            begun = await self._begin(client, form)
        except OAuthError as error:
            await self._events.emit(
                DeviceAuthorizationRefused(
                    client_id=client.client_id, error=error.code, description=error.description
                )
            )
            raise
        complete = f"{self._verification_uri}?{urlencode({'user_code': begun.user_code})}"
        return no_store_json(
            {
                "device_code": begun.device_code,
                "user_code": begun.user_code,
                "verification_uri": self._verification_uri,
                "verification_uri_complete": complete,
                "expires_in": begun.expires_in,
                "interval": begun.interval,
            }
        )

    async def _begin(self, client: Client, form: Form) -> DeviceAuthorization:
        if DEVICE_CODE not in client.grant_types:
            raise UnauthorizedClient("the client is not registered for device codes")
        asked = asked_permissions(form, client, self._registry)
        begun = await self._codes.begin(client, asked)
        await self._events.emit(
            DeviceAuthorizationBegun(
                client_id=client.client_id, asked={each.resource: each.scopes for each in asked}
            )
        )
        return begun
