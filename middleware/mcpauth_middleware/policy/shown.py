"""Values as a person may see them in an explanation: short, on one line, and without secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TEXT: Final = 40
MAX_ITEMS: Final = 5

_SECRET_NAME: Final = re.compile(
    r"passw|secret|token|api_?key|private|credential|authori[sz]ation|cookie|signature|otp|\bpin\b",
    re.IGNORECASE,
)


def shown(value: object, name: str = "") -> str:
    """The value of what is called `name`; of a name that sounds like a secret only its kind is told."""
    if _SECRET_NAME.search(name) and value is not None:
        return f"({type(value).__name__}, hidden)"
    match value:
        case str():
            return _text(value)
        case Mapping():
            names = list(cast("Mapping[str, object]", value))
            return "{" + _some([_text(name) for name in names[:MAX_ITEMS]], len(names)) + "}"
        case list() | tuple() | frozenset():
            found = list(cast("Sequence[object]", value))
            return "[" + _some([shown(item) for item in found[:MAX_ITEMS]], len(found)) + "]"
        case _:
            return _cut(ascii(value))


def _text(text: str) -> str:
    return _cut(ascii(text[: MAX_TEXT * 2]), of=len(text))


def _cut(written: str, of: int | None = None) -> str:
    if len(written) <= MAX_TEXT:
        return written
    return written[:MAX_TEXT] + ("…" if of is None else f"… ({of} characters)")


def _some(items: list[str], count: int) -> str:
    return ", ".join(items) + (f", … ({count})" if count > len(items) else "")
