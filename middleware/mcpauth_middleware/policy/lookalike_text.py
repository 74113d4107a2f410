"""Texts that a person or another program could take for one another, Unicode NFKC and UTS 39.

A comparison that a full-width letter, a Cyrillic `а` or an invisible character can turn around has no
answer: `judged` gives one only when it is the same for the text as it is and for what it looks like.

Normalizing takes quadratic time in the combining marks that follow each other, so that a text of a few
kilobytes could hold up a server for seconds. What UAX 15 §13 (Stream-Safe Text Format) lets no text have, a
longer row of them, has no answer either.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from mcpauth_middleware.policy.errors import Unevaluable

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SKELETON: Final = 65_536
MAX_MARKS: Final = 30
"""UAX 15 §13, D3: how many combining marks may follow each other."""

_LIKE_ASCII: Final = {
    # Cyrillic
    "аеорсухіјѕһԁԛԝӏкмтвнгпиАВЕКМНОРСТУХІЈЅԌԚԜӀЗ": "aeopcyxijshdqwlkmtbhrnuABEKMHOPCTYXIJSGQWI3",
    # Greek
    "αιονρυκτγχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ": "aiovpuktyxABEZHIKMNOPTYX",
    # Armenian, Latin extensions
    "օսհոցɑɡıɩʏꞁǀ": "oshngagiiyll",
    # Punctuation that paths, hosts and numbers are written with
    "⁄∕⧸⟋╱‐‑‒–—―−。·‚‘’“”ː∶։∗⁎": "/////-------..,''\"\":::**",
}
_LETTERS: Final = {
    ord(character): likeness
    for characters, likenesses in _LIKE_ASCII.items()
    for character, likeness in zip(characters, likenesses, strict=True)
}
# Default_Ignorable_Code_Point, and the controls that are drawn as nothing.
_INVISIBLE: Final = re.compile(
    "[\u0080-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
# `int("١")` is 1 in Python.
_OTHER_DIGIT: Final = re.compile(r"(?![0-9])\d")


def skeleton(text: str) -> str:
    """What `text` looks like, in ASCII as far as it looks like ASCII.

    Raises:
        Unevaluable: it has more combining marks in a row than any text.
    """
    return text if text.isascii() else _skeleton(text)


@lru_cache(maxsize=16)  # several conditions look at one text
def _skeleton(text: str) -> str:
    if _too_many_marks().search(text):
        raise Unevaluable(f"a text holds more than {MAX_MARKS} combining marks in a row")
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).translate(_LETTERS)
    return _OTHER_DIGIT.sub(_digit, visible)


@cache
def _too_many_marks() -> re.Pattern[str]:
    """Finds a row of marks: of characters that are one, or become one when they are decomposed."""
    marks = [code for code in range(0x300, 0x1F000) if _becomes_mark(chr(code))]
    ranges = [[marks[0], marks[0]]]
    for code in marks[1:]:
        if code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    members = "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
    return re.compile(f"[{members}]{{{MAX_MARKS + 1}}}")


def _becomes_mark(character: str) -> bool:
    return unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) != 0


def _digit(match: re.Match[str]) -> str:
    return str(unicodedata.decimal(match[0]))


def visible_length(text: str) -> int:
    """How long `text` looks."""
    if text.isascii():
        return len(text)
    # What removes characters one by one would take long for a long text.
    return len(skeleton(text) if len(text) <= MAX_SKELETON else _INVISIBLE.sub("", text))


def judged(predicate: Callable[..., bool], *texts: str) -> bool:
    """Whether the predicate holds of the texts.

    Raises:
        Unevaluable: of what they look like it does not hold, or the other way round.
    """
    answer = predicate(*texts)
    if all(map(str.isascii, texts)):
        return answer
    if predicate(*map(skeleton, texts)) is not answer:
        raise Unevaluable("a text holds characters that can be taken for others")
    return answer
