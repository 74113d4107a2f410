"""The keys that verify this server's tokens, RFC 7517 §5 and RFC 8414 §2 (`jwks_uri`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from mcpauth.web.responses import oauth_errors

if TYPE_CHECKING:
    from starlette.requests import Request

    from mcpauth.oauth.key_rings import KeyRings

# Long enough to spare requests; a resource server asks again anyway when it meets an unknown `kid`.
CACHED = {"Cache-Control": "public, max-age=300"}


class JwksEndpoint:
    """Answers `GET /jwks`."""

    def __init__(self, keys: KeyRings) -> None:
        self._keys = keys

    @oauth_errors
    async def get(self, request: Request) -> Response:  # noqa: ARG002 - the same for everyone
        """The public keys."""
        await self._keys.refresh_if_old()
        return JSONResponse(self._keys.jwks(), headers=CACHED)
