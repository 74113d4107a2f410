"""The pushed authorization request endpoint, RFC 9126 §2: a client hands in what its user's browser shall not
carry, and gets a reference to it. It may show the key to which its code will be bound (RFC 9449 §10.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.events import AuthorizationPushed, AuthorizationPushRefused, Events
from mcpauth.oauth.errors import NO_HEADERS, OAuthError
from mcpauth.oauth.pushed_authorization_request import LIFETIME
from mcpauth.web.body import every_header
from mcpauth.web.forms import read_form
from mcpauth.web.responses import no_store_json, oauth_errors

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.client_authentication import ClientAuthenticator
    from mcpauth.oauth.dpop import DpopProofs
    from mcpauth.oauth.pushed_authorization_request import PushedAuthorizationRequests
    from mcpauth.web.ceiling import Ceiling


class PushedAuthorizationRequestEndpoint:
    """Answers `POST /par`; `url` is where it is. Errors are the client's to read, and redirect nobody (§2.3).

    Raises:
        InvalidRequest: the body is no form, or a parameter is repeated.
        InvalidClient: the client did not prove who it is.
        InvalidDpopProof, UseDpopNonce: it shows a key and does not prove to have it.
        TemporarilyUnavailable: 429, too many from this client or address.
        OAuthError: whatever /authorize would refuse.
    """

    def __init__(
        self,
        clients: ClientAuthenticator,
        pushed: PushedAuthorizationRequests,
        proofs: DpopProofs,
        events: Events,
        *,
        ceiling: Ceiling,
        url: str,
    ) -> None:
        self._clients = clients
        self._pushed = pushed
        self._proofs = proofs
        self._ceiling = ceiling
        self._url = url
        self._events = events

    @oauth_errors
    async def post(self, request: Request) -> Response:
        """Read, authenticate, check, keep."""
        form = await read_form(request)
        client = await self._clients.authenticate(request.headers, form)
        self._ceiling.take(request, known=client.client_id if client.is_vouched_for else None)
        try:
            key = await self._key(request, client)
            request_uri = await self._pushed.push(client, form, key=key)
        except OAuthError as error:
            await self._events.emit(
                AuthorizationPushRefused(
                    client_id=client.client_id, error=error.code, description=error.description
                )
            )
            raise
        await self._events.emit(AuthorizationPushed(client_id=client.client_id))
        answer = {"request_uri": request_uri, "expires_in": int(LIFETIME.total_seconds())}
        headers = self._proofs.headers if key is not None else NO_HEADERS
        return no_store_json(answer, status=201, headers=headers)

    async def _key(self, request: Request, client: Client) -> str | None:
        """The key that the request shows. Only tokens may have to be bound: here no proof is ever missing."""
        proofs = every_header(request, b"dpop")
        if not proofs:
            return None
        return await self._proofs.key(client, proofs, method=request.method, uri=self._url)
