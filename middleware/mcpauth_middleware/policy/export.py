"""A policy written down as TOML 1.0: what `from_toml` reads back to the same rules."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, cast

from mcpauth_middleware.policy.errors import PolicyError
from mcpauth_middleware.policy.facts import ClaimNames
from mcpauth_middleware.policy.file import VERSION
from mcpauth_middleware.policy.rule_table import CONDITIONS
from mcpauth_middleware.policy.rules import MATCHERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mcpauth_middleware.policy.examples import Example
    from mcpauth_middleware.policy.rules import Rule

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
# What TOML wants escaped and JSON does not escape.
_DELETE: Final = re.compile("\x7f")


def to_toml(
    scopes: Mapping[str, Sequence[str]], claims: ClaimNames, rules: Iterable[Rule], tests: Iterable[Example]
) -> str:
    """The text of a policy file.

    Raises:
        PolicyError: a value cannot be written, such as None in the arguments of a test.
    """
    lines = [f"version = {VERSION}"]
    if scopes:
        lines += ["", "[scopes]", *_pairs(scopes)]
    if claims != ClaimNames():
        lines += ["", "[claims]", *_pairs({"groups": claims.groups, "tenant": claims.tenant})]
    for rule in rules:
        lines += ["", "[[rules]]", *_pairs(_rule(rule))]
    for test in tests:
        lines += ["", "[[tests]]", *_pairs(_test(test))]
    return "\n".join(lines) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    patterns = {key: getattr(rule, key) for key in MATCHERS if getattr(rule, key)}
    table: dict[str, Any] = {"id": rule.id, rule.effect: patterns}
    if rule.scopes:
        table["scopes"] = rule.scopes
    for key in CONDITIONS:
        value = getattr(rule, key)
        if value and not (key == "mode" and value == "enforce"):
            table[key] = value
    if rule.client is not None:
        table["client"] = rule.client.asked
    if rule.time is not None:
        table["time"] = {key: getattr(rule.time, key) for key in ("zone", "days", "hours")}
    if rule.when is not None:
        table["when"] = rule.when
    return table


def _test(test: Example) -> dict[str, Any]:
    members = {**asdict(test), "as": test.principal}
    keys = ("call", "as", "env", "expect", "scopes", "rule")
    return {key: members[key] for key in keys if members[key] is not None and members[key] != {}}


def _pairs(table: Mapping[str, object]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items()]


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case int() | float():
            return repr(value)
        case list() | tuple():
            return "[" + ", ".join(map(_value, cast("Sequence[object]", value))) + "]"
        case Mapping():
            return "{ " + ", ".join(_pairs(cast("Mapping[str, object]", value))) + " }"
        case _:
            raise PolicyError(f"{value!r} cannot be written in TOML")


def _text(text: str) -> str:
    return _DELETE.sub(r"\\u007f", json.dumps(text, ensure_ascii=False))
