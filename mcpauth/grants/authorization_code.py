"""The authorization code grant, RFC 6749 §4.1.3, RFC 7636 §4.5 and RFC 8707 §2.2: a code becomes tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpauth.grants import TokenRequest, TokenResponse
    from mcpauth.grants.first_tokens import FirstTokens, Made
    from mcpauth.oauth.authorization_code import AuthorizationCodes, Redeemed


class AuthorizationCodeGrant:
    """`grant_type=authorization_code`."""

    def __init__(self, *, codes: AuthorizationCodes, first_tokens: FirstTokens) -> None:
        self._codes = codes
        self._first_tokens = first_tokens

    async def __call__(self, request: TokenRequest) -> TokenResponse:
        """Make the tokens, and redeem the code for them.

        They exist before the code is spent: a store that fails costs a retry. Of two that redeem it, one is
        told its tokens.
        """

        async def make(redeemed: Redeemed) -> Made:
            return await self._first_tokens.make(
                request, redeemed.grant, redeemed.permission, nonce=redeemed.nonce
            )

        form = request.form
        _, made = await self._codes.redeem(
            form.required("code"),
            make,
            client=request.client,
            redirect_uri=form.optional("redirect_uri"),
            code_verifier=form.required("code_verifier"),
            resource=form.all("resource"),
            scope=form.optional("scope"),
            key=request.key,
        )
        return await self._first_tokens.give(made)
