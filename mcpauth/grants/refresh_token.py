"""The refresh token grant, RFC 6749 §6: a refresh token becomes an access token and its successor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.events import Events, RefreshRepeated, TokenRefreshed
from mcpauth.grants import TokenResponse, token_response

if TYPE_CHECKING:
    from mcpauth.oauth.access_token import AccessToken, AccessTokens
    from mcpauth.oauth.client import Client
    from mcpauth.oauth.form import Form
    from mcpauth.oauth.grant import Grant
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

    async def __call__(self, client: Client, form: Form) -> TokenResponse:
        """Rotate the refresh token, and mint. A narrower `scope` narrows the access token only (§6)."""
        minted: list[AccessToken] = []

        def answer(grant: Grant, scopes: tuple[str, ...], refresh_token: str) -> TokenResponse:
            minted.append(self._access_tokens.mint(grant, scopes))
            return token_response(minted[-1], scopes, refresh_token)

        refreshed = await self._refresh_tokens.refresh(
            form.required("refresh_token"),
            answer,
            client=client,
            resource=form.all("resource"),
            scope=form.optional("scope"),
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
                resource=grant.resource,
                scopes=tuple(refreshed.answer["scope"].split()),
                token_id=minted[-1].token_id,
            )
        )
        return refreshed.answer
