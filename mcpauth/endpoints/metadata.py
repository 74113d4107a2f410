"""Authorization server metadata, RFC 8414, also where OpenID Connect Discovery 1.0 has clients look for it.

The document says only what is enabled, and is made at the start: no Host of a request changes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from starlette.responses import JSONResponse, Response

from mcpauth.endpoints.revocation_list import METADATA_MEMBER as REVOCATION_LIST
from mcpauth.oauth.client_keys import SIGNING_ALGORITHMS
from mcpauth.oauth.client_metadata import AUTH_METHODS, DEFAULT_GRANT_TYPES, PUBLIC, RESPONSE_TYPES
from mcpauth.oauth.identity import CLAIMS
from mcpauth.web.responses import oauth_errors
from mcpauth_middleware.tokens.dpop_proof import SIGNING_ALGORITHMS as DPOP_ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from starlette.requests import Request

    from mcpauth.oauth.resource_registry import ResourceRegistry

OPENID = "openid-configuration"
ID_TOKEN_ALGORITHMS = "id_token_signing_alg_values_supported"  # noqa: S105 - a name
CACHED = {"Cache-Control": "public, max-age=300"}


class MetadataEndpoint:
    """Answers GET at every one of `well_known_paths`.

    `id_token_algorithms` tells how ID tokens are signed, which changes with the keys; None: there are none.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        *,
        id_token_algorithms: Callable[[], Collection[str]] | None = None,
    ) -> None:
        self._document = dict(document)
        self._id_token_algorithms = id_token_algorithms

    @property
    def document(self) -> dict[str, Any]:
        """What everybody gets."""
        return dict(self._document)

    @oauth_errors
    async def get(self, request: Request) -> Response:  # noqa: ARG002 - the same for everyone
        """The document."""
        document = self._document
        if self._id_token_algorithms is not None:
            document = document | {ID_TOKEN_ALGORITHMS: sorted(self._id_token_algorithms())}
        return JSONResponse(document, headers=CACHED)


@dataclass(frozen=True, slots=True)
class Features:
    """What is enabled, of what the metadata tells.

    `registration`: clients may register themselves. `dpop`: tokens can be bound to keys. `pushed_only`:
    authorization requests have to be pushed (RFC 9126 §5). `grant_profiles` are the kinds of assertions about
    users that are taken; whose, it does not say. `acr_values` are the kinds of sign-in.
    """

    registration: bool
    client_id_metadata_documents: bool = False
    device_authorization: bool = False
    grant_types: tuple[str, ...] = DEFAULT_GRANT_TYPES
    grant_profiles: tuple[str, ...] = ()
    dpop: bool = False
    pushed_only: bool = False
    acr_values: tuple[str, ...] = ()
    id_token_algorithms: frozenset[str] = frozenset()


def metadata_document(issuer: str, registry: ResourceRegistry, features: Features) -> dict[str, Any]:
    """The metadata of this server.

    Raises:
        ValueError: the issuer cannot be one (RFC 8414 §2), found by Authlib's check of the whole document.
    """
    base = issuer.rstrip("/")
    document: dict[str, Any] = {
        # Byte for byte as configured: the clients compare it so.
        "issuer": issuer,
        "authorization_endpoint": f"{base}/authorize",
        "pushed_authorization_request_endpoint": f"{base}/par",
        "require_pushed_authorization_requests": features.pushed_only,
        "token_endpoint": f"{base}/token",
        "revocation_endpoint": f"{base}/revoke",
        "introspection_endpoint": f"{base}/introspect",
        "jwks_uri": f"{base}/jwks",
        "scopes_supported": list(registry.scopes_supported),
        "response_types_supported": list(RESPONSE_TYPES),
        "response_modes_supported": ["query"],
        "grant_types_supported": list(features.grant_types),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        # RFC 7662 §2.1: whoever asks has to authenticate.
        "introspection_endpoint_auth_methods_supported": [name for name in AUTH_METHODS if name != PUBLIC],
        "authorization_response_iss_parameter_supported": True,  # RFC 9207 §3
        REVOCATION_LIST: f"{base}/revoked",
        "protected_resources": [resource.identifier for resource in registry.resources],  # RFC 9728 §4
    }
    for endpoint in ("token", "revocation", "introspection"):
        # RFC 8414 §2: MUST be there with private_key_jwt.
        document[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] = list(SIGNING_ALGORITHMS)
    if features.client_id_metadata_documents:
        document["client_id_metadata_document_supported"] = True
    if features.dpop:
        document["dpop_signing_alg_values_supported"] = list(DPOP_ALGORITHMS)  # RFC 9449 §5.1
    if features.acr_values:
        document["acr_values_supported"] = list(features.acr_values)  # RFC 9470 §7
    if registry.identity is not None:
        document |= _openid_members(registry.identity.identifier, features.id_token_algorithms)
    if features.grant_profiles:
        document["authorization_grant_profiles_supported"] = list(features.grant_profiles)
    if features.device_authorization:
        document["device_authorization_endpoint"] = f"{base}/device_authorization"  # RFC 8628 §4
    if features.registration:
        document["registration_endpoint"] = f"{base}/register"
    AuthorizationServerMetadata(document).validate()
    return document


def _openid_members(userinfo_endpoint: str, signing_algorithms: Collection[str]) -> dict[str, Any]:
    """OpenID Connect Discovery 1.0 §3. `openid` is not among `scopes_supported`, as §3 allows: clients of MCP
    servers ask for all that is, and would ask each of their users to be recognised here.
    """
    return {
        "userinfo_endpoint": userinfo_endpoint,
        "subject_types_supported": ["public"],
        ID_TOKEN_ALGORITHMS: sorted(signing_algorithms),
        "claims_supported": list(CLAIMS),
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }


def well_known_paths(issuer: str) -> tuple[str, ...]:
    """Where clients look for it: RFC 8414 §3, and the alias with the issuer's path after and before."""
    path = urlsplit(issuer).path.rstrip("/")
    # §3.1: a terminating slash goes before the well-known path comes in.
    bare = issuer.rstrip("/")
    paths = (
        get_well_known_url(bare),
        get_well_known_url(bare, suffix=OPENID),
        f"{path}/.well-known/{OPENID}",
    )
    return tuple(dict.fromkeys(paths))
