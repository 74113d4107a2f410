"""Regular expressions of a schema (ECMA-262, as JSON Schema has them), matched in bounded time.

A server may write a pattern that its own engine matches in linear time and Python's does not. What could
take exponential time is not matched at all, and the more repetitions a pattern has, the shorter must be
the text that is matched with it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_STEPS = 20_000_000
MAX_TEXT_LENGTH = 1_000_000

_PIECE = re.compile(
    r"""
    (?P<escape>\\.) | (?P<set>\[\^?\]?(?:\\.|[^\]\\])*\]) | (?P<open>\() | (?P<close>\)) |
    (?P<repeat>[*+?]|\{[0-9]*(?:,[0-9]*)?\}) | (?P<choice>\|) | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def longest_text(pattern: str) -> int:
    """How long a text may be for the pattern to be matched in about `MAX_STEPS` at most."""
    endless = sum(piece[0] in ("*", "+") or piece[0].endswith(",}") for piece in _repeats(pattern))
    # Where it is not held to the beginning it is tried from every character.
    degree = endless + (not pattern.startswith("^"))
    return MAX_TEXT_LENGTH if degree < 2 else int(MAX_STEPS ** (1 / degree))


def may_explode(pattern: str) -> bool:
    """Whether something that varies is repeated without an end, as in `(a+)+` and `(a|b)*`."""
    varies = [False]
    closed_varies = False
    follows_group = False
    for piece in _PIECE.finditer(pattern):
        kind = piece.lastgroup
        if kind == "open":
            varies.append(False)
        elif kind == "close" and len(varies) > 1:
            closed_varies = varies.pop()
            varies[-1] |= closed_varies
        elif kind == "repeat":
            if follows_group and closed_varies and piece[0] != "?":
                return True
            varies[-1] = True
        elif kind == "choice":
            varies[-1] = True
        follows_group = kind == "close"
    return False


def _repeats(pattern: str) -> Iterator[re.Match[str]]:
    return (piece for piece in _PIECE.finditer(pattern) if piece.lastgroup == "repeat")
