"""RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-11), structured fields of RFC 9651.

They tell what a client may still do, so that it need not run into a limit to find it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from mcpauth_middleware.asgi import Event, Headers, Send
    from mcpauth_middleware.limits.limiter import Debit, LimitState


def rate_limit_fields(debits: Sequence[Debit], states: Sequence[LimitState]) -> Headers:
    """The fields of an answer to what was counted under these debits; none when nothing was counted.

    `q` calls are allowed in `w` seconds; `r` are left. `t` is when all of them will be there again, or,
    when none is left, when the next one will be.
    """
    if not debits:
        return []
    policies = tuple([(debit.name, debit.quota, debit.window) for debit in debits])
    if len(states) != len(debits):
        return [_policy_field(policies)]
    left = tuple(
        [
            (debit.name, state.remaining, _seconds(state.reset))
            for debit, state in zip(debits, states, strict=True)
        ]
    )
    return [_policy_field(policies), _left_field(left)]


def batch_fields(counted: Iterable[tuple[Debit, LimitState | None]]) -> Headers:
    """The fields of an answer to several messages: of each limit the tightest state that one of them left.

    Under one key that is the state after the last of them, since each takes something away. Where a limit
    counts messages apart, by tool for instance, it is that of the key of which least is left.
    """
    tightest: dict[tuple[str, int, int], tuple[Debit, LimitState | None]] = {}
    for debit, state in counted:
        limit = (debit.name, debit.quota, debit.window)
        known = tightest.get(limit)
        if known is None or _is_tighter(state, known[1]):
            tightest[limit] = (debit, state)
    debits = [debit for debit, _ in tightest.values()]
    return rate_limit_fields(debits, [state for _, state in tightest.values() if state is not None])


def _is_tighter(state: LimitState | None, than: LimitState | None) -> bool:
    if state is None or than is None:
        return state is None  # which is not guessed for
    return (state.remaining, -state.reset) < (than.remaining, -than.reset)


def with_fields(send: Send, fields: Headers) -> Send:
    """A `send` that adds the fields to the answer, whoever gives it."""
    if not fields:
        return send

    def with_rate_limit(event: Event) -> Awaitable[None]:
        if event["type"] == "http.response.start":
            event = {**event, "headers": [*event.get("headers", ()), *fields]}
        return send(event)

    return with_rate_limit


@lru_cache(1000)
def _policy_field(policies: tuple[tuple[str, int, int], ...]) -> tuple[bytes, bytes]:
    items = [f"{_string(name)};q={quota};w={window}" for name, quota, window in policies]
    return b"ratelimit-policy", ", ".join(items).encode()


@lru_cache(1000)
def _left_field(left: tuple[tuple[str, int, int], ...]) -> tuple[bytes, bytes]:
    items = [f"{_string(name)};r={remaining};t={seconds}" for name, remaining, seconds in left]
    return b"ratelimit", ", ".join(items).encode()


@lru_cache(1000)
def _string(text: str) -> str:
    """A String of RFC 9651 §3.3.3; limits have names of visible ASCII."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _seconds(reset: float) -> int:
    # As Retry-After is rounded: never too early, and without what is left of calculation.
    return math.ceil(round(reset, 3))
