"""Texts that are JSON of something else, which a server may take for that.

The MCP SDK for Python parses an argument that comes as a text where the tool takes anything but a text, since
some clients write lists and objects out: `'["/etc/passwd"]'` reaches the tool as a list, `'null'` as None.
So such a text is judged in both of its readings.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from mcpauth_middleware.policy.errors import Unevaluable

if TYPE_CHECKING:
    from collections.abc import Mapping

_BEGINNINGS: Final = ("[", "{", "null")
_WHITE_SPACE: Final = " \t\n\r"
_NO_VALUE: Final = object()
"""Of no kind that a condition knows: it is there, and nothing can be said of it."""

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


def of_a_prompt(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of a prompt, where a text that is JSON of a text has no value.

    FastMCP parses what a prompt takes as anything but `str`, such as a literal, an enumeration or a path: for
    that one `'"/etc/passwd"'` is `/etc/passwd`, and for others it is a text with quotes.
    """
    if not any(map(_is_quoted, arguments.values())):
        return arguments
    return {name: _NO_VALUE if _is_quoted(value) else value for name, value in arguments.items()}


def plain(value: object) -> str:
    """A value written out without escapes, so that a text inside of it can be found."""
    return json.dumps(value, ensure_ascii=False)


def _is_quoted(value: object) -> bool:
    # Not parsed: which escapes there are, parsers see differently.
    bare = value.strip() if isinstance(value, str) else ""
    return len(bare) > 1 and bare.startswith('"') and bare.endswith('"')


@lru_cache(maxsize=16)  # several conditions look at one text
def _parsed(text: str) -> Written | None:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if value is None or isinstance(value, (list, dict)):
        return (cast("list[object] | dict[str, object] | None", value),)
    return None
