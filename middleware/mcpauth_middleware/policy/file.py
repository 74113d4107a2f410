"""Policies in TOML 1.0. Whatever the file holds beyond what is read here refuses to load.

```toml
version = 1
[scopes]
"files:write" = ["files:read"]      # who may write may read
[[rules]]
id = "readers"
allow = { tools = ["read_file", "list_*"], resources = ["file:///srv/share/**"] }
scopes = ["files:read"]
when = 'path_under(args.path, "/srv/share")'
```
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from mcpauth_middleware.policy.errors import PolicyError
from mcpauth_middleware.policy.examples import read_example
from mcpauth_middleware.policy.facts import ClaimNames
from mcpauth_middleware.policy.rule_table import CONDITIONS, as_table, check_keys, rule_of
from mcpauth_middleware.policy.rules import MODES

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from mcpauth_middleware.policy.examples import Example
    from mcpauth_middleware.policy.rules import Mode, Rule

VERSION: Final = 1
MAX_BYTES: Final = 4 * 1024 * 1024

_KEYS: Final = ("version", "mode", "scopes", "claims", "rules", "tests")
_RULE_KEYS: Final = ("id", "allow", "deny", "scopes", *CONDITIONS)


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """What a policy file says; `claims` is None where it does not say which they are."""

    scopes: Mapping[str, list[str]]
    claims: ClaimNames | None
    rules: tuple[Rule, ...]
    tests: tuple[Example, ...]


def read_file(path: str | os.PathLike[str]) -> str:
    """The text of a policy file.

    Raises:
        PolicyError: it cannot be read.
    """
    file = Path(path)
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise PolicyError(f"{file}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise PolicyError(f"{file}: larger than {MAX_BYTES} bytes; split it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise PolicyError(f"{file}: not valid TOML: not UTF-8") from None


def read_policy(text: str, *, name: str) -> PolicyDocument:
    """Read a policy; `name` is what error messages call it.

    Raises:
        PolicyError: it is wrong; the message is `name: key: what to do`.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{name}: not valid TOML: {error}") from None
    except RecursionError:
        raise PolicyError(f"{name}: not valid TOML: nested too deeply") from None
    try:
        return _document(document)
    except PolicyError as error:
        raise PolicyError(f"{name}: {error}") from None


def _document(document: dict[str, Any]) -> PolicyDocument:
    check_keys(document, _KEYS, where="")
    _check_version(document.get("version"))
    scopes = as_table(document.get("scopes", {}), "scopes")
    claims = ClaimNames.of(as_table(document["claims"], "claims")) if "claims" in document else None
    return PolicyDocument(
        cast("dict[str, list[str]]", scopes),
        claims,
        _rules(document.get("rules", []), _mode(document.get("mode", "enforce"))),
        _tests(document.get("tests", [])),
    )


def _rules(tables: object, mode: Mode) -> tuple[Rule, ...]:
    if not isinstance(tables, list):
        raise PolicyError("rules: must be written as [[rules]], one for each rule")
    rules: dict[str, Rule] = {}
    for position, table in enumerate(cast("list[object]", tables)):
        where = f"rules[{position}]"
        rule = _rule(as_table(table, where), where)
        if rule.id in rules:
            first = list(rules).index(rule.id)
            raise PolicyError(f'{where}.id: "{rule.id}" is already the id of rules[{first}]')
        # The weaker of the two: a file that is only tried out enforces nothing.
        rules[rule.id] = replace(rule, mode=min(mode, rule.mode, key=MODES.index))
    return tuple(rules.values())


def _rule(table: dict[str, Any], where: str) -> Rule:
    check_keys(table, _RULE_KEYS, where)
    if "id" not in table:
        raise PolicyError(f"{where}.id: missing; give the rule a name of its own")
    if ("allow" in table) == ("deny" in table):
        raise PolicyError(f"{where}: must have either allow or deny")
    effect: Literal["allow", "deny"] = "allow" if "allow" in table else "deny"
    patterns = as_table(table[effect], f"{where}.{effect}")
    conditions = {key: value for key, value in table.items() if key in CONDITIONS}
    try:
        return rule_of(table["id"], effect, patterns, table.get("scopes", []), conditions)
    except PolicyError as error:
        raise PolicyError(f"{where}.{error}") from None


def _tests(tables: object) -> tuple[Example, ...]:
    if not isinstance(tables, list):
        raise PolicyError("tests: must be written as [[tests]], one for each test")
    return tuple(
        read_example(as_table(table, f"tests[{at}]"), f"tests[{at}]")
        for at, table in enumerate(cast("list[object]", tables))
    )


def _mode(mode: object) -> Mode:
    if mode not in MODES:
        raise PolicyError(f'mode: must be "enforce", "shadow" or "off", not {mode!r}')
    return mode


def _check_version(version: object) -> None:
    # `True == 1` and `1.0 == 1` in Python.
    if type(version) is not int or version != VERSION:
        found = "missing" if version is None else f"{version!r} is not known"
        raise PolicyError(f"version: {found}; write version = {VERSION}")
