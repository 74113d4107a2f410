"""The check at the start that the metadata (RFC 8414) says what the server does, and nothing else.

Clients believe the document: an endpoint that is listed and not there, or a grant type that is listed and
refused, breaks them in ways that nobody sees here. So the server does not start with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.routing import Match

from mcpauth.endpoints.metadata import well_known_paths
from mcpauth.endpoints.revocation_list import METADATA_MEMBER as REVOCATION_LIST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from starlette.routing import BaseRoute

# How the endpoint of a member is asked; all others are POST.
_GET = frozenset({"authorization_endpoint", "userinfo_endpoint", "jwks_uri", REVOCATION_LIST})
# A grant type that begins at an endpoint of its own.
_BEGINS_AT = {
    "authorization_code": "authorization_endpoint",
    "urn:ietf:params:oauth:grant-type:device_code": "device_authorization_endpoint",
}


class MetadataContradiction(Exception):
    """The metadata says what the server does not do: a mistake in the program, not in the settings."""


def check_metadata(
    document: Mapping[str, Any],
    routes: Sequence[BaseRoute],
    *,
    issuer: str,
    grant_types: Collection[str],
    auth_methods: Collection[str],
) -> None:
    """Hold the document against what is there: routes, grant types, ways of client authentication.

    Raises:
        MetadataContradiction: with all that does not agree.
    """
    problems = [
        *_of_the_issuer(document, routes, issuer),
        *_of_endpoints(document, routes, issuer),
        *_of_grant_types(document, grant_types),
        *_of_auth_methods(document, auth_methods),
    ]
    if problems:
        raise MetadataContradiction(f"the metadata of {issuer} is wrong: {'; '.join(problems)}")


def _of_the_issuer(document: Mapping[str, Any], routes: Sequence[BaseRoute], issuer: str) -> Iterator[str]:
    # RFC 8414 §3.3: clients compare the two byte for byte.
    if document.get("issuer") != issuer:
        yield f"issuer is {document.get('issuer')!r}"
    for path in well_known_paths(issuer):
        if not _answers(routes, "GET", path):
            yield f"nothing answers GET {path}"


def _of_endpoints(document: Mapping[str, Any], routes: Sequence[BaseRoute], issuer: str) -> Iterator[str]:
    for member, url in document.items():
        below = isinstance(url, str) and url.startswith(f"{issuer.rstrip('/')}/")
        if member.endswith("_endpoint") and not below:
            yield f"{member} {url!r} is not below the issuer"
        if below and member.endswith(("_endpoint", "_uri")):
            method, path = "GET" if member in _GET else "POST", urlsplit(url).path
            if not _answers(routes, method, path):
                yield f"{member} is listed, and nothing answers {method} {path}"


def _of_grant_types(document: Mapping[str, Any], grant_types: Collection[str]) -> Iterator[str]:
    listed: Sequence[str] = document.get("grant_types_supported", ())
    for name in sorted({*listed} ^ {*grant_types}):
        yield f"grant type {name} is {'listed and off' if name in listed else 'on and not listed'}"
    for name, endpoint in _BEGINS_AT.items():
        if (name in listed) != (endpoint in document):
            yield f"of grant type {name} and {endpoint} only one is listed"


def _of_auth_methods(document: Mapping[str, Any], auth_methods: Collection[str]) -> Iterator[str]:
    for member, listed in document.items():
        if member.endswith("_endpoint_auth_methods_supported"):
            yield from (f"{member}: {name} is not accepted" for name in listed if name not in auth_methods)
    listed = document.get("token_endpoint_auth_methods_supported", ())
    yield from (
        f"authentication by {name} is on and not listed" for name in auth_methods if name not in listed
    )


def _answers(routes: Sequence[BaseRoute], method: str, path: str) -> bool:
    scope = {"type": "http", "method": method, "path": path, "root_path": ""}
    return any(route.matches(scope)[0] is Match.FULL for route in routes)
