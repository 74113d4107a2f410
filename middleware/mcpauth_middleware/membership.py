"""Which groups and tenant a token puts its subject in, by the claims that a policy names for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth_middleware.message.target import Target
from mcpauth_middleware.policy.errors import Unevaluable
from mcpauth_middleware.policy.facts import NOTHING_KNOWN, Facts

if TYPE_CHECKING:
    from mcpauth_middleware.policy import Policy
    from mcpauth_middleware.principal import Principal


def membership(principal: Principal, policy: Policy) -> Facts:
    """Facts of which `groups` and `tenant` can be asked; both may raise `Unevaluable`."""
    return Facts(Target("method", "-"), principal, frozenset(), NOTHING_KNOWN, policy.claim_names, None)


def tenant_of(principal: Principal, policy: Policy) -> str | None:
    """The tenant, None where the token does not say, or says it oddly."""
    try:
        return membership(principal, policy).tenant
    except Unevaluable:
        return None
