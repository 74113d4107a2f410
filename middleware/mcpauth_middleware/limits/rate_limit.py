"""What a rate limit says: how many calls in which time, counted apart for whom."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, cast, get_args

from mcpauth_middleware.limits.gcra import MICROSECONDS, Gcra
from mcpauth_middleware.policy.patterns import Pattern, pattern_problem, readings

if TYPE_CHECKING:
    from mcpauth_middleware.message.request import Message

Dimension = Literal["user", "client", "tool", "address", "token", "tenant"]

_DIMENSIONS: Final = get_args(Dimension)
_PERIODS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_LABEL: Final = re.compile(r"[\x20-\x7e]{1,100}")
_RATE: Final = re.compile(r"([1-9][0-9]{0,6})/(second|minute|hour|day)")


@dataclass(frozen=True)
class RateLimit:
    """`rate` calls ("60/minute"), counted apart for each combination of `by`; `by=()` counts all together.

    In any time t there are never more than `burst + rate * t` calls; `burst` is the rate's own number unless
    given. A limit that counts by tool, or names `tools`, is about tool calls only; any other is about every
    JSON-RPC request.

    Raises:
        ValueError: a member is wrong; the message names it and the mend.
    """

    rate: str
    by: tuple[Dimension, ...] = ("user",)
    burst: int | None = None
    tools: tuple[str, ...] = ("*",)
    name: str | None = None
    gcra: Gcra = field(init=False, repr=False, compare=False)
    quota: int = field(init=False, repr=False, compare=False)
    window: int = field(init=False, repr=False, compare=False)
    """The rate in numbers: `quota` calls in `window` seconds."""
    identity: str = field(init=False, repr=False, compare=False)
    _patterns: tuple[Pattern, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        count, period = _parsed_rate(self.rate)
        _check_dimensions(self.by)
        if self.name is not None and not _LABEL.fullmatch(self.name):
            raise ValueError(f"name: must be at most 100 visible ASCII characters (got {self.name!r})")
        # Rounded up: the other way would admit more than was promised.
        interval_us = -(-period * MICROSECONDS // count)
        burst = count if self.burst is None else _checked_burst(self.burst)
        # A frozen dataclass leaves no other way to keep what is derived.
        object.__setattr__(self, "gcra", Gcra(interval_us, burst))
        object.__setattr__(self, "quota", count)
        object.__setattr__(self, "window", period)
        object.__setattr__(self, "_patterns", _compiled(self.tools))
        # What tells its keys from those of other limits, in every process.
        object.__setattr__(self, "identity", repr(self))

    @property
    def label(self) -> str:
        """What the limit is called in answers and in the journal."""
        return self.name or f"{self.rate} per {' and '.join(self.by) or 'server'}"

    def concerns(self, tool: str | None) -> bool:
        """Whether a request is counted that calls this tool; None: that calls none."""
        if self.tools == ("*",) and "tool" not in self.by:
            return True
        if tool is None:
            return False
        names = readings("tool", tool).every
        return any(pattern.matches_any(names) for pattern in self._patterns)


def called_tool(message: Message) -> str | None:
    """The tool that the message calls, if it calls one."""
    return message.targets[0].name if message.method == "tools/call" and message.targets else None


def _parsed_rate(rate: object) -> tuple[int, int]:
    match = _RATE.fullmatch(rate) if isinstance(rate, str) else None
    if match is None:
        raise ValueError(f'rate: must be like "60/minute", per {", ".join(_PERIODS)} (got {rate!r})')
    return int(match[1]), _PERIODS[match[2]]


def _checked_burst(burst: object) -> int:
    if not isinstance(burst, int) or isinstance(burst, bool) or burst < 1:
        raise ValueError(f"burst: must be at least 1: how many calls may come at once (got {burst!r})")
    return burst


def _check_dimensions(by: object) -> None:
    known = isinstance(by, tuple) and all(one in _DIMENSIONS for one in cast("tuple[object, ...]", by))
    if not known:
        raise ValueError(f'by: must be a tuple of {", ".join(_DIMENSIONS)}, as in by=("user",) (got {by!r})')


def _compiled(tools: object) -> tuple[Pattern, ...]:
    if not isinstance(tools, tuple) or not tools:
        raise ValueError(f'tools: must be a tuple of patterns, as in tools=("delete_*",) (got {tools!r})')
    return tuple(_pattern(text) for text in cast("tuple[object, ...]", tools))


def _pattern(text: object) -> Pattern:
    problem = pattern_problem("tool", text) if isinstance(text, str) else "must be a string"
    if problem is not None:
        raise ValueError(f"tools: {text!r}: {problem}")
    return Pattern("tool", str(text))
