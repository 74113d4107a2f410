"""JSON (RFC 8259) of which every parser gives the same reading, or none at all.

A policy that reads a message in one way while the server behind it reads it in another decides about nothing.
So whatever parsers are known to disagree on is refused: other encodings than UTF-8, a byte order mark,
repeated keys (§4), NaN and infinities, numbers beyond a double, lone surrogates (§8.2), and nesting that
exhausts a stack.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from itertools import accumulate
from typing import Any, NoReturn, cast

MAX_DEPTH = 64
# Room for a 256-bit integer; far below what makes int() and str() slow.
MAX_NUMBER_LENGTH = 100

_WHITE_SPACE = " \t\n\r"
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
# Each opening bracket becomes +1, each closing one -1 (as signed bytes).
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[{]}")))


class StrictJsonError(ValueError):
    """The bytes are not JSON, or not JSON with a single reading. The text holds nothing of the input."""


class OutOfBoundsError(StrictJsonError):
    """They are JSON, with a number or a depth that nobody reads alike: a client's library may write it."""


def parse(document: bytes) -> object:
    """Parse `document`.

    Raises:
        StrictJsonError: it is refused; the message says why.
    """
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError:
        raise StrictJsonError("not UTF-8") from None
    text = text.strip(_WHITE_SPACE)
    try:
        value, end = _DECODER.raw_decode(text)
    except StrictJsonError:
        raise
    except RecursionError:
        raise StrictJsonError(f"nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        raise StrictJsonError("not valid JSON") from None
    if end != len(text):
        raise StrictJsonError("not valid JSON")
    # Only what opens can be too deep, and only an escape can make a surrogate: decoding refused the raw ones.
    if document.count(b"[") + document.count(b"{") > MAX_DEPTH:
        _refuse_depth(document)
    if "\\u" in text:
        _refuse_lone_surrogates(text, value)
    return value


def member_of_refused(document: bytes, name: str) -> object:
    """A member of an object that is out of bounds, where it is no number out of bounds itself; else None.

    Nothing may be decided by it: it is the last of those with its name.
    """
    try:
        value: object = _LENIENT_DECODER.decode(document.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    raise StrictJsonError("an object has the same key twice")


def _integer(literal: str) -> int:
    if len(literal) > MAX_NUMBER_LENGTH:
        raise OutOfBoundsError("a number is too long")
    return int(literal)


def _integer_if_short(literal: str) -> int | None:
    return int(literal) if len(literal) <= MAX_NUMBER_LENGTH else None


def _no_value(_literal: str) -> None:
    return None


def _real(literal: str) -> float:
    if len(literal) > MAX_NUMBER_LENGTH:
        raise OutOfBoundsError("a number is too long")
    number = float(literal)
    if math.isinf(number):
        raise OutOfBoundsError("a number is too large")
    return number


def _constant(_literal: str) -> NoReturn:
    raise StrictJsonError("NaN and Infinity are not JSON")


def _refuse_depth(document: bytes) -> None:
    # Only for valid JSON, where every string ends: on anything else the pattern could take quadratic time.
    steps = array("b", _STRING.sub(b"", document).translate(_STEPS, _NOT_BRACKETS))
    if max(accumulate(steps), default=0) > MAX_DEPTH:
        raise OutOfBoundsError(f"nested deeper than {MAX_DEPTH} levels")


def _refuse_lone_surrogates(text: str, value: object) -> None:
    if "\\ud" not in text and "\\uD" not in text:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise StrictJsonError("a string holds a lone surrogate") from None


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_constant
)
_LENIENT_DECODER = json.JSONDecoder(parse_int=_integer_if_short, parse_float=_no_value)
