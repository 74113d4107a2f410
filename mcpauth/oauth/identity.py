"""Who the user is, OpenID Connect Core 1.0 §5: asked for like a resource, with scopes of its own.

An access token has one audience, so the userinfo endpoint is a resource too: a token for an MCP server is
worth nothing there, and what that server could learn about its user stays between the user and the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.oauth.permission import Permission
from mcpauth.oauth.resource_registry import Resource, ResourceRegistry, Scope, canonical_target, split_scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.form import Form

OPENID = "openid"
PROFILE = "profile"
CLAIMS = ("sub", "preferred_username")

# §5.4 and §11: clients list them beside those of a resource, which does not know them.
_OF_THE_IDENTITY = frozenset({OPENID, PROFILE, "email", "address", "phone", "offline_access"})


def identity_resource(issuer: str) -> Resource:
    """The userinfo endpoint as a resource."""
    return Resource(
        f"{issuer}/userinfo",
        "Who you are",
        (
            Scope(OPENID, "Recognise you", default=False),
            Scope(PROFILE, "See your user name", implies=(OPENID,), default=False),
        ),
    )


def asked_permissions(form: Form, client: Client, registry: ResourceRegistry) -> tuple[Permission, ...]:
    """What a request asks for with `resource` and `scope`.

    RFC 8707 §2: the scopes are asked for at each of the resources. With `openid` among them, the identity is
    asked for as well, or alone, where nothing else is named.

    Raises:
        InvalidTarget: a resource is malformed or unknown, or has to be named.
        InvalidScope: malformed, or a resource knows none of it.
    """
    named, names = form.all("resource"), split_scope(form.optional("scope") or "")
    identity = _identity(names, registry)
    if identity is None:
        return tuple(_at(resource, names, client, registry) for resource in registry.resolve_all(named))
    targets = [uri for uri in named if canonical_target(uri) != identity.resource]
    if not targets and (named or not _without_identity(names, registry.default)):
        return (identity,)
    resources = registry.resolve_all(targets)
    at = (_at(each, _without_identity(names, each), client, registry) for each in resources)
    return (*at, identity)


def _identity(names: Sequence[str], registry: ResourceRegistry) -> Permission | None:
    if registry.identity is None or OPENID not in names:
        return None
    scopes = registry.scopes_for(registry.identity, " ".join(names))
    return Permission(registry.identity.identifier, scopes)


def _without_identity(names: Sequence[str], resource: Resource | None) -> tuple[str, ...]:
    """What is asked for beside the identity. A resource may have an `email` of its own."""
    known = {scope.name for scope in resource.scopes} if resource is not None else set[str]()
    return tuple(name for name in names if name in known or name not in _OF_THE_IDENTITY)


def _at(resource: Resource, names: Sequence[str], client: Client, registry: ResourceRegistry) -> Permission:
    """What is asked for at a resource; without a scope it is what the client registered, or the default."""
    scope = " ".join(names) or _registered_scope(client, resource)
    return Permission(resource.identifier, registry.scopes_for(resource, scope))


def _registered_scope(client: Client, resource: Resource) -> str | None:
    if client.scope is None:
        return None
    known = {scope.name for scope in resource.scopes}
    return " ".join(name for name in client.scope.split(" ") if name in known)
