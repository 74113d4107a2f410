"""Identity assertions of an enterprise's provider (ID-JAG): a user, a client and what it may do, RFC 7523 §3.

The rules are those of draft-ietf-oauth-identity-assertion-authz-grant and of MCP's enterprise-managed
authorization (ext-auth). Claims that would mean something this server does not do are refused, not passed
over: authorization details, an actor, a tenant, a binding to a key that nobody proves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from mcpauth.oauth.assertion import NotAccepted, require_audience, require_key, text
from mcpauth.oauth.errors import InvalidScope, InvalidTarget, UnauthorizedClient
from mcpauth.oauth.permission import Permission
from mcpauth.oauth.resource_registry import split_scope
from mcpauth_middleware.resource import canonical_resource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.resource_registry import Resource, ResourceRegistry
    from mcpauth.oauth.trusted_issuer import TrustedIssuer

PROFILE = "urn:ietf:params:oauth:grant-profile:id-jag"
"""In `authorization_grant_profiles_supported` (draft §7.2, ext-auth §6)."""

# `act`: a token that left the actor out would pass for one of the user's own client. `aud_tenant`: this
# server has no tenants, so it means another one.
NOT_UNDERSTOOD = ("authorization_details", "act", "aud_tenant")


def check_id_jag(
    claims: Mapping[str, Any], issuer: TrustedIssuer, client: Client, *, own: str, key: str | None
) -> None:
    """Whether the assertion is for this server and this client, draft §4.4.1 and §9.

    Raises:
        NotAccepted: it is not, or has a claim that is not understood here.
        UnauthorizedClient: it is the client's, and the operator does not let the client use it.
    """
    require_audience(claims, (own,))
    if claims.get("client_id") != client.client_id:
        raise NotAccepted("client_id is not the client that hands it in")
    if client.client_id not in issuer.client_ids:
        raise UnauthorizedClient("the client may not use assertions of this issuer")
    if client.is_public and not issuer.public_clients:
        # Draft §9.1: whoever gets hold of one could otherwise use it.
        raise UnauthorizedClient("only clients that authenticate may use assertions of this issuer")
    require_key(claims, key)
    for name in NOT_UNDERSTOOD:
        if name in claims:
            raise NotAccepted(f"{name} is not understood here")
    if claims.get("tenant") != issuer.tenant:
        raise NotAccepted("tenant")


def permission_of(
    claims: Mapping[str, Any],
    issuer: TrustedIssuer,
    registry: ResourceRegistry,
    *,
    resource: Sequence[str],
    scope: str | None,
) -> Permission:
    """What the token is for: of what is asked for, or else what the assertion says, all that is allowed.

    `resource` and `scope` are the parameters of the request.

    Raises:
        NotAccepted: the assertion names no resource or scope of this server (ext-auth §7.6.2).
        InvalidTarget: the request names a resource that is not the assertion's, or the issuer's to give.
        InvalidScope: it asks for more than the assertion says (RFC 7521 §4.1), or nothing of it is allowed.
    """
    target = _target(claims, registry, resource)
    if target.identifier not in issuer.resources:
        raise InvalidTarget("the resource is not one of those for which this issuer's assertions are good")
    ceiling = registry.scopes_for(target, " ".join(issuer.scopes))
    asked = _scopes(claims, registry, target, scope)
    scopes = tuple(name for name in asked if name in ceiling)
    if not scopes:
        raise InvalidScope("the scope is not one of those for which this issuer's assertions are good")
    return Permission(target.identifier, scopes)


def _target(claims: Mapping[str, Any], registry: ResourceRegistry, requested: Sequence[str]) -> Resource:
    carried = _resources(claims, registry) if "resource" in claims else None
    if requested or carried is None:
        target = registry.resolve(requested)
        if carried is not None and target not in carried:
            raise InvalidTarget("the resource is not one of the assertion's")
        return target
    if not carried:
        raise NotAccepted("resource is not one of this server's")
    return carried[0]


def _resources(claims: Mapping[str, Any], registry: ResourceRegistry) -> list[Resource]:
    """Those of the claim that are this server's; draft §3.1: one URI or several."""
    value = claims["resource"]
    named = cast("list[object]", value) if isinstance(value, list) else [value]
    known = {each.identifier: each for each in registry.resources}
    return [known[uri] for uri in map(_canonical, named) if uri in known]


def _canonical(uri: object) -> str:
    try:
        return canonical_resource(uri if isinstance(uri, str) else "")
    except ValueError:
        raise NotAccepted("resource is no resource identifier") from None


def _scopes(
    claims: Mapping[str, Any], registry: ResourceRegistry, target: Resource, requested: str | None
) -> tuple[str, ...]:
    """What is asked for, as far as the assertion goes; an assertion without `scope` sets no bounds to it."""
    if "scope" not in claims:
        return registry.scopes_for(target, requested)
    carried = _carried(claims, registry, target)
    if not split_scope(requested or ""):
        return carried
    if not set(split_scope(requested or "")) <= {*carried, *text(claims, "scope").split(" ")}:
        raise InvalidScope("the scope is more than the assertion's")
    return registry.scopes_for(target, requested)


def _carried(claims: Mapping[str, Any], registry: ResourceRegistry, target: Resource) -> tuple[str, ...]:
    try:
        if split_scope(text(claims, "scope")):
            return registry.scopes_for(target, text(claims, "scope"))
    except InvalidScope:
        pass
    raise NotAccepted("scope names nothing that the resource knows")
