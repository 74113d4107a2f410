"""The client credentials grant, RFC 6749 §4.4: a machine gets a token in its own name; no user is involved.

Only for confidential clients that an operator registered with the resources and scopes they may have. There
is never a refresh token (§4.4.3): the client can ask again at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.events import ClientTokenIssued, Events
from mcpauth.grants import TokenRequest, TokenResponse, token_response
from mcpauth.oauth.errors import InvalidScope, InvalidTarget, UnauthorizedClient
from mcpauth.oauth.permission import Permission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth.oauth.access_token import AccessTokens
    from mcpauth.oauth.client import Client
    from mcpauth.oauth.resource_registry import Resource, ResourceRegistry

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
        resource = self._resource(client, form.all("resource"))
        scopes = self._scopes(client, resource, form.optional("scope"))
        permission = Permission(resource.identifier, scopes)
        access_token = await self._access_tokens.mint_for_client(
            client.client_id, permission, key=request.key
        )
        await self._events.emit(
            ClientTokenIssued(
                client_id=client.client_id,
                resource=resource.identifier,
                scopes=scopes,
                token_id=access_token.token_id,
            )
        )
        return token_response(access_token, None)

    def _resource(self, client: Client, requested: Sequence[str]) -> Resource:
        # The default resource is for users' clients. A machine that has one resource means that one.
        if not requested and len(client.terms.resources) != 1:
            raise InvalidTarget("name the resource: the client may use several")
        resource = self._registry.resolve(requested or client.terms.resources)
        if resource.identifier not in client.terms.resources:
            raise InvalidTarget("the resource is not one of the client's")
        return resource

    def _scopes(self, client: Client, resource: Resource, requested: str | None) -> tuple[str, ...]:
        """What is asked for, or without `scope` all; never more than the client's, whatever is default."""
        ceiling = self._registry.scopes_for(resource, " ".join(client.terms.scopes))
        if requested is None:
            return ceiling
        asked = self._registry.scopes_for(resource, requested)
        scopes = tuple(name for name in asked if name in ceiling)
        if not scopes:
            raise InvalidScope("the scope is not one of the client's")
        return scopes
