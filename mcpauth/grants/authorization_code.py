"""The authorization code grant, RFC 6749 §4.1.3, RFC 7636 §4.5 and RFC 8707 §2.2: a code becomes tokens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcpauth.events import Events, TokenIssued
from mcpauth.grants import TokenRequest, TokenResponse, token_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth.oauth.access_token import AccessToken, AccessTokens
    from mcpauth.oauth.authorization_code import AuthorizationCodes, Redeemed
    from mcpauth.oauth.grant import Grant, Grants
    from mcpauth.oauth.id_token import IdTokens
    from mcpauth.oauth.refresh_token import RefreshTokens


class AuthorizationCodeGrant:
    """`grant_type=authorization_code`."""

    def __init__(
        self,
        *,
        codes: AuthorizationCodes,
        grants: Grants,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        id_tokens: IdTokens | None = None,
        events: Events,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._codes = codes
        self._grants = grants
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._id_tokens = id_tokens
        self._events = events
        self._now = now

    async def __call__(self, request: TokenRequest) -> TokenResponse:
        """Redeem the code, and mint.

        The code is spent before there are tokens: a crash between the two costs a new sign-in, the other
        order could issue twice.
        """
        form = request.form
        redeemed = await self._codes.redeem(
            form.required("code"),
            client=request.client,
            redirect_uri=form.optional("redirect_uri"),
            code_verifier=form.required("code_verifier"),
            resource=form.all("resource"),
            scope=form.optional("scope"),
            key=request.key,
        )
        grant = redeemed.grant
        refresh_token = await self._keep(grant, request)
        access_token = await self._access_tokens.mint(grant, redeemed.permission, key=request.key)
        await self._tell(grant, access_token, refreshable=refresh_token is not None)
        return token_response(access_token, refresh_token) | self._id_token(redeemed)

    def _id_token(self, redeemed: Redeemed) -> TokenResponse:
        """OpenID Connect Core §3.1.3.3: one more member, where the user allows it."""
        id_token = self._id_tokens.mint(redeemed.grant, nonce=redeemed.nonce) if self._id_tokens else None
        return {} if id_token is None else {"id_token": id_token}

    async def _keep(self, grant: Grant, request: TokenRequest) -> str | None:
        """Store the grant while it can be used; make a refresh token where the client may have one."""
        if "refresh_token" in request.client.grant_types:
            await self._grants.add(grant)
            return await self._refresh_tokens.issue(grant, request.client, key=request.key)
        await self._grants.add(grant, expires_at=int(self._now()) + self._access_tokens.lifetime)
        return None

    async def _tell(self, grant: Grant, access_token: AccessToken, *, refreshable: bool) -> None:
        await self._events.emit(
            TokenIssued(
                client_id=grant.client_id,
                user_id=grant.user_id,
                grant_id=grant.grant_id,
                resource=access_token.permission.resource,
                scopes=access_token.permission.scopes,
                token_id=access_token.token_id,
                refresh_token=refreshable,
            )
        )
