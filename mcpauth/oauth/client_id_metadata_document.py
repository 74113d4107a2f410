"""The Client ID Metadata Document (draft-ietf-oauth-client-id-metadata-document, with what MCP adds): what a
client says about itself at the URL that is its client_id.

Members, grant types and redirect URIs that are of no use here are left out, not refused: the documents of
real clients are written for many servers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from mcpauth.oauth.client import Client
from mcpauth.oauth.client_metadata import (
    BEGINNINGS,
    DEFAULT_GRANT_TYPES,
    GRANT_TYPES,
    PRIVATE_KEY_JWT,
    PUBLIC,
    SWITCHES,
    WEB_URL,
    ClientMetadata,
    check_client_metadata,
)
from mcpauth.oauth.errors import InvalidClient, InvalidClientMetadata, InvalidRedirectUri
from mcpauth.oauth.https_url import HttpsUrl, https_url
from mcpauth.oauth.redirect_uri import PRIVATE_USE_SCHEMES, check_redirect_uri

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SOURCE: Literal["client_id_metadata_document"] = "client_id_metadata_document"
MAX_BYTES = 5 * 1024  # §6.6 of the draft recommends 5 kB
# There is nobody to share a secret with (§4.1). The first one that a document offers is used, and the other
# one is accepted from it as well.
AUTH_METHODS = (PUBLIC, PRIVATE_KEY_JWT)
TAKEN = ("client_name", "response_types", "token_endpoint_auth_signing_alg", "jwks", "jwks_uri", *SWITCHES)


def document_url(client_id: str) -> HttpsUrl:
    """The URL that a client_id is.

    Raises:
        InvalidClient: it cannot be one (§3 of the draft): no path, or a query, among others.
    """
    try:
        url = https_url(client_id)
    except ValueError:
        raise InvalidClient("the client_id is not the URL of a client ID metadata document") from None
    # A query is allowed by the draft and discouraged: each one would be another client on the same page.
    if not url.path or url.query is not None:
        raise InvalidClient("the client_id is a URL without a path, or with a query")
    return url


def read_document(
    client_id: str,
    document: object,
    *,
    scopes: Collection[str] | None = None,
    private_use_schemes: Collection[str] = PRIVATE_USE_SCHEMES,
    grant_types: Collection[str] = GRANT_TYPES,
    now: float,
) -> Client:
    """The client that a document describes.

    Raises:
        InvalidClient: it is not a JSON object, or the document of another client_id.
        InvalidClientMetadata: it has a secret, no name, no redirect URI that can be used, or anything else by
            which it cannot be a client.
    """
    if not isinstance(document, dict):
        raise InvalidClient("the client ID metadata document is not a JSON object")
    members = cast("dict[str, Any]", document)
    # RFC 3986 §6.2.1: simple string comparison. A port that is the default, a letter's case: another client.
    if members.get("client_id") != client_id:
        raise InvalidClient("the client ID metadata document is another client's")
    if "client_secret" in members or "client_secret_expires_at" in members:
        raise InvalidClientMetadata("a client ID metadata document cannot have a secret")
    methods = _auth_methods(members)
    checked = _checked(members, methods[0], scopes, private_use_schemes, grant_types)
    return Client(
        client_id=client_id,
        client_name=checked.client_name,
        redirect_uris=checked.redirect_uris,
        grant_types=checked.grant_types,
        token_endpoint_auth_method=methods[0],
        client_secret_digest=None,
        scope=checked.scope,
        source=SOURCE,
        client_uri=checked.client_uri,
        created_at=int(now),
        metadata={**checked.rest, "token_endpoint_auth_methods_supported": list(methods)},
    )


def _checked(
    members: Mapping[str, Any],
    method: str,
    scopes: Collection[str] | None,
    private_use_schemes: Collection[str],
    grant_types: Collection[str],
) -> ClientMetadata:
    taken = {name: members[name] for name in TAKEN if name in members}
    taken["token_endpoint_auth_method"] = method
    taken["redirect_uris"] = _redirect_uris(members, private_use_schemes)
    taken["grant_types"] = _grant_types(members, grant_types)
    if isinstance(members.get("scope"), str):
        taken["scope"] = members["scope"]
    # Only shown: what is no URL is left out.
    client_uri = members.get("client_uri")
    if isinstance(client_uri, str) and WEB_URL.fullmatch(client_uri):
        taken["client_uri"] = client_uri
    try:
        checked = check_client_metadata(
            taken, scopes=scopes, private_use_schemes=private_use_schemes, grant_types=grant_types
        )
    except InvalidRedirectUri as error:
        raise InvalidClientMetadata(error.description) from None
    if not checked.client_name:
        raise InvalidClientMetadata("client_name is missing")
    return checked


def _auth_methods(members: Mapping[str, Any]) -> tuple[str, ...]:
    """What the client may authenticate with: the one it names, or those that it offers, simplest first."""
    named = members.get("token_endpoint_auth_method")
    if named is not None:
        if named not in AUTH_METHODS:
            raise InvalidClientMetadata("token_endpoint_auth_method is neither none nor private_key_jwt")
        return (named,)
    # OpenID Connect RP Metadata Choices 1.0 §3: how ChatGPT writes it.
    offered = members.get("token_endpoint_auth_methods_supported", [PUBLIC])
    methods = tuple(name for name in AUTH_METHODS if isinstance(offered, list) and name in offered)
    if not methods:
        raise InvalidClientMetadata("no authentication method that needs no shared secret")
    has_keys = "jwks" in members or "jwks_uri" in members
    return methods if has_keys or PUBLIC not in methods else (PUBLIC,)


def _redirect_uris(members: Mapping[str, Any], private_use_schemes: Collection[str]) -> list[str]:
    listed = members.get("redirect_uris")
    if not isinstance(listed, list) or not all(isinstance(uri, str) for uri in cast("list[object]", listed)):
        raise InvalidClientMetadata("redirect_uris is not a list of texts")
    usable: list[str] = []
    for uri in cast("list[str]", listed):
        try:
            check_redirect_uri(uri, private_use_schemes=private_use_schemes)
        except InvalidRedirectUri:
            continue  # for another server; a request that names it is refused
        usable.append(uri)
    return usable


def _grant_types(members: Mapping[str, Any], offered: Collection[str]) -> list[str]:
    asked = members.get("grant_types", list(DEFAULT_GRANT_TYPES))
    if not isinstance(asked, list) or not all(isinstance(name, str) for name in cast("list[object]", asked)):
        raise InvalidClientMetadata("grant_types is not a list of texts")
    # Nothing that a client could do in its own name: nobody here has agreed to it.
    known = [name for name in offered if name in asked]
    if not BEGINNINGS & set(known):
        raise InvalidClientMetadata("grant_types has none here by which a user can allow the client anything")
    return known
