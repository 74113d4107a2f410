"""The tests inside a policy file: a call, who makes it, and what the decision must be.

```toml
[[tests]]
call = { tool = "files.read", args = { path = "/srv/share/../hr" } }
as = { scopes = ["files:read"], tenant = "a" }
expect = "deny"
```
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from mcpauth_middleware.message.request import Message, MessageRefused
from mcpauth_middleware.message.revisions import METHODS, targets_of
from mcpauth_middleware.policy.errors import PolicyError, Unevaluable
from mcpauth_middleware.policy.facts import Context, ToolFacts
from mcpauth_middleware.policy.functions import address
from mcpauth_middleware.policy.rule_table import as_table, check_keys
from mcpauth_middleware.policy.scopes import NOT_A_SCOPE, is_scope
from mcpauth_middleware.policy.values import kind_of
from mcpauth_middleware.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcpauth_middleware.policy.decide import Decision
    from mcpauth_middleware.policy.facts import ClaimNames

Expected = Literal["allow", "deny", "step_up"]

EXPECTED: Final[tuple[Expected, ...]] = ("allow", "deny", "step_up")
REVISION: Final = "2026-07-28"
_CALL: Final = ("tool", "prompt", "resource", "method", "args", "tags", "annotations")
_AS: Final = ("sub", "iss", "client_id", "scopes", "groups", "tenant", "claims")
_ENV: Final = ("ip", "time", "protocol", "client")
_HAVE: Final = {"args": ("tool", "prompt"), "tags": ("tool",), "annotations": ("tool",)}
_METHODS: Final = {"tool": "tools/call", "prompt": "prompts/get", "resource": "resources/read"}
_NAMED_BY: Final = {"tool": "name", "prompt": "name", "resource": "uri"}


@dataclass(frozen=True, slots=True)
class Example:
    """One test; the tables are as in the file, and checked."""

    call: Mapping[str, Any]
    principal: Mapping[str, Any]
    expect: Expected
    env: Mapping[str, Any]
    scopes: tuple[str, ...] | None = None
    """With `step_up`: exactly what must be asked for."""
    rule: str | None = None
    """The rule that must decide."""
    where: str = field(default="tests", compare=False)
    """Where it stands, for whoever has to mend it."""

    def in_file(self, name: str) -> Example:
        """The same, with the name of the file it stands in."""
        return replace(self, where=f"{name}: {self.where}")

    def message(self) -> Message:
        """The message of the test.

        Raises:
            MessageRefused: no client could send it.
        """
        kind = next(key for key in ("tool", "prompt", "resource", "method") if key in self.call)
        method: str = _METHODS[kind] if kind in _METHODS else self.call[kind]
        arguments = self.call.get("args", {})
        params: dict[str, Any] = {} if kind == "method" else {_NAMED_BY[kind]: self.call[kind]}
        row = METHODS.get(method)
        client = self.env.get("client", {})
        return Message(
            kind=row.kind if row is not None else "request",
            method=method,
            id=1,
            params=params | ({"arguments": arguments} if kind in ("tool", "prompt") else {}),
            arguments=arguments if kind in ("tool", "prompt") else None,
            targets=targets_of(method, params),
            lists=None,
            protocol_version=self.env.get("protocol", REVISION),
            client=(client.get("name"), client.get("version")),
        )

    def who(self, names: ClaimNames) -> Principal:
        """The principal of the test."""
        claims: dict[str, Any] = dict(self.principal.get("claims", {}))
        for key, way in (("groups", names.groups), ("tenant", names.tenant)):
            if key in self.principal:
                _put(claims, way, self.principal[key])
        return Principal(
            issuer=self.principal.get("iss", "https://issuer.example"),
            subject=self.principal.get("sub", "someone"),
            client_id=self.principal.get("client_id", "a-client"),
            scopes=frozenset(self.principal.get("scopes", ())),
            resource="https://resource.example/mcp",
            expires_at=2**33,
            claims=claims,
        )

    def context(self) -> Context:
        """What is known besides."""
        tags, annotations = self.call.get("tags"), self.call.get("annotations")
        known = ToolFacts(None if tags is None else frozenset(tags), annotations)
        return Context(
            address=self.env.get("ip"),
            now=self.env.get("time"),
            tool=lambda name: known if name == self.call.get("tool") else None,
        )

    def problem(self, decision: Decision) -> str | None:
        """Say how the decision differs from what is expected, or return None."""
        by = "" if decision.rule is None else f' by rule "{decision.rule}"'
        if decision.effect != self.expect:
            shadow = decision.shadow is not None and decision.shadow.effect == self.expect
            but = "; it would be so with the rules in shadow mode" if shadow else ""
            return f"expected {self.expect}, got {decision.effect} ({decision.reason}){by}{but}"
        if self.scopes is not None and set(self.scopes) != set(decision.scopes):
            return f"expected the scopes {_list(self.scopes)}, got {_list(decision.scopes)}{by}"
        if self.rule is not None and self.rule != decision.rule:
            return f'expected rule "{self.rule}" to decide, got {decision.effect}{by or " by no rule"}'
        return None


def read_example(table: Mapping[str, Any], where: str) -> Example:
    """Read one test of a file.

    Raises:
        PolicyError: it is wrong; the message names the key.
    """
    check_keys(table, ("call", "as", "env", "expect", "scopes", "rule"), where)
    expect = table.get("expect")
    if expect not in EXPECTED:
        raise PolicyError(f'{where}.expect: must be "allow", "deny" or "step_up", not {expect!r}')
    scopes = table.get("scopes")
    example = Example(
        call=_call(table.get("call"), f"{where}.call"),
        principal=_principal(table.get("as", {}), f"{where}.as"),
        expect=expect,
        env=_env(table.get("env", {}), f"{where}.env"),
        scopes=None if scopes is None else tuple(_texts(scopes, f"{where}.scopes")),
        rule=None if table.get("rule") is None else _text(table["rule"], f"{where}.rule"),
        where=where,
    )
    try:
        example.message()
    except MessageRefused as refused:
        raise PolicyError(f"{where}.call: no client can send this: {refused.message}") from None
    return example


def _call(value: object, where: str) -> Mapping[str, Any]:
    table = as_table(value, where)
    check_keys(table, _CALL, where)
    named = [key for key in ("tool", "prompt", "resource", "method") if key in table]
    if len(named) != 1:
        raise PolicyError(f"{where}: must name one of tool, prompt, resource, method")
    _text(table[named[0]], f"{where}.{named[0]}")
    for key in ("args", "annotations"):
        _json(as_table(table.get(key, {}), f"{where}.{key}"), f"{where}.{key}")
    _texts(table.get("tags", []), f"{where}.tags")
    for key, kinds in _HAVE.items():
        if key in table and named[0] not in kinds:
            raise PolicyError(f"{where}.{key}: only {' and '.join(f'{kind}s' for kind in kinds)} have them")
    return table


def _principal(value: object, where: str) -> Mapping[str, Any]:
    table = as_table(value, where)
    check_keys(table, _AS, where)
    for key in ("sub", "iss", "client_id", "tenant"):
        _text(table.get(key, "x"), f"{where}.{key}")
    for key in ("scopes", "groups"):
        _texts(table.get(key, []), f"{where}.{key}")
    for at, scope in enumerate(table.get("scopes", [])):
        if not is_scope(scope):
            raise PolicyError(f"{where}.scopes[{at}]: {NOT_A_SCOPE}")
    _json(as_table(table.get("claims", {}), f"{where}.claims"), f"{where}.claims")
    return table


def _env(value: object, where: str) -> Mapping[str, Any]:
    table = as_table(value, where)
    check_keys(table, _ENV, where)
    for key in ("ip", "protocol"):
        _text(table.get(key, "x"), f"{where}.{key}")
    if "ip" in table:
        _address(table["ip"], f"{where}.ip")
    client = as_table(table.get("client", {}), f"{where}.client")
    check_keys(client, ("name", "version"), f"{where}.client")
    for key, found in client.items():
        _text(found, f"{where}.client.{key}")
    if "time" not in table:
        return table
    moment: object = table["time"]
    if isinstance(moment, datetime) and moment.tzinfo is not None:
        return {**table, "time": moment.timestamp()}
    if isinstance(moment, (int, float)) and not isinstance(moment, bool):
        return {**table, "time": float(moment)}
    raise PolicyError(f"{where}.time: must be a moment with its zone, as in 2026-11-22T10:00:00Z")


def _address(text: str, where: str) -> None:
    try:
        address(text)
    except Unevaluable:
        raise PolicyError(f"{where}: {text!r} is no address; write one such as 10.0.0.1") from None


def _json(value: object, where: str) -> None:
    try:
        kind = kind_of(value)
    except Unevaluable:
        raise PolicyError(f"{where}: must be what JSON can hold: no dates, no inf, no nan") from None
    if kind == "list":
        for position, item in enumerate(cast("Sequence[object]", value)):
            _json(item, f"{where}[{position}]")
    if kind == "object":
        for key, item in cast("Mapping[str, object]", value).items():
            _json(item, f"{where}.{key}")


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise PolicyError(f"{where}: must be a text that is not empty")
    return value


def _texts(value: object, where: str) -> list[str]:
    if not isinstance(value, (list, tuple)):
        raise PolicyError(f"{where}: must be a list of texts")
    return [_text(item, f"{where}[{at}]") for at, item in enumerate(cast("Sequence[object]", value))]


def _put(claims: dict[str, Any], way: tuple[str, ...], value: object) -> None:
    *outer, last = way
    for name in outer:
        inner = claims.get(name)
        claims[name] = claims = dict(cast("dict[str, Any]", inner)) if isinstance(inner, dict) else {}
    claims[last] = list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value


def _list(scopes: Sequence[str]) -> str:
    return "[" + ", ".join(sorted(scopes)) + "]"
