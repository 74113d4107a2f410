"""The values and tables of a settings file: what each has to be, and what is said when it is not."""

from __future__ import annotations

import difflib
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from mcpauth.settings import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Wrong(ValueError):
    """What is wrong with one value; the caller knows the field and its source."""


def row(
    table: Mapping[str, Any],
    fields: Mapping[str, Callable[[object], Any]],
    where: str,
    source: str,
    *,
    also: tuple[str, ...] = (),
    required: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The parsed values of one table; `also` names keys that the caller reads itself."""
    _refuse_unknown(table, (*fields, *also), where, source)
    for field in required:
        if not table.get(field):
            raise ConfigurationError(f"{where}{field}", "is missing", source=source)
    values: dict[str, Any] = {}
    for field in fields.keys() & table.keys():
        try:
            values[field] = fields[field](table[field])
        except Wrong as wrong:
            raise ConfigurationError(f"{where}{field}", str(wrong), source=source) from None
    return values


def _refuse_unknown(table: Mapping[str, Any], known: Sequence[str], where: str, source: str) -> None:
    for key in table:
        if key not in known:
            meant = difflib.get_close_matches(key, known, n=1)
            advice = f"did you mean {meant[0]}?" if meant else f"known are {', '.join(sorted(known))}"
            raise ConfigurationError(f"{where}{key}", f"is no setting; {advice}", source=source)


def tables(raw: object, where: str, source: str) -> list[tuple[str, dict[str, Any]]]:
    """The tables of `[[where]]`, each with the name under which an error speaks of it."""
    rows = cast("list[object]", raw) if isinstance(raw, list) else [raw]
    if not all(isinstance(row, dict) for row in rows):
        name = re.sub(r"\[[0-9]+\]", "", where)
        raise ConfigurationError(where, f"must be written as [[{name}]] tables", source=source)
    return [(f"{where}[{number}].", cast("dict[str, Any]", row)) for number, row in enumerate(rows, start=1)]


# Values: each parser takes what TOML gives, and says what it would have liked.


def text(raw: object) -> str:
    """A text."""
    if not isinstance(raw, str):
        raise Wrong(f"must be text in quotes (got {raw!r})")
    if any(ord(character) < 32 or ord(character) == 127 for character in raw):
        raise Wrong(f"must not contain control characters (got {raw!r})")
    return raw


def integer(raw: object) -> int:
    """A whole number."""
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise Wrong(f"must be a whole number (got {raw!r})")
    return raw


def switch(raw: object) -> bool:
    """True or false."""
    if not isinstance(raw, bool):
        raise Wrong(f"must be true or false (got {raw!r})")
    return raw


def texts(raw: object) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(raw, list):
        raise Wrong(f"must be a list of texts (got {raw!r})")
    return tuple(text(item) for item in cast("list[object]", raw))


def duration(raw: object) -> timedelta:
    """A duration, such as `10m`."""
    parts = re.fullmatch(r"([0-9]{1,9})([smhd])", raw) if isinstance(raw, str) else None
    if parts is None:
        raise Wrong(f'must be a duration such as "90s", "10m", "12h" or "30d" (got {raw!r})')
    return timedelta(**{_UNITS[parts[2]]: int(parts[1])})
