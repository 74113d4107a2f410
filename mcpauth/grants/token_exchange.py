"""Token exchange, RFC 8693: a resource server that was called for a user calls another one for that user.

It hands in the access token it was called with and gets one for the other resource: for the same user, under
the same grant, no longer alive, with the scopes that the operator's settings allow. `act` says who acts. The
actor is always the client that authenticates; an `actor_token` is not taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpauth.events import Events, TokenExchanged
from mcpauth.grants import TokenRequest, TokenResponse, token_response
from mcpauth.oauth.errors import InvalidRequest, UnauthorizedClient
from mcpauth.oauth.permission import Permission
from mcpauth.oauth.token_exchange import ACCESS_TOKEN_TYPE, ExchangeRules, actors, extended_chain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth.oauth.access_token import AccessTokens
    from mcpauth.oauth.client import Client
    from mcpauth.oauth.form import Form
    from mcpauth.oauth.grant import Grants
    from mcpauth.oauth.issued_tokens import IssuedTokens


class TokenExchangeGrant:
    """`grant_type=urn:ietf:params:oauth:grant-type:token-exchange`."""

    def __init__(
        self,
        *,
        rules: ExchangeRules,
        tokens: IssuedTokens,
        grants: Grants,
        access_tokens: AccessTokens,
        events: Events,
    ) -> None:
        self._rules = rules
        self._tokens = tokens
        self._grants = grants
        self._access_tokens = access_tokens
        self._events = events

    async def __call__(self, request: TokenRequest) -> TokenResponse:
        """Exchange the token.

        Raises:
            UnauthorizedClient: the client is no resource server that authenticates.
            InvalidRequest: a kind of token that is not taken or given, or the subject_token is not a user's
                living token for a resource of this client (§2.2.2 asks for this code).
            InvalidTarget: the settings do not lead from the token's resource to the one asked for.
            InvalidScope: more than the settings allow.
        """
        client, form = request.client, request.form
        if client.is_public or not client.terms.serves:
            raise UnauthorizedClient("the client is not the server of a resource")
        _check_types(form)
        subject = await self._subject(client, form.required("subject_token"))
        # `audience` is for logical names (§2.1); here the name of a resource is its URI.
        target = self._rules.target(subject["aud"], form.all("resource") + form.all("audience"))
        scopes = self._rules.scopes(subject["aud"], target, form.optional("scope"))
        act = extended_chain(subject, client.client_id)
        access_token = await self._access_tokens.mint_from(
            subject,
            Permission(target.identifier, scopes),
            client_id=client.client_id,
            act=act,
            key=request.key,
        )
        await self._events.emit(
            TokenExchanged(
                client_id=client.client_id,
                user_id=subject["sub"],
                grant_id=subject["grant_id"],
                subject_token_id=subject["jti"],
                resource=target.identifier,
                scopes=scopes,
                token_id=access_token.token_id,
                actors=actors(act),
            )
        )
        return token_response(access_token, None) | {"issued_token_type": ACCESS_TOKEN_TYPE}

    async def _subject(self, client: Client, token: str) -> Mapping[str, Any]:
        """The claims of the subject token. One answer whatever is wrong: nobody can probe for tokens."""
        found = await self._tokens.find_access_token(token)
        if (
            found is None
            or found.claims is None
            or found.grant_id is None
            or found.claims["aud"] not in client.terms.serves
            or not await self._grants.honours(found.grant_id, found.claims["sub"])
        ):
            raise InvalidRequest("the subject_token is not a valid token of a user for this resource server")
        return found.claims


def _check_types(form: Form) -> None:
    if form.required("subject_token_type") != ACCESS_TOKEN_TYPE:
        raise InvalidRequest("the subject_token_type has to be that of an access token")
    if form.optional("requested_token_type") not in (None, ACCESS_TOKEN_TYPE):
        raise InvalidRequest("only access tokens are issued")
    if form.optional("actor_token") is not None or form.optional("actor_token_type") is not None:
        raise InvalidRequest("the actor is the client itself; an actor_token is not taken")
