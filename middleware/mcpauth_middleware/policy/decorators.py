"""Rules written beside the tool, and the name of what a decorator stands on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mcpauth_middleware.policy.errors import PolicyError
from mcpauth_middleware.policy.overlap import PARAMETER, can_be_the_same, uri_patterns, without_query
from mcpauth_middleware.policy.rule_table import CONDITIONS, check_keys, rule_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from mcpauth_middleware.policy.rule_table import Conditions
    from mcpauth_middleware.policy.rules import Rule

F = TypeVar("F", bound=Any)

MARK: Final = "__mcpauth_requires__"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What `requires` says, wherever it stands.

    Raises:
        PolicyError: it stands there without its parentheses, so that the function is taken for a scope.
    """

    scopes: tuple[str, ...]
    conditions: Mapping[str, object]

    def __post_init__(self) -> None:
        if any(callable(scope) for scope in self.scopes):
            mend = '@requires("files:read"), or @requires() for every authenticated principal'
            raise PolicyError(f"requires: has no parentheses; write {mend}")

    def but_not(self, uris: Sequence[str]) -> Requirement:
        """The same, but for these resources."""
        if not uris:
            return self
        when = " and ".join(f"resource.uri != {uri!r}" for uri in uris)
        own = self.conditions.get("when")
        return Requirement(
            self.scopes, {**self.conditions, "when": when if own is None else f"{when} and ({own})"}
        )

    def rule(self, rule_id: str, key: str, *patterns: str) -> Rule:
        """The rule that allows what matches a pattern; `key` is "tools", "prompts" or "resources".

        Raises:
            PolicyError: a scope or a condition is wrong.
        """
        check_keys(self.conditions, CONDITIONS, "requires")
        return rule_of(rule_id, "allow", {key: patterns}, self.scopes, self.conditions)


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

    What has no mark has no rule, and no rule of another lets it through: a template's says nothing of the
    resources that are registered by themselves.

    Raises:
        PolicyError: a name cannot be a pattern of a rule, or would be one for others too; or things that
            nobody can tell apart by their names are not marked alike.
    """
    marks: dict[tuple[str, str], Requirement | None] = {}
    for key, name, function in registered:
        requirement = requirement_of(function)
        if marks.setdefault((key, name), requirement) != requirement:
            raise PolicyError(f"from_server: {key}: {name!r} is there twice; mark both alike, or rename one")
    resources = {name: mark for (key, name), mark in marks.items() if key == "resources"}
    rules: dict[str, Rule] = {}
    for (key, name), requirement in marks.items():
        if requirement is None:
            continue
        if key == "resources":
            rule = _resource_rule(name, requirement, resources)
        else:
            rule = requirement.rule(name if key == "tools" else f"{key}: {name}", key, _exact(name))
        rules[rule.id] = rule
    return list(rules.values())


def _resource_rule(name: str, requirement: Requirement, resources: Mapping[str, Requirement | None]) -> Rule:
    path, patterns = without_query(name), uri_patterns(name)
    if patterns is None:
        raise PolicyError(
            f"from_server: resources: {name!r}: no rule can stand for this template, only for one of"
            " {name}, {+name} as a whole segment, and {?name} at the end; change it, or take its mark off and"
            " name the resources in a file"
        )
    _exact(PARAMETER.sub("", path))
    others = [
        other
        for other, mark in resources.items()
        if patterns != (name,) and mark != requirement and can_be_the_same(name, other)
    ]
    for other in others:
        if "{" in other:
            raise PolicyError(
                f"from_server: resources: {name!r} and {other!r} can be the same URI; mark both alike, or "
                "change one"
            )
    rule_id = f"resources: {patterns[0] if path == name else name}"
    return requirement.but_not(others).rule(rule_id, "resources", *patterns)


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
