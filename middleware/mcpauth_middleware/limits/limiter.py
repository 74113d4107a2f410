"""Debits: which calls are counted under which keys, and the protocol of whoever counts them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from mcpauth_middleware.limits.fields import RateLimitFields
from mcpauth_middleware.limits.rate_limit import called_tool
from mcpauth_middleware.policy.patterns import readings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth_middleware.limits.gcra import Gcra
    from mcpauth_middleware.limits.rate_limit import Dimension, RateLimit
    from mcpauth_middleware.message.request import Message
    from mcpauth_middleware.principal import Principal


_REMEMBERED: Final = 4096
"""So many combinations of callers and tools have their keys at hand."""

_CountedFor: TypeAlias = "tuple[str | None, ...]"


@dataclass(frozen=True, slots=True)
class Debit:
    """One call counted under one key; `name` is what the limit is called."""

    key: str
    limit: Gcra
    name: str
    quota: int = 0
    window: int = 0
    """The rate as it was written: `quota` calls in `window` seconds."""


class LimitState(NamedTuple):
    """What is left under one debit, once the call was counted or refused.

    `reset` are the seconds after which all of it is there again; of nothing, after which one more is.
    """

    remaining: int
    reset: float


class LimitResult(NamedTuple):
    """Whether the call may go on; if not, the seconds after which it may, and the limit that says so."""

    allowed: bool
    retry_after: float = 0.0
    limit: str | None = None
    states: tuple[LimitState, ...] = ()
    """One for each debit, in their order; a limiter that does not tell leaves them out."""


class Limiter(Protocol):
    """Counts calls."""

    async def take(self, debits: Sequence[Debit]) -> LimitResult:
        """Count the call under every debit, or under none if one of them refuses."""
        ...


class Charge(NamedTuple):
    """What one message is counted under, each key once, and what its answer tells of that."""

    debits: tuple[Debit, ...]
    fields: RateLimitFields


class Debits:
    """What each message is counted under, by the limits of one server."""

    def __init__(self, limits: Sequence[RateLimit]) -> None:
        self._limits = tuple(limits)
        dimensions: set[Dimension] = {dimension for limit in limits for dimension in limit.by}
        self._dimensions = tuple(dimensions)
        # Whoever calls once calls again.
        self._remembered = lru_cache(_REMEMBERED)(self._made)

    def of(
        self, message: Message, principal: Principal, address: str | None, *, tenant: str | None = None
    ) -> Charge | None:
        """What the message is counted under, None for nothing.

        Those who have no address or no tenant share what is counted by it.
        """
        if message.kind != "request" or not self._limits:
            return None
        tool = called_tool(message)
        counted_for = [_counted_for(each, principal, tool, address, tenant) for each in self._dimensions]
        return self._remembered(tool, tuple(counted_for))

    def _made(self, tool: str | None, counted_for: tuple[_CountedFor, ...]) -> Charge | None:
        values = dict(zip(self._dimensions, counted_for, strict=True))
        if tool is not None and "tool" in values:
            # By the name that it has besides the ones which servers make for it.
            values["tool"] = (readings("tool", tool).every[-1],)
        debits: dict[str, Debit] = {}
        for limit in self._limits:
            if limit.concerns(tool):
                whose = [(dimension, *values[dimension]) for dimension in limit.by]
                key = _key(limit, whose)
                debits.setdefault(key, Debit(key, limit.gcra, limit.label, limit.quota, limit.window))
        listed = tuple(debits.values())
        return Charge(listed, RateLimitFields(listed)) if listed else None


def _counted_for(
    dimension: Dimension, principal: Principal, tool: str | None, address: str | None, tenant: str | None
) -> _CountedFor:
    match dimension:
        case "user":
            return (principal.issuer, principal.subject)
        case "client":
            return (principal.issuer, principal.client_id)
        case "tool":
            return (tool,)
        case "address":
            return (address,)
        case "token":
            # What tells one token from the next of the same client; not each has a `jti`.
            name = principal.token_id or f"until {principal.expires_at}"
            return (principal.issuer, principal.subject, principal.client_id, name)
        case "tenant":
            return (principal.issuer, tenant)


def _key(limit: RateLimit, whose: list[tuple[str | None, ...]]) -> str:
    """A digest: a limiter's store is no place for people's names. It is the same in every process."""
    # `repr` keeps ("a", "b") and ("a', 'b",) apart, and None from "None".
    return hashlib.sha256(repr((limit.identity, whose)).encode("utf-8", "surrogatepass")).hexdigest()
