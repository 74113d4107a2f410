"""What the tests of the policy share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpauth_middleware.message import Message, Target
from mcpauth_middleware.policy import Context, Policy, Rule
from mcpauth_middleware.policy.conditions import compile_expression
from mcpauth_middleware.policy.errors import Unevaluable
from mcpauth_middleware.policy.facts import ClaimNames, Facts
from mcpauth_middleware.principal import Principal
from tests.middleware.gate_helpers import call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOW = 1_763_978_400.0  # Monday, 2025-11-24, 10:00 UTC


def policy(
    *rules: Rule,
    scopes: Mapping[str, Sequence[str]] | None = None,
    claims: Mapping[str, str | Sequence[str]] | None = None,
) -> Policy:
    """A policy of these rules."""
    made = Policy(scopes=scopes, claims=claims)
    for rule in rules:
        made.add(rule)
    return made


def allow(rule_id: str = "a", *scopes: str, tools: tuple[str, ...] = ("t",), **more: Any) -> Rule:
    """An allow rule about a tool."""
    return Rule(id=rule_id, effect="allow", tools=tools, scopes=scopes, **more)


def deny(rule_id: str = "d", tools: tuple[str, ...] = ("t",), **more: Any) -> Rule:
    """A deny rule about a tool."""
    return Rule(id=rule_id, effect="deny", tools=tools, **more)


def someone(*scopes: str, client_id: str | None = "client", **claims: Any) -> Principal:
    """A principal whose token has these claims."""
    return Principal(
        issuer="https://as",
        subject="alice",
        client_id=client_id,
        scopes=frozenset(scopes),
        resource="https://rs/mcp",
        expires_at=4_000_000_000,
        claims=claims,
    )


def facts(
    arguments: Mapping[str, Any] | None = None,
    *,
    who: Principal | None = None,
    context: Context | None = None,
    claims: Mapping[str, str | Sequence[str]] | None = None,
    message: Message | None = None,
    listing: bool = False,
) -> Facts:
    """The facts about a call of the tool `t`, or about another message."""
    message = call("t", arguments) if message is None else message
    who = who or someone()
    return Facts(
        message.targets[0] if message.targets else Target("method", "none"),
        who,
        who.scopes,
        context or Context(),
        ClaimNames.of(claims or {}),
        message,
        listing,
    )


def answer(text: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> bool | str:
    """What the condition says: True, False, or why it cannot be evaluated."""
    condition = compile_expression(text)
    try:
        return condition.holds(facts(arguments, **more))
    except Unevaluable as problem:
        return str(problem)
