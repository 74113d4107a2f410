"""The revocation endpoint, RFC 7009: a client hands back a token it no longer needs.

An unknown token gets the same empty 200 as a revoked one (§2.2): the client could do nothing about the
difference, and the token is not valid either way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.web.forms import read_form
from mcpauth.web.responses import empty, oauth_errors

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.oauth.client_authentication import ClientAuthenticator
    from mcpauth.oauth.issued_tokens import IssuedTokens


class RevocationEndpoint:
    """Answers `POST /revoke`.

    Whichever token of a grant comes back, access or refresh, the whole grant ends: §2.1 asks for it with a
    refresh token and allows it with an access token. An access token that a client got in its own name, or in
    exchange for a user's, ends alone.

    Raises:
        InvalidRequest: `token` is missing, or a parameter is repeated (RFC 6749 §3.2).
        InvalidClient: the client did not prove who it is (RFC 6749 §2.3).
        StoreUnavailable: 503 (§2.2.1), never a 200 for what did not happen.
    """

    def __init__(self, clients: ClientAuthenticator, tokens: IssuedTokens) -> None:
        self._clients = clients
        self._tokens = tokens

    @oauth_errors
    async def post(self, request: Request) -> Response:
        """End the token, and the grant that is the client's."""
        form = await read_form(request)
        client = await self._clients.authenticate(request.headers, form)
        # token_type_hint is not read: the two kinds look different, so it could save nothing.
        token = await self._tokens.find(form.required("token"))
        # Another client's token is answered like an unknown one, so that nobody can probe for tokens.
        if token is not None and token.client_id == client.client_id:
            await self._tokens.revoke(token)
        return empty()
