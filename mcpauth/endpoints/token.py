"""The token endpoint, RFC 6749 §3.2: what all grant types share is done here once; none can forget it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.events import Events, TokenRefused
from mcpauth.grants import TokenRequest
from mcpauth.oauth.errors import (
    NO_HEADERS,
    AuthorizationPending,
    OAuthError,
    UnauthorizedClient,
    UnsupportedGrantType,
)
from mcpauth.web.body import every_header
from mcpauth.web.forms import read_form
from mcpauth.web.responses import no_store_json, oauth_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.grants import GrantType
    from mcpauth.oauth.client import Client
    from mcpauth.oauth.client_authentication import ClientAuthenticator
    from mcpauth.oauth.dpop import DpopProofs
    from mcpauth.oauth.form import Form


class TokenEndpoint:
    """Answers `POST /token`. `grants` are the grant types by their `grant_type`, `url` is where it is.

    Raises:
        InvalidRequest: a parameter is missing or repeated, or the body is no form.
        InvalidClient: the client did not prove who it is.
        UnsupportedGrantType: the server does not know the grant type.
        UnauthorizedClient: the client is not registered for it.
        InvalidDpopProof, UseDpopNonce: the request does not prove the key that it shows, or shows none where
            it has to.
    """

    def __init__(
        self,
        clients: ClientAuthenticator,
        grants: Mapping[str, GrantType],
        proofs: DpopProofs,
        events: Events,
        *,
        url: str,
    ) -> None:
        self._clients = clients
        self._grants = grants
        self._proofs = proofs
        self._url = url
        self._events = events

    @property
    def grant_types(self) -> tuple[str, ...]:
        """What `grant_type` may be."""
        return tuple(self._grants)

    @oauth_errors
    async def post(self, request: Request) -> Response:
        """Read, authenticate, dispatch."""
        form = await read_form(request)
        client = await self._clients.authenticate(request.headers, form)
        try:
            grant_type = self._grant_type(form, client)
            key = await self._key(request, client)
            answer = await grant_type(TokenRequest(client, form, key))
            return no_store_json(answer, headers=self._proofs.headers if key is not None else NO_HEADERS)
        except AuthorizationPending:
            # A device that asks again every few seconds, as it should, is no news.
            raise
        except OAuthError as error:
            await self._tell(client, form, error)
            raise

    async def _key(self, request: Request, client: Client) -> str | None:
        """The key that the request proves its client to have, RFC 9449 §5."""
        proofs = every_header(request, b"dpop")
        return await self._proofs.key(client, proofs, method=request.method, uri=self._url)

    def _grant_type(self, form: Form, client: Client) -> GrantType:
        name = form.required("grant_type")
        grant_type = self._grants.get(name)
        if grant_type is None:
            raise UnsupportedGrantType("the grant_type is not one of this server's")
        if name not in client.grant_types:
            raise UnauthorizedClient("the client is not registered for this grant_type")
        return grant_type

    async def _tell(self, client: Client, form: Form, error: OAuthError) -> None:
        grant_type = form.optional("grant_type")
        await self._events.emit(
            TokenRefused(
                client_id=client.client_id,
                grant_type=grant_type if grant_type in self._grants else None,
                error=error.code,
                description=error.description,
            )
        )
