"""The refresh token grant, RFC 6749 §6: a refresh token becomes an access token and its successor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.events import Events, RefreshRepeated, TokenRefreshed
from mcpauth.grants import TokenRequest, TokenResponse, token_response
from mcpauth.oauth.refresh_token import Question

if TYPE_CHECKING:
    from mcpauth.oauth.access_token import AccessToken, AccessTokens
    from mcpauth.oauth.grant import Grant
    from mcpauth.oauth.permission import Permission
    from mcpauth.oauth.refresh_token import RefreshTokens


class RefreshTokenGrant:
    """`grant_type=refresh_token`."""

    def __init__(
        self,
        *,
        refresh_tokens: RefreshTokens,
        access_tokens: AccessTokens,
        events: Events,
    ) -> None:
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._events = events

    async def __call__(self, request: TokenRequest) -> TokenResponse:
        """Rotate the refresh token, and mint. A narrower `scope` narrows the access token only (§6)."""
        form = request.form
        minted: list[AccessToken] = []

        async def answer(grant: Grant, permission: Permission, refresh_token: str) -> TokenResponse:
            minted.append(await self._access_tokens.mint(grant, permission, key=request.key))
            return token_response(minted[-1], refresh_token)

        refreshed = await self._refresh_tokens.refresh(
            form.required("refresh_token"),
            answer,
            client=request.client,
            question=Question(form.all("resource"), form.optional("scope"), request.key),
        )
        grant = refreshed.grant
        if refreshed.repeated:
            await self._events.emit(
                RefreshRepeated(client_id=grant.client_id, user_id=grant.user_id, grant_id=grant.grant_id)
            )
            return refreshed.answer
        await self._events.emit(
            TokenRefreshed(
                client_id=grant.client_id,
                user_id=grant.user_id,
                grant_id=grant.grant_id,
                resource=minted[-1].permission.resource,
                scopes=minted[-1].permission.scopes,
                token_id=minted[-1].token_id,
            )
        )
        return refreshed.answer
