"""RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-11), structured fields of RFC 9651.

They tell what a client may still do, so that it need not run into a limit to find it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mcpauth_middleware.asgi import Headers
    from mcpauth_middleware.limits.limiter import Debit, LimitState

_ROUND_UP: Final = 0.9995
"""To whole seconds, never too early, but for half a millisecond: so much may be left of calculation."""


class RateLimitFields:
    """The fields of the answers to what is counted under these debits.

    `q` calls are allowed in `w` seconds; `r` are left. `t` is when all of them will be there again, or,
    when none is left, when the next one will be.
    """

    def __init__(self, debits: Sequence[Debit]) -> None:
        names = [_string(debit.name) for debit in debits]
        policies = [
            f"{name};q={debit.quota};w={debit.window}" for name, debit in zip(names, debits, strict=True)
        ]
        self._policies = (b"ratelimit-policy", ", ".join(policies).encode())
        # Nothing but the numbers changes from one answer to the next.
        self._left = ", ".join(name.replace("%", "%%") + ";r=%d;t=%d" for name in names).encode()
        self._count = len(debits)

    def told(self, states: Sequence[LimitState]) -> Headers:
        """With what is left, as far as the limiter tells; none when nothing is counted."""
        if not self._count:
            return []
        if len(states) != self._count:
            return [self._policies]
        left = [value for remaining, reset in states for value in (remaining, int(reset + _ROUND_UP))]
        return [self._policies, (b"ratelimit", self._left % tuple(left))]


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
    return RateLimitFields(debits).told([state for _, state in tightest.values() if state is not None])


def _is_tighter(state: LimitState | None, than: LimitState | None) -> bool:
    if state is None or than is None:
        return state is None  # which is not guessed for
    return (state.remaining, -state.reset) < (than.remaining, -than.reset)


def _string(text: str) -> str:
    """A String of RFC 9651 §3.3.3; limits have names of visible ASCII."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
