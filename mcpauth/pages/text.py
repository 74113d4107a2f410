"""Text from strangers, made fit to be shown: what a client calls itself, a login hint.

Escaping against HTML is the templates' work. This is against what is left: text that hides, reverses or
floods the page.
"""

from __future__ import annotations

import unicodedata

LONGEST = 60
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}  # controls, formatting (bidi overrides, zero-width), not assigned
_MARKS = {"Mn", "Me", "Mc"}
_MOST_MARKS = 3


def shown(text: str, longest: int = LONGEST) -> str:
    """The text on one line, shortened, without invisible characters and towers of accents."""
    # Cut first: the rest of a megabyte needs no work.
    kept: list[str] = []
    marks = 0
    for character in unicodedata.normalize("NFC", text[: longest * 8]):
        category = unicodedata.category(character)
        marks = marks + 1 if category in _MARKS else 0
        if category.startswith("Z") or character in "\t\n\r":
            kept.append(" ")
        elif category not in _INVISIBLE and marks <= _MOST_MARKS:
            kept.append(character)
    line = " ".join("".join(kept).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
