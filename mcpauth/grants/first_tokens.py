"""The first tokens of a grant, RFC 6749 §5.1: what follows once a code of either kind has been redeemed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcpauth.events import Events, TokenIssued
from mcpauth.grants import TokenRequest, TokenResponse, token_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth.oauth.access_token import AccessToken, AccessTokens
    from mcpauth.oauth.grant import Grant, Grants
    from mcpauth.oauth.id_token import IdTokens
    from mcpauth.oauth.permission import Permission
    from mcpauth.oauth.refresh_token import RefreshTokens


@dataclass(frozen=True, slots=True, repr=False)
class Made:
    """An answer that nobody has been told yet."""

    grant: Grant
    access_token: AccessToken
    refreshable: bool
    answer: TokenResponse


class FirstTokens:
    """Stores the grant and issues its first access token, and a refresh token where the client may have one.

    What is made may be thrown away: it is nothing to anybody until it is given.
    """

    def __init__(
        self,
        *,
        grants: Grants,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        id_tokens: IdTokens | None = None,
        events: Events,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._grants = grants
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._id_tokens = id_tokens
        self._events = events
        self._now = now

    async def make(
        self, request: TokenRequest, grant: Grant, permission: Permission, *, nonce: str | None = None
    ) -> Made:
        """The answer to a request that may yet come second; `nonce` is what the ID token repeats."""
        refresh_token = await self._keep(grant, request)
        access_token = await self._access_tokens.mint(grant, permission, key=request.key)
        answer = token_response(access_token, refresh_token) | self._id_token(grant, nonce)
        return Made(grant, access_token, refresh_token is not None, answer)

    async def give(self, made: Made) -> TokenResponse:
        """The answer, and the event that says so."""
        await self._tell(made.grant, made.access_token, refreshable=made.refreshable)
        return made.answer

    def _id_token(self, grant: Grant, nonce: str | None) -> TokenResponse:
        """OpenID Connect Core §3.1.3.3: one more member, where the user allows it."""
        id_token = self._id_tokens.mint(grant, nonce=nonce) if self._id_tokens else None
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
