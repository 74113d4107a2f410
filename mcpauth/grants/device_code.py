"""The device code grant, RFC 8628 §3.4 and §3.5: a device asks until its user has decided elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpauth.grants import TokenRequest, TokenResponse
    from mcpauth.grants.first_tokens import FirstTokens, Made
    from mcpauth.oauth.device_code import DeviceCodes
    from mcpauth.oauth.grant import Grant
    from mcpauth.oauth.permission import Permission


class DeviceCodeGrant:
    """`grant_type=urn:ietf:params:oauth:grant-type:device_code`."""

    def __init__(self, *, codes: DeviceCodes, first_tokens: FirstTokens) -> None:
        self._codes = codes
        self._first_tokens = first_tokens

    async def __call__(self, request: TokenRequest) -> TokenResponse:
        """Make the tokens, if the user has allowed it, and redeem the code for them."""

        async def make(grant: Grant, permission: Permission) -> Made:
            return await self._first_tokens.make(request, grant, permission)

        form = request.form
        made = await self._codes.redeem(
            form.required("device_code"),
            make,
            client=request.client,
            resource=form.all("resource"),
            scope=form.optional("scope"),
        )
        return await self._first_tokens.give(made)
