"""Access tokens for this server itself, RFC 6750 and RFC 9449 §7: it is a resource server, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpauth.oauth.errors import InsufficientScope, InvalidToken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcpauth.oauth.dpop import DpopProofs
    from mcpauth.oauth.grant import Grants
    from mcpauth.oauth.issued_tokens import IssuedTokens


class OwnTokens:
    """Verifies tokens of which this server is the audience. `resource` is its name in them."""

    def __init__(self, tokens: IssuedTokens, grants: Grants, proofs: DpopProofs, *, resource: str) -> None:
        self._tokens = tokens
        self._grants = grants
        self._proofs = proofs
        self._resource = resource

    async def verified(
        self, token: str, *, scheme: str, scope: str, proofs: Sequence[bytes], method: str
    ) -> Mapping[str, Any]:
        """The claims of a user's token, which has the scope and comes in the way it was issued for.

        `scheme` is that of the Authorization header, in lower case; `proofs` are the values of the `DPoP`
        headers.

        Raises:
            InvalidToken: expired, revoked, for another resource, of a client alone, or in the other scheme.
            InsufficientScope: without the scope.
            InvalidDpopProof, UseDpopNonce: bound to a key, which the request does not prove.
        """
        found = await self._tokens.find_access_token(token)
        if (
            found is None
            or found.claims is None
            or found.grant_id is None
            or found.claims["aud"] != self._resource
            or not await self._grants.honours(found.grant_id, found.claims["sub"])
        ):
            raise InvalidToken("the token is not valid here")
        claims = found.claims
        bound = claims.get("cnf")
        if (scheme == "dpop") != (bound is not None):
            raise InvalidToken("the token was issued for the other scheme")
        if bound is not None:
            await self._proofs.check_bound(
                token, key=bound["jkt"], proofs=proofs, method=method, uri=self._resource
            )
        if scope not in claims["scope"].split():
            raise InsufficientScope(scope)
        return claims
