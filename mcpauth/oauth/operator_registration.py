"""Clients that an operator registers, RFC 6749 §2.2: applications of users, machines and resource servers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mcpauth.oauth.client_metadata import (
    DEVICE_CODE,
    PUBLIC,
    ClientMetadata,
    check_client_metadata,
    visible,
)
from mcpauth.oauth.operator_terms import OperatorTerms
from mcpauth.oauth.token_exchange import GRANT_TYPE as TOKEN_EXCHANGE
from mcpauth.oauth.trusted_issuer import GRANT_TYPE as JWT_BEARER
from mcpauth_middleware.resource import canonical_resource

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mcpauth.oauth.resource_registry import Resource, ResourceRegistry

CLIENT_CREDENTIALS = "client_credentials"


def operator_terms(
    registry: ResourceRegistry,
    *,
    client_credentials: bool = False,
    scopes: Sequence[str] = (),
    resources: Sequence[str] = (),
    serves: Sequence[str] = (),
) -> OperatorTerms:
    """The terms, checked against what the server knows.

    `resources` and `scopes` are the most that the client can get in its own name; without `resources`, of the
    default resource. `serves` are the resources whose server it is.

    Raises:
        ValueError: they name what the server does not know, or do not go together. The text names the mend.
    """
    known = {resource.identifier: resource for resource in registry.resources}
    served = tuple(dict.fromkeys(_known(uri, known, "resource-server") for uri in serves))
    if not client_credentials:
        if scopes or resources:
            raise ValueError("scope, resource: only with the grant type client_credentials")
        return OperatorTerms(serves=served)
    if not scopes:
        raise ValueError("scope: name the most that the client may have in its own name")
    named = tuple(dict.fromkeys(_known(uri, known, "resource") for uri in resources))
    terms = OperatorTerms(serves=served, resources=named or (_default(registry),), scopes=tuple(scopes))
    _check_scopes(terms, known)
    return terms


def operator_metadata(
    terms: OperatorTerms,
    *,
    client_name: str,
    redirect_uris: Sequence[str],
    confidential: bool,
    private_use_schemes: Collection[str],
    assertions: bool = False,
    device_code: bool = False,
) -> ClientMetadata:
    """The metadata of a client on these terms. With redirect URIs, or as a device without a browser
    (`device_code`), users can let it act for them, too.

    `assertions` is for one that hands in those of an identity provider.

    Raises:
        InvalidRedirectUri, InvalidClientMetadata: what no client can be registered with.
        ValueError: the client could do nothing.
    """
    of_its_own = (
        *([CLIENT_CREDENTIALS] if terms.scopes else []),
        *([TOKEN_EXCHANGE] if terms.serves else []),
        *([JWT_BEARER] if assertions else []),
    )
    method = "client_secret_basic" if confidential or of_its_own else PUBLIC
    if not redirect_uris and not device_code:
        if not of_its_own:
            raise ValueError("redirect-uri: name one; only machines, resource servers and devices do without")
        return ClientMetadata(
            redirect_uris=(),
            client_name=visible(client_name),
            grant_types=of_its_own,
            token_endpoint_auth_method=method,
            scope=None,
            client_uri=None,
            rest={},
        )
    metadata = {
        "client_name": client_name,
        "redirect_uris": list(redirect_uris),
        "grant_types": [
            *(["authorization_code"] if redirect_uris else []),
            *([DEVICE_CODE] if device_code else []),
            "refresh_token",
        ],
        "token_endpoint_auth_method": method,
    }
    checked = check_client_metadata(metadata, private_use_schemes=private_use_schemes)
    return replace(checked, grant_types=(*checked.grant_types, *of_its_own))


def _known(uri: str, known: Collection[str], option: str) -> str:
    try:
        identifier = canonical_resource(uri)
    except ValueError:
        identifier = uri
    if identifier not in known:
        raise ValueError(f"{option}: {uri} is not declared; known are {', '.join(known)}")
    return identifier


def _default(registry: ResourceRegistry) -> str:
    if registry.default is None:
        raise ValueError("resource: name the resources; there is no default one")
    return registry.default.identifier


def _check_scopes(terms: OperatorTerms, known: dict[str, Resource]) -> None:
    """Each scope is one of some resource, and each resource has one of the scopes."""
    of_resource = {uri: {scope.name for scope in known[uri].scopes} for uri in terms.resources}
    for name in terms.scopes:
        if not any(name in names for names in of_resource.values()):
            raise ValueError(f"scope: {name} is not one of {', '.join(terms.resources)}")
    for uri, names in of_resource.items():
        if not names & set(terms.scopes):
            raise ValueError(f"resource: {uri} has none of the scopes; name one of its own or leave it out")
