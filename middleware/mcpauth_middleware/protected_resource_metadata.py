"""Protected resource metadata, RFC 9728: where a client learns which authorization server to ask.

The document is public by nature, so every origin may read it, and no token or Host is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from mcpauth_middleware.resource import origin_of
from mcpauth_middleware.responses import Answer
from mcpauth_middleware.tokens.dpop_proof import SIGNING_ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcpauth_middleware.tokens.dpop import DpopMode

WELL_KNOWN = "/.well-known/oauth-protected-resource"

_CORS = (("Access-Control-Allow-Origin", "*"),)
_METHODS = "GET, HEAD, OPTIONS"


class ProtectedResourceMetadata:
    """The document of one resource and the paths it is found at.

    It answers at the path form, which §3.1 asks for, and at the root too: there are clients that
    know only one of them.
    """

    def __init__(
        self,
        *,
        resource: str,
        authorization_servers: Sequence[str],
        scopes_supported: Callable[[], Sequence[str]],
        resource_name: str | None = None,
        resource_documentation: str | None = None,
        dpop: DpopMode = "off",
    ) -> None:
        parts = urlsplit(resource)
        path = WELL_KNOWN + ("" if parts.path == "/" else parts.path)
        query = f"?{parts.query}" if parts.query else ""
        self.url = f"{origin_of(parts)}{path}{query}"
        """The address that a challenge names."""
        # A server decodes the path before it puts it into the ASGI scope.
        self.paths = frozenset({WELL_KNOWN, unquote(path)})
        self._scopes_supported = scopes_supported
        self._document: dict[str, Any] = {
            "resource": resource,
            "authorization_servers": list(authorization_servers),
            "bearer_methods_supported": ["header"],
        }
        if dpop != "off":
            self._document["dpop_signing_alg_values_supported"] = list(SIGNING_ALGORITHMS)
        if dpop == "required":
            self._document["dpop_bound_access_tokens_required"] = True
        if resource_name is not None:
            self._document["resource_name"] = resource_name
        if resource_documentation is not None:
            self._document["resource_documentation"] = resource_documentation

    def document(self) -> dict[str, Any]:
        """The metadata, §2. An empty `scopes_supported` is left out, as §3.2 asks."""
        scopes = list(self._scopes_supported())
        return self._document | ({"scopes_supported": scopes} if scopes else {})

    def answer(self, method: str) -> Answer:
        """What a request with this method to one of the `paths` gets."""
        if method == "OPTIONS":
            return Answer(204, headers=(*_CORS, *_PREFLIGHT))
        if method not in ("GET", "HEAD"):
            return Answer(405, headers=(*_CORS, ("Allow", _METHODS)))
        # Short, so that a changed scope or server is seen soon, and not at all by a shared cache.
        return Answer(200, self.document(), headers=_CORS, cache_control="private, max-age=60")


_PREFLIGHT = (
    ("Access-Control-Allow-Methods", _METHODS),
    # The SDKs send MCP-Protocol-Version with every discovery request. `*` does not cover Authorization.
    ("Access-Control-Allow-Headers", "*, Authorization"),
    ("Access-Control-Max-Age", "600"),
)

NOT_FOUND = Answer(404, headers=_CORS)
"""For other paths below `/.well-known/`: clients probe them before they have a token; a 401 would mislead."""
