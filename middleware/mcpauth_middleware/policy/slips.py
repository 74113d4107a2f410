"""Slips of the pen in one rule: what can be meant as it stands, and hardly ever is.

Each is a warning: a tool may have a comma in its name, and a group a star.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from mcpauth_middleware.message.revisions import HANDSHAKE_REVISIONS, METHODS, REVISIONS
from mcpauth_middleware.message.targets import FURTHER_SUBSCRIPTIONS
from mcpauth_middleware.policy.conditions import When
from mcpauth_middleware.policy.facts import DEFAULT_ANNOTATIONS
from mcpauth_middleware.policy.finding import Finding
from mcpauth_middleware.policy.overlap import uri_pattern, without_query
from mcpauth_middleware.policy.patterns import DECIDED_BY, NameMatcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mcpauth_middleware.message.target import TargetKind
    from mcpauth_middleware.policy.finding import Code
    from mcpauth_middleware.policy.rules import Rule

# MCP 2025-11-25, "Tool Names": letters, digits, `_`, `-` and `.`; others are in use, such as `/`.
_NOT_IN_TOOL_NAMES: Final = re.compile(r"[\s,|()^$\\+]")
_EXPRESSION: Final = re.compile(r"\{[^{}]*\}")
_ROOT: Final = re.compile(r"\w+")
_HAVE: Final[Mapping[str, frozenset[TargetKind]]] = {
    "args": frozenset({"tool", "prompt"}),
    "tool": frozenset({"tool"}),
    "resource": frozenset({"resource"}),
}
"""Which kinds of target have a fact; the others all have."""
_KNOWN_REVISIONS: Final = (*sorted(HANDSHAKE_REVISIONS - {*REVISIONS}), *REVISIONS)


def slips(rule: Rule) -> Iterator[Finding]:
    """What is probably not meant as it is written."""
    found: list[tuple[Code, str]] = [
        *(("odd-pattern", problem) for problem in _patterns(rule)),
        *(("literal-star", problem) for problem in _literal_stars(rule)),
        *(("unknown-annotation", problem) for problem in _annotations(rule)),
        *(("unknown-protocol", problem) for problem in _protocols(rule)),
        *(("wrong-fact", problem) for problem in _facts(rule)),
    ]
    for code, text in found:
        yield Finding("warning", code, rule.id, text)


def _patterns(rule: Rule) -> Iterator[str]:
    for kind, pattern in rule.patterns:
        problem = _uri_problem(rule, pattern) if kind == "resource" else _name_problem(kind, pattern)
        if problem is None and kind == "method":
            problem = _method_problem(rule, pattern)
        if problem is not None:
            yield f"{pattern!r}: {problem}"


def _name_problem(kind: TargetKind, pattern: str) -> str | None:
    if pattern != pattern.strip():
        return "begins or ends with a space; remove it"
    odd = _NOT_IN_TOOL_NAMES.search(pattern) if kind == "tool" else None
    return None if odd is None else f"no name of a tool has {odd[0]!r} in it; write one pattern for each tool"


def _method_problem(rule: Rule, pattern: str) -> str | None:
    if "*" not in pattern:
        is_known = pattern in METHODS or pattern.startswith(FURTHER_SUBSCRIPTIONS)
        close = [] if is_known else get_close_matches(pattern, METHODS, n=1, cutoff=0.8)
        return f"is no method of MCP; did you mean {close[0]}?" if close else None
    matcher = NameMatcher.of(pattern)
    others = [name for name, row in METHODS.items() if row.targets in DECIDED_BY and matcher.matches(name)]
    if others and not (rule.tools or rule.prompts or rule.resources):
        return f"says nothing of {others[0]} and its like; name tools, prompts and resources for these"
    return None


def _uri_problem(rule: Rule, pattern: str) -> str | None:
    first, slash, _ = pattern.partition("/")
    if ":" not in first and first != "**" and not (slash and "*" in first):
        if pattern.strip("*"):
            return "has no scheme, as URIs have; write it, as in file:///"
        return "is one segment, so no URI with a / in it; write ** for every resource"
    expression = _EXPRESSION.search(pattern)
    # Beside the pattern for what it stands for, a template is there for lists and completions.
    if expression is not None and uri_pattern(without_query(pattern)) not in {*rule.resources} - {pattern}:
        return f"{expression[0]} stands for itself, as in a list of templates; write * for a parameter"
    return None


def _literal_stars(rule: Rule) -> Iterator[str]:
    asked: dict[str, tuple[str | None, tuple[object, ...]]] = {
        "groups": (None, rule.groups),
        "tags": (None, rule.tags),
        "tenant": ("principal.tenant", rule.tenant),
    }
    for name, found in rule.claims.items():
        asked[f"claims.{name}"] = (
            f"principal.claims[{name!r}]",
            found if isinstance(found, tuple) else (found,),
        )
    for key, (fact, values) in asked.items():
        for value in values:
            if isinstance(value, str) and "*" in value:
                mend = "name each" if fact is None else f"for a pattern write when = glob({fact}, {value!r})"
                yield f"{key}: {value!r} is compared as it stands; {mend}"


def _annotations(rule: Rule) -> Iterator[str]:
    for name in rule.annotations:
        close = get_close_matches(name.lower(), map(str.lower, DEFAULT_ANNOTATIONS), n=1, cutoff=0.8)
        if name not in DEFAULT_ANNOTATIONS and close:
            meant = next(known for known in DEFAULT_ANNOTATIONS if known.lower() == close[0])
            yield f"annotations.{name}: MCP has no such annotation; did you mean {meant}?"


def _protocols(rule: Rule) -> Iterator[str]:
    for pattern in rule.protocol:
        if not any(map(NameMatcher.of(pattern).matches, _KNOWN_REVISIONS)):
            yield f"protocol: {pattern!r} is no known revision; known are {', '.join(_KNOWN_REVISIONS)}"


def _facts(rule: Rule) -> Iterator[str]:
    kinds = {kind for kind, _ in rule.patterns}
    reads = [
        name
        for condition in rule.conditions
        if isinstance(condition, When)
        for part in condition.parts
        for name in part.reads
    ]
    if "method" in reads and len(kinds) > 1:
        return  # which tells the kinds from each other
    for name in reads:
        root = _ROOT.match(name)
        have = _HAVE.get(root[0]) if root is not None else None
        if have is not None and (without := sorted(kinds - have)):
            mend = "leave it out" if not kinds & have else f"make a rule of its own for each {without[0]}"
            yield f"when: no {' or '.join(without)} has {name}; {mend}"
