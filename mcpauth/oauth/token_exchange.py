"""Token exchange, RFC 8693: which resource server may get which scopes at which other one, and who acts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mcpauth.oauth.errors import InvalidRequest, InvalidScope, InvalidTarget
from mcpauth_middleware.resource import canonical_resource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcpauth.oauth.resource_registry import Resource, ResourceRegistry

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name, RFC 8693 §3

# Each is one more server that has the user's authority; a longer chain is more likely a loop.
MAX_ACTORS = 5


@dataclass(frozen=True, slots=True)
class ExchangeRule:
    """The server of `source`, called with a user's token, may get one for `target` with these scopes."""

    source: str
    target: str
    scopes: tuple[str, ...]


class ExchangeRules:
    """What the operator allows; nothing without a rule.

    Raises:
        ValueError: a rule names what the registry does not know, or allows nothing. The text names the mend.
    """

    def __init__(self, rules: Sequence[ExchangeRule], registry: ResourceRegistry) -> None:
        self._registry = registry
        self._rules = {
            (rule.source, rule.target): rule for rule in (_checked(rule, registry) for rule in rules)
        }
        if len(self._rules) < len(rules):
            raise ValueError("two have the same from and to; write one, with all its scopes")

    def __bool__(self) -> bool:
        """Whether any exchange is allowed."""
        return bool(self._rules)

    def target(self, source: str, requested: Sequence[str]) -> Resource:
        """The resource that is asked for, where the server of `source` may act.

        Raises:
            InvalidTarget: none is named, it is unknown, or no rule leads there (RFC 8693 §2.2.2).
        """
        if not requested:
            raise InvalidTarget("name the resource that the new token is for")
        resource = self._registry.resolve(requested)
        if (source, resource.identifier) not in self._rules:
            raise InvalidTarget("tokens for this resource are not exchanged for it")
        return resource

    def scopes(self, source: str, target: Resource, requested: str | None) -> tuple[str, ...]:
        """The scopes that are asked for; without `scope`, all that the rule allows.

        Raises:
            InvalidScope: malformed, or one that the rule does not allow.
        """
        rule = self._rules[source, target.identifier]
        allowed = self._registry.scopes_for(target, " ".join(rule.scopes))
        if requested is None:
            return allowed
        asked = self._registry.scopes_for(target, requested)
        if not set(asked) <= set(allowed):
            raise InvalidScope("the scope is more than may be exchanged for")
        return asked


def extended_chain(claims: Mapping[str, Any], actor: str) -> dict[str, Any]:
    """The `act` claim of a token that `actor` gets for one with these claims (RFC 8693 §4.1).

    The latest actor comes first. The chain begins with the client that the user allowed, so that it stays
    visible when the `client_id` becomes the actor's.

    Raises:
        InvalidRequest: too many have acted already.
    """
    before: Mapping[str, Any] = claims.get("act") or {"sub": claims["client_id"]}
    if len(actors(before)) >= MAX_ACTORS:
        raise InvalidRequest("the subject_token has been exchanged too often")
    return {"sub": actor, "act": before}


def actors(act: Mapping[str, Any]) -> tuple[str, ...]:
    """Who acts, the latest first."""
    found: list[str] = []
    link: Mapping[str, Any] | None = act
    while link is not None:
        found.append(link["sub"])
        link = link.get("act")
    return tuple(found)


def _checked(rule: ExchangeRule, registry: ResourceRegistry) -> ExchangeRule:
    known = {resource.identifier: resource for resource in registry.resources}
    checked = replace(rule, source=canonical_resource(rule.source), target=canonical_resource(rule.target))
    for name, identifier in (("from", checked.source), ("to", checked.target)):
        if identifier not in known:
            raise ValueError(f"{name}: {identifier} is not declared; declare it as a resource")
    if checked.source == checked.target:
        raise ValueError("from and to are the same resource; a token for it is there already")
    if not checked.scopes:
        raise ValueError(f"scopes: name what may be had at {checked.target}")
    declared = {scope.name for scope in known[checked.target].scopes}
    for name in checked.scopes:
        if name not in declared:
            raise ValueError(f"scopes: {checked.target} has no scope {name}; declare it or leave it out")
    return checked
