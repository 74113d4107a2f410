"""Debits: which calls are counted under which keys, and the protocol of whoever counts them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mcpauth_middleware.limits.rate_limit import called_tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth_middleware.limits.gcra import Gcra
    from mcpauth_middleware.limits.rate_limit import Dimension, RateLimit
    from mcpauth_middleware.message.request import Message
    from mcpauth_middleware.principal import Principal


@dataclass(frozen=True, slots=True)
class Debit:
    """One call counted under one key; `name` is what the limit is called."""

    key: str
    limit: Gcra
    name: str
    quota: int = 0
    window: int = 0
    """The rate as it was written: `quota` calls in `window` seconds."""


@dataclass(frozen=True, slots=True)
class LimitState:
    """What is left under one debit, once the call was counted or refused.

    `reset` are the seconds after which all of it is there again; of nothing, after which one more is.
    """

    remaining: int
    reset: float


@dataclass(frozen=True, slots=True)
class LimitResult:
    """Whether the call may go on; if not, the seconds after which it may, and the limit that says so."""

    allowed: bool
    retry_after: float = 0.0
    limit: str | None = None
    states: tuple[LimitState, ...] = field(default=(), compare=False)
    """One for each debit, in their order; a limiter that does not tell leaves them out."""


class Limiter(Protocol):
    """Counts calls."""

    async def take(self, debits: Sequence[Debit]) -> LimitResult:
        """Count the call under every debit, or under none if one of them refuses."""
        ...


def debits_for(
    limits: Sequence[RateLimit],
    principal: Principal,
    message: Message,
    address: str | None,
    *,
    tenant: str | None = None,
) -> list[Debit]:
    """What the message is counted under: each key once, however many limits are equal.

    Those who have no address or no tenant share what is counted by it.
    """
    debits: dict[str, Debit] = {}
    for limit in limits:
        if limit.concerns(message):
            key = _key(limit, principal, message, address, tenant)
            debits.setdefault(key, Debit(key, limit.gcra, limit.label, limit.quota, limit.window))
    return list(debits.values())


def _key(
    limit: RateLimit, principal: Principal, message: Message, address: str | None, tenant: str | None
) -> str:
    """A digest: a limiter's store is no place for people's names. It is the same in every process."""
    values: dict[Dimension, tuple[str | None, ...]] = {
        "user": (principal.issuer, principal.subject),
        "client": (principal.issuer, principal.client_id),
        "tool": (called_tool(message),),
        "address": (address,),
        "token": _token(principal),
        "tenant": (principal.issuer, tenant),
    }
    whose = [(dimension, *values[dimension]) for dimension in limit.by]
    # `repr` keeps ("a", "b") and ("a', 'b",) apart, and None from "None".
    return hashlib.sha256(repr((limit.identity, whose)).encode("utf-8", "surrogatepass")).hexdigest()


def _token(principal: Principal) -> tuple[str | None, ...]:
    """What tells one token from the next of the same client; not each has a `jti`."""
    name = principal.token_id or f"until {principal.expires_at}"
    return (principal.issuer, principal.subject, principal.client_id, name)
