"""Texts that are JSON of something else, which a server may take for that.

The MCP SDK for Python parses an argument that comes as a text where the tool takes anything but a text, since
some clients write lists and objects out: `'["/etc/passwd"]'` reaches the tool as a list, `'null'` as None.
So such a text is judged in both of its readings.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Final, TypeAlias, cast

from mcpauth_middleware.policy.errors import Unevaluable

_BEGINNINGS: Final = ("[", "{", "null")
_WHITE_SPACE: Final = " \t\n\r"

Written: TypeAlias = "tuple[list[object] | dict[str, object] | None]"


def written(text: str) -> Written | None:
    """The list, the object or the null that a text is, as the one item of a tuple; None for other texts."""
    begin = text.lstrip(_WHITE_SPACE)
    return _parsed(begin) if begin.startswith(_BEGINNINGS) else None


def refuse_written(*values: object) -> None:
    """Check that no value is a text that can be read as something else.

    Raises:
        Unevaluable: one is.
    """
    for value in values:
        if isinstance(value, str) and written(value) is not None:
            raise Unevaluable("a text can be read as a list, an object or null")


def plain(value: object) -> str:
    """A value written out without escapes, so that a text inside of it can be found."""
    return json.dumps(value, ensure_ascii=False)


@lru_cache(maxsize=16)  # several conditions look at one text
def _parsed(text: str) -> Written | None:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if value is None or isinstance(value, (list, dict)):
        return (cast("list[object] | dict[str, object] | None", value),)
    return None
