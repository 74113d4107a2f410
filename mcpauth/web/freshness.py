"""How long an answer may be kept, RFC 9111 §4.2 and §5.2, by a cache that many users share."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOT_KEPT = frozenset({"no-store", "no-cache", "private"})
_SECONDS = re.compile(r'"?([0-9]+)"?')
_LONGEST = 2**31  # RFC 9111 §1.2.2


def fresh_for(headers: Mapping[str, str], now: float) -> int | None:
    """The seconds for which the answer is fresh: 0 is not to be kept, None is that it does not say.

    `headers` have lower-case names; a header that came several times is joined with commas.
    """
    directives = _directives(headers.get("cache-control", ""))
    if _NOT_KEPT & directives.keys() or "*" in headers.get("vary", ""):
        return 0
    for name in ("s-maxage", "max-age"):
        if name in directives:
            return max(_seconds(directives[name]) - _seconds(headers.get("age", "0")), 0)
    return _until(headers["expires"], now) if "expires" in headers else None


def _directives(text: str) -> dict[str, str]:
    directives: dict[str, str] = {}
    for directive in text.split(","):
        name, _, value = directive.strip().partition("=")
        # §4.2.1: of two values the first counts, or the shorter life; here the first.
        directives.setdefault(name.strip().lower(), value.strip())
    return directives


def _seconds(text: str) -> int:
    match = _SECONDS.fullmatch(text.strip())
    # §4.2.1: what is no number is stale.
    return min(int(match[1][:20]), _LONGEST) if match else 0


def _until(expires: str, now: float) -> int:
    try:
        return max(int(parsedate_to_datetime(expires).timestamp() - now), 0)
    except (ValueError, OverflowError):
        return 0  # §5.3: an invalid date is in the past
