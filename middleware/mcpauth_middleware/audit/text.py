"""An event as JSON text (RFC 8259) in ASCII: nothing in it can end a line or reach a terminal.

The events of a call tell much the same, and most of it has a shape that is known beforehand. So text is put
together, where objects would be built for each event only to be taken apart again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from json.encoder import encode_basestring_ascii
from typing import Any

string = encode_basestring_ascii
"""A text, in quotation marks."""


def _encoder(*, sort_keys: bool) -> Callable[[object], str]:
    """What encodes any value: that which `JSONEncoder` makes each time it is used, made once."""
    encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False, sort_keys=sort_keys)
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    members = (None, encoder.default, string, None, ":", ",", sort_keys, encoder.skipkeys, encoder.allow_nan)
    try:
        encode = make(*members)
    except TypeError:
        return encoder.encode  # another Python does it in another way
    return lambda anything: "".join(encode(anything, 0))


value = _encoder(sort_keys=False)
"""Any value. Raises `TypeError` or `ValueError` when it holds what JSON does not."""

sorted_value = _encoder(sort_keys=True)
"""The same with the members of each object in order: one text for what is the same."""


def string_or_null(text: str | None) -> str:
    """A text that may be missing."""
    return "null" if text is None else string(text)


def strings(texts: Iterable[str]) -> str:
    """An array of texts."""
    return f"[{','.join(map(string, texts))}]"


def members_of(mapping: Mapping[str, Any]) -> str:
    """The members of an object, without the braces around them.

    Raises:
        TypeError, ValueError: one holds what JSON does not.
    """
    return value(dict(mapping))[1:-1]


class Event(Mapping[str, Any]):
    """An event: `text` has its members, without the braces around them. They are read when somebody asks."""

    def __init__(self, text: str) -> None:
        self.text = text

    def members(self) -> dict[str, Any]:
        """What it says, for whoever wants to keep it: nobody else holds this dictionary."""
        members: dict[str, Any] = json.loads(f"{{{self.text}}}")
        return members

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 (a member of any kind)
        """One member."""
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        """The names of the members."""
        return iter(self._members)

    def __len__(self) -> int:
        """How many members there are."""
        return len(self._members)

    @cached_property
    def _members(self) -> dict[str, Any]:
        return self.members()
