"""The hours of a week in which a rule holds, in a time zone of the IANA database."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from mcpauth_middleware.policy.errors import PolicyError, Unevaluable
from mcpauth_middleware.policy.facts import DAYS

if TYPE_CHECKING:
    from mcpauth_middleware.policy.facts import Facts

_HOURS: Final = re.compile(r"([0-9]{2}):([0-5][0-9])-([0-9]{2}):([0-5][0-9])")
_DAY_MINUTES: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Days and hours, as in `TimeWindow("Europe/Paris", "mon-fri", "08:00-19:00")`.

    The end is not part of it. Hours that end before they begin last over midnight, and belong to the day
    on which they begin.

    Raises:
        PolicyError: the zone is unknown, or days or hours are written otherwise.
    """

    zone: str = "UTC"
    days: str = "mon-sun"
    hours: str = "00:00-24:00"
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)
    _days: frozenset[int] = field(init=False, repr=False, compare=False)
    _minutes: tuple[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_zone", _zone(self.zone))
        object.__setattr__(self, "_days", _days(self.days))
        object.__setattr__(self, "_minutes", _minutes(self.hours))

    def holds(self, facts: Facts) -> bool:
        """Whether it is that time now.

        Raises:
            Unevaluable: nobody knows what time it is.
        """
        now = self._local(facts)
        begin, end = self._minutes
        minute = now.hour * 60 + now.minute
        today = now.weekday() in self._days
        if begin < end:
            return today and begin <= minute < end
        yesterday = (now.weekday() - 1) % 7 in self._days
        return (today and minute >= begin) or (yesterday and minute < end)

    def observed(self, facts: Facts) -> str:
        """Day and time in the zone."""
        now = self._local(facts)
        return f"{DAYS[now.weekday()]} {now:%H:%M} {self.zone}"

    def _local(self, facts: Facts) -> datetime:
        try:
            return datetime.fromtimestamp(facts.now, self._zone)
        except (ValueError, OverflowError, OSError):
            raise Unevaluable("the time is no moment of the calendar") from None


def _zone(name: object) -> ZoneInfo:
    try:
        return ZoneInfo(name if isinstance(name, str) else "")
    # What it raises for a bad key differs with the key: also errors of reading files and folders.
    except (OSError, ValueError, LookupError):
        mend = (
            "name one of the IANA database such as Europe/Paris (systems without it need the tzdata package)"
        )
        raise PolicyError(f"time.zone: {name!r} is not known; {mend}") from None


def _days(text: object) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(",") if isinstance(text, str) else [""]:
        first, _, last = part.strip().partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise PolicyError(f'time.days: {text!r}: write days as "mon-fri" or "mon,wed,sat"')
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found.update((begin + step) % 7 for step in range((end - begin) % 7 + 1))
    return frozenset(found)


def _minutes(text: object) -> tuple[int, int]:
    match = _HOURS.fullmatch(text) if isinstance(text, str) else None
    if match is not None:
        hour, minute, last_hour, last_minute = map(int, match.groups())
        begin, end = hour * 60 + minute, last_hour * 60 + last_minute
        if begin < _DAY_MINUTES and end <= _DAY_MINUTES and begin != end:
            return begin, end
    raise PolicyError(f'time.hours: {text!r}: write hours as "08:00-19:00"')
