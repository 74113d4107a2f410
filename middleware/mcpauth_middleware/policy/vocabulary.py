"""The names that conditions may use, and the fact behind each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mcpauth_middleware.policy.errors import Missing

if TYPE_CHECKING:
    from mcpauth_middleware.policy.facts import Facts
    from mcpauth_middleware.policy.values import Kind

Evaluate = Callable[["Facts"], object]


def _verified_host(facts: Facts) -> str:
    host = facts.client_host
    if host is None:
        raise Missing("the client has no verified host")
    return host


FACTS: Final[dict[str, Evaluate]] = {
    "principal.sub": lambda facts: facts.principal.subject,
    "principal.iss": lambda facts: facts.principal.issuer,
    "principal.client_id": lambda facts: facts.client_id,
    "principal.tenant": lambda facts: facts.tenant,
    "principal.groups": lambda facts: facts.groups,
    "principal.scopes": lambda facts: tuple(sorted(facts.held)),
    "principal.claims": lambda facts: facts.principal.claims,
    "client.id": lambda facts: facts.client_id,
    "client.host": lambda facts: _verified_host(facts),
    "client.name": lambda facts: facts.client_name,
    "client.version": lambda facts: facts.client_version,
    "client.verified": lambda facts: facts.client_host is not None,
    "tool.name": lambda facts: facts.tool_name,
    "tool.tags": lambda facts: facts.tags,
    "tool.annotations": lambda facts: facts.annotations,
    "args": lambda facts: facts.arguments,
    "resource.uri": lambda facts: facts.uri,
    "env.time": lambda facts: facts.now,
    "env.weekday": lambda facts: facts.weekday,
    "env.ip": lambda facts: facts.address,
    "env.protocol": lambda facts: facts.protocol,
    "method": lambda facts: facts.method,
}
"""Every fact a condition can ask for. `args`, `principal.claims` and `tool.annotations` hold members."""

_LISTS: Final = ("principal.groups", "principal.scopes", "tool.tags")
_OBJECTS: Final = ("principal.claims", "tool.annotations", "args")
KINDS: Final[dict[str, Kind]] = {
    **dict.fromkeys(FACTS, "text"),
    **dict.fromkeys(_LISTS, "list"),
    **dict.fromkeys(_OBJECTS, "object"),
    "client.verified": "boolean",
    "env.time": "number",
}
"""What kind of value each fact is, where it is known at all. Lists are of texts."""

ROOTS: Final = frozenset(name.partition(".")[0] for name in FACTS)
