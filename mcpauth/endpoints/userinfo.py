"""The userinfo endpoint, OpenID Connect Core 1.0 §5.3: a client asks who its user is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpauth.oauth.identity import OPENID, PROFILE
from mcpauth.web.bearer import access_token
from mcpauth.web.responses import no_store_json, oauth_errors

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.oauth.own_tokens import OwnTokens
    from mcpauth.oauth.user import Users


class UserinfoEndpoint:
    """Answers GET and POST at `/userinfo`, with a token that is for it and nothing else.

    Raises:
        InvalidToken: 401; no token, or one that is not good here.
        InsufficientScope: 403; without `openid`.
        InvalidDpopProof, UseDpopNonce: 401; the token is bound to a key that the request does not prove.
    """

    def __init__(self, tokens: OwnTokens, users: Users) -> None:
        self._tokens = tokens
        self._users = users

    @oauth_errors
    async def answer(self, request: Request) -> Response:
        """Tell what the user allowed the client to know."""
        scheme, token = access_token(request)
        proofs = [value for name, value in request.scope["headers"] if name == b"dpop"]
        claims = await self._tokens.verified(
            token, scheme=scheme, scope=OPENID, proofs=proofs, method=request.method
        )
        told: dict[str, Any] = {"sub": claims["sub"]}
        if PROFILE in claims["scope"].split():
            user = await self._users.by_id(claims["sub"])
            told |= {"preferred_username": user.username} if user is not None else {}
        return no_store_json(told)
