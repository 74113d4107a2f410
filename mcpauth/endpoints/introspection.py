"""The introspection endpoint, RFC 7662: a resource server asks what a token is worth now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.oauth.errors import InvalidClient
from mcpauth.web.forms import read_form
from mcpauth.web.responses import no_store_json, oauth_errors

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.oauth.client_authentication import ClientAuthenticator
    from mcpauth.oauth.introspection import Introspection


class IntrospectionEndpoint:
    """Answers `POST /introspect`.

    Raises:
        InvalidRequest: `token` is missing, or a parameter is repeated (RFC 6749 §3.2).
        InvalidClient: the client did not prove who it is, or has nothing to prove it with (§2.1: the endpoint
            must not be open to token scanning).
        StoreUnavailable: 503; nobody learns that a token is inactive from a store that could not be read.
    """

    def __init__(self, clients: ClientAuthenticator, introspection: Introspection) -> None:
        self._clients = clients
        self._introspection = introspection

    @oauth_errors
    async def post(self, request: Request) -> Response:
        """Tell what the token is worth."""
        form = await read_form(request)
        client = await self._clients.authenticate(request.headers, form)
        if client.is_public:
            raise InvalidClient("introspection is for clients that authenticate")
        # token_type_hint is not read: the kinds look different, so it could save nothing.
        return no_store_json(await self._introspection.describe(form.required("token"), client))
