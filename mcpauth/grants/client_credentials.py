"""The client credentials grant, RFC 6749 §4.4: a machine gets a token in its own name; no user is involved.

Only for confidential clients that an operator registered with the resources and scopes they may have. There
is never a refresh token (§4.4.3): the client can ask again at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.events import ClientTokenIssued, Events
from mcpauth.grants import TokenRequest, TokenResponse, token_response
from mcpauth.oauth.errors import UnauthorizedClient
from mcpauth.oauth.own_name import permission_in_own_name

if TYPE_CHECKING:
    from mcpauth.oauth.access_token import AccessTokens
    from mcpauth.oauth.resource_registry import ResourceRegistry

GRANT_TYPE = "client_credentials"


class ClientCredentialsGrant:
    """`grant_type=client_credentials`."""

    def __init__(self, *, registry: ResourceRegistry, access_tokens: AccessTokens, events: Events) -> None:
        self._registry = registry
        self._access_tokens = access_tokens
        self._events = events

    async def __call__(self, request: TokenRequest) -> TokenResponse:
        """Mint what is asked for, as far as the client's terms go.

        Raises:
            UnauthorizedClient: the client is public, or no operator gave it terms (§4.4: MUST only be used by
                confidential clients).
            InvalidTarget: the resource is unknown, not one of the client's, or has to be named.
            InvalidScope: nothing of what is asked for is the client's.
        """
        client, form = request.client, request.form
        if client.is_public or client.source != "pre-registered" or not client.terms.scopes:
            raise UnauthorizedClient("the client may not have tokens in its own name")
        permission = permission_in_own_name(
            self._registry,
            resources=client.terms.resources,
            scopes=client.terms.scopes,
            resource=form.all("resource"),
            scope=form.optional("scope"),
        )
        access_token = await self._access_tokens.mint_for_client(
            client.client_id, permission, key=request.key
        )
        await self._events.emit(
            ClientTokenIssued(
                client_id=client.client_id,
                resource=permission.resource,
                scopes=permission.scopes,
                token_id=access_token.token_id,
            )
        )
        return token_response(access_token, None)
