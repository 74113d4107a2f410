"""The protected resources of this server and their scopes, RFC 8707 and RFC 6749 §3.3.

One token is for one resource: it is named at /authorize (or is the default), and its scopes are the only ones
that the token can have. A user can allow a client several resources in one go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from mcpauth.oauth.errors import InvalidScope, InvalidTarget
from mcpauth.oauth.key_pair import ALGORITHMS
from mcpauth_middleware.resource import canonical_resource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AccessTokenFormat: TypeAlias = Literal["jwt", "opaque"]
ACCESS_TOKEN_FORMATS: tuple[AccessTokenFormat, ...] = get_args(AccessTokenFormat)

SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749 §3.3


@dataclass(frozen=True, slots=True)
class Scope:
    """One thing a client may be allowed.

    `implies` names scopes of the same resource; `default` scopes are granted when a request names none.
    """

    name: str
    description: str
    implies: tuple[str, ...] = ()
    default: bool = True


@dataclass(frozen=True, slots=True)
class Resource:
    """A protected MCP server. `identifier` is its URL; `name` is for people.

    An opaque access token says nothing to whoever reads it: its resource server asks about it (RFC 7662).
    `signing_algorithm` is that of its tokens, where it is not the server's.
    """

    identifier: str
    name: str
    scopes: tuple[Scope, ...]
    access_token_format: AccessTokenFormat = "jwt"  # noqa: S105 - a name
    signing_algorithm: str | None = None

    @property
    def has_opaque_tokens(self) -> bool:
        """Whether only this server can tell what its access tokens are worth."""
        return self.access_token_format == "opaque"  # noqa: S105 - a name


def split_scope(scope: str) -> tuple[str, ...]:
    """The scope names of a `scope` parameter, each once, in order.

    Raises:
        InvalidScope: a character that RFC 6749 §3.3 does not allow.
    """
    names = tuple(dict.fromkeys(name for name in scope.split(" ") if name))
    if not all(SCOPE_TOKEN.fullmatch(name) for name in names):
        raise InvalidScope("the scope has a character outside RFC 6749 section 3.3")
    return names


class ResourceRegistry:
    """Which resources there are, and which scopes each knows.

    `default` is the resource of a request that names none: older clients and the conformance suite send no
    `resource`. None with a single resource makes that one the default. `identity` is the one at which this
    server tells who its users are; it is not a protected resource of others, and never the default.

    Raises:
        ValueError: no resources, one declared twice, an unknown default, a malformed scope, an `implies` that
            is unknown or runs in a circle, an unknown format or algorithm, or one for tokens that are opaque.
            The text names the mend.
    """

    def __init__(
        self,
        resources: Sequence[Resource],
        *,
        default: str | None = None,
        identity: Resource | None = None,
    ) -> None:
        if not resources:
            raise ValueError("resources: declare at least one")
        self.resources = tuple(
            replace(resource, identifier=canonical_resource(resource.identifier)) for resource in resources
        )
        self.identity = identity
        every = (*self.resources, *([identity] if identity is not None else []))
        self._by_identifier = {resource.identifier: resource for resource in every}
        if len(self._by_identifier) < len(every):
            raise ValueError("resources: two have the same identifier; declare each once")
        self._implied = {
            resource.identifier: _implied_scopes(resource.identifier, resource.scopes) for resource in every
        }
        for resource in every:
            _check_tokens(resource)
        self.signing_algorithms: Mapping[str, str] = {
            resource.identifier: resource.signing_algorithm
            for resource in self.resources
            if resource.signing_algorithm is not None
        }
        """How the tokens for some resources are signed, where it is not as usual."""
        self._default = self._default_resource(default)
        self.scopes_supported = tuple(
            dict.fromkeys(scope.name for resource in self.resources for scope in resource.scopes)
        )

    @property
    def default(self) -> Resource | None:
        """The resource of a request that names none, if there is one."""
        return self._default

    def _default_resource(self, default: str | None) -> Resource | None:
        if default is None:
            return self.resources[0] if len(self.resources) == 1 else None
        resource = self._by_identifier.get(canonical_resource(default))
        if resource not in self.resources:
            raise ValueError(f"default resource: {default} is not declared; declare it or name another")
        return resource

    def resolve(self, requested: Sequence[str]) -> Resource:
        """The one resource that the `resource` parameters of a request name.

        Raises:
            InvalidTarget: as `resolve_all`, or several different ones.
        """
        resource, *others = self.resolve_all(requested)
        if others:
            # One audience a token: a resource server could otherwise use it at the other one.
            raise InvalidTarget("ask for one resource at a time")
        return resource

    def resolve_all(self, requested: Sequence[str]) -> tuple[Resource, ...]:
        """The resources that the `resource` parameters of a request name, each once, in order.

        Raises:
            InvalidTarget: malformed (RFC 8707 §2: absolute, no fragment), unknown, or none where there is no
                default.
        """
        if not requested:
            if self._default is None:
                raise InvalidTarget("name the resource: this server has no default one")
            return (self._default,)
        # What is an identifier as it stands is in its canonical form already.
        identifiers = dict.fromkeys(
            uri if uri in self._by_identifier else canonical_target(uri) for uri in requested
        )
        if not identifiers.keys() <= self._by_identifier.keys():
            raise InvalidTarget("the resource is not known here")
        return tuple(self._by_identifier[identifier] for identifier in identifiers)

    def scopes_for(self, resource: Resource, requested: str | None) -> tuple[str, ...]:
        """The scopes that a request asks for and those they imply, in the order of declaration.

        None or "" gives the default scopes. Unknown names are dropped (RFC 6749 §3.3 lets the server do so,
        and the token response says what is left): clients ask for all that any document once told them.

        Raises:
            InvalidScope: malformed, or nothing is left.
        """
        names = set(split_scope(requested or ""))
        if not names:
            names = {scope.name for scope in resource.scopes if scope.default}
        implied = self._implied[resource.identifier]
        wanted = {each for name in names for each in implied.get(name, ())}
        if not wanted:
            raise InvalidScope("the resource knows none of the scopes")
        return tuple(scope.name for scope in resource.scopes if scope.name in wanted)


def canonical_target(uri: str) -> str:
    """The canonical form of a `resource` parameter.

    Raises:
        InvalidTarget: it is not an absolute http(s) URI without a fragment.
    """
    try:
        return canonical_resource(uri)
    except ValueError as error:
        raise InvalidTarget("the resource is not an absolute URI without a fragment") from error


def _check_tokens(resource: Resource) -> None:
    if resource.access_token_format not in ACCESS_TOKEN_FORMATS:
        raise ValueError(
            f"access_token_format of {resource.identifier}: must be one of"
            f" {', '.join(ACCESS_TOKEN_FORMATS)} (got {resource.access_token_format!r})"
        )
    if resource.signing_algorithm is None:
        return
    if resource.signing_algorithm not in ALGORITHMS:
        raise ValueError(
            f"signing_algorithm of {resource.identifier}: must be one of"
            f" {', '.join(ALGORITHMS)} (got {resource.signing_algorithm!r})"
        )
    if resource.has_opaque_tokens:
        raise ValueError(
            f"signing_algorithm of {resource.identifier}: its tokens are opaque, which nobody signs;"
            " leave it out"
        )


def _implied_scopes(identifier: str, scopes: Sequence[Scope]) -> Mapping[str, frozenset[str]]:
    """For each scope itself and all it implies, however far."""
    declared = {scope.name: scope for scope in scopes}
    if len(declared) < len(scopes):
        raise ValueError(f"scopes of {identifier}: one is declared twice; declare each once")
    for scope in scopes:
        if not SCOPE_TOKEN.fullmatch(scope.name):
            raise ValueError(
                f"scope {scope.name!r} of {identifier}: use visible ASCII without quote and backslash"
            )
        for implied in scope.implies:
            if implied not in declared:
                raise ValueError(
                    f"scope {scope.name} of {identifier} implies {implied}, which is not declared; declare it"
                )
    return {name: _closure(identifier, declared, name, ()) for name in declared}


def _closure(
    identifier: str, declared: Mapping[str, Scope], name: str, path: tuple[str, ...]
) -> frozenset[str]:
    if name in path:
        circle = " -> ".join((*path, name))
        raise ValueError(f"scopes of {identifier} imply each other in a circle ({circle}); break it")
    below = (_closure(identifier, declared, each, (*path, name)) for each in declared[name].implies)
    return frozenset({name}).union(*below)
