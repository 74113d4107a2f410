"""What a machine gets in its own name, RFC 6749 §4.4 and RFC 8707: never more than an operator gave it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.oauth.errors import InvalidScope, InvalidTarget
from mcpauth.oauth.permission import Permission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth.oauth.resource_registry import ResourceRegistry


def permission_in_own_name(
    registry: ResourceRegistry,
    *,
    resources: Sequence[str],
    scopes: Sequence[str],
    resource: Sequence[str],
    scope: str | None,
) -> Permission:
    """What is asked for; without `scope` all of it that the resource knows, whatever is default.

    `resources` and `scopes` are the most that the machine can have, `resource` and `scope` the parameters of
    its request.

    Raises:
        InvalidTarget: the resource is unknown, not one of the machine's, or has to be named.
        InvalidScope: nothing of what is asked for is the machine's.
    """
    # The default resource is for users' clients. A machine that has one resource means that one.
    if not resource and len(resources) != 1:
        raise InvalidTarget("name the resource: the client may use several")
    target = registry.resolve(resource or resources)
    if target.identifier not in resources:
        raise InvalidTarget("the resource is not one of the client's")
    ceiling = registry.scopes_for(target, " ".join(scopes))
    if scope is None:
        return Permission(target.identifier, ceiling)
    asked = tuple(name for name in registry.scopes_for(target, scope) if name in ceiling)
    if not asked:
        raise InvalidScope("the scope is not one of the client's")
    return Permission(target.identifier, asked)
