"""Rules written beside the tool, and the name of what a decorator stands on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mcpauth_middleware.policy.errors import PolicyError
from mcpauth_middleware.policy.rule_table import CONDITIONS, check_keys, rule_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from mcpauth_middleware.policy.rule_table import Conditions
    from mcpauth_middleware.policy.rules import Rule

F = TypeVar("F", bound=Any)

# A parameter of a resource template: `{name}`, and in FastMCP `{name*}` for several segments.
_PARAMETER: Final = re.compile(r"\{[A-Za-z0-9_]+(\*?)\}")
MARK: Final = "__mcpauth_requires__"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What `requires` says, wherever it stands."""

    scopes: tuple[str, ...]
    conditions: Mapping[str, object]

    def rule(self, rule_id: str, key: str, pattern: str) -> Rule:
        """The rule that allows what matches the pattern; `key` is "tools", "prompts" or "resources".

        Raises:
            PolicyError: a scope or a condition is wrong.
        """
        check_keys(self.conditions, CONDITIONS, "requires")
        return rule_of(rule_id, "allow", {key: (pattern,)}, self.scopes, self.conditions)


def requires(*scopes: str, **conditions: Unpack[Conditions]) -> Callable[[F], F]:
    """Mark the function below: whoever holds all of `scopes`, and fits the conditions, may use it.

    The mark does nothing by itself: `Policy.from_server` collects the marks of everything that a server
    has registered, under the names it is registered by. Write it below or above the decorator of the
    framework.

    Raises:
        PolicyError: a scope or a condition is wrong, or the function is marked already.
    """
    requirement = Requirement(scopes, dict(conditions))
    requirement.rule("requires", "tools", "x")  # so that what is wrong is told here

    def mark(decorated: F) -> F:
        function = getattr(decorated, "fn", decorated)
        if MARK in getattr(function, "__dict__", {}):
            raise PolicyError("requires: stands here already; write all scopes into one")
        try:
            setattr(function, MARK, requirement)
        except AttributeError:
            raise PolicyError(
                "requires: this cannot be marked; write it below the other decorators"
            ) from None
        return decorated

    return mark


def requirement_of(function: object) -> Requirement | None:
    """The mark on a function, also through wrappers that name what they wrap."""
    seen: list[object] = []
    while function is not None and all(function is not other for other in seen):
        found = getattr(function, MARK, None)
        if isinstance(found, Requirement):
            return found
        seen.append(function)
        function = getattr(function, "__wrapped__", None) or getattr(function, "func", None)
    return None


def marked_rules(registered: Sequence[tuple[str, str, object]]) -> list[Rule]:
    """The rules of what a server has registered: of each the key of a rule, the name or URI, the function.

    Raises:
        PolicyError: a name cannot be a pattern of a rule, or would be one for others too.
    """
    rules: list[Rule] = []
    for key, name, function in registered:
        requirement = requirement_of(function)
        if requirement is not None:
            pattern = uri_pattern(name) if key == "resources" else _exact(name)
            rules.append(requirement.rule(name if key == "tools" else f"{key}: {pattern}", key, pattern))
    return rules


def uri_pattern(template: str) -> str:
    """The pattern of a rule for a URI, or for a URI template (RFC 6570, levels that MCP servers use).

    Raises:
        PolicyError: it holds a `*` of its own.
    """
    _exact(_PARAMETER.sub("", template))
    return _PARAMETER.sub(lambda match: "**" if match[1] else "*", template)


def _exact(name: str) -> str:
    if "*" in name:
        raise PolicyError(f"from_server: {name!r}: its * would stand for others too; rename it")
    return name


def tool_name(decorated: object) -> str:
    """The name under which a server will list the tool.

    A plain function is listed under its own name. When `requires` stands above a framework's decorator,
    that may have made an object with a `name` of it, or have left a note with one (FastMCP 4:
    `__fastmcp__`).

    Raises:
        PolicyError: it has no name; a name given to `@server.tool(name=...)` below is lost to us in some
            frameworks.
    """
    candidates = (
        getattr(decorated, "name", None),
        getattr(getattr(decorated, "__fastmcp__", None), "name", None),
        getattr(getattr(decorated, "fn", None), "__name__", None),
        getattr(decorated, "__name__", None),
    )
    for name in candidates:
        if isinstance(name, str) and name:
            if name == "<lambda>":
                break
            return name
    raise PolicyError('requires: cannot tell the name of this tool; write requires(..., tool="its_name")')
