"""User codes, RFC 8628 §6.1: what a person reads on one device and types on another.

Eight letters of an alphabet of twenty, without vowels, so that no word comes out: 34 bits. That is little, so
a code lives for minutes, the page that takes it slows guessing down, and it is stored by a keyed digest: a
plain one could be undone by trying them all.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
LENGTH = 8
CODE = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")
# The largest multiple of the alphabet's size in a byte: beyond it the first letters would come more often.
_EVEN = 256 - 256 % len(ALPHABET)
_LONGEST_INPUT = 100


def make_user_code(token_bytes: Callable[[int], bytes]) -> str:
    """A new code, without its dash."""
    letters = ""
    while len(letters) < LENGTH:
        letters += "".join(ALPHABET[byte % len(ALPHABET)] for byte in token_bytes(LENGTH) if byte < _EVEN)
    return letters[:LENGTH]


def as_shown(code: str) -> str:
    """The code as people see it: `XXXX-XXXX`."""
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"


def as_entered(text: str) -> str | None:
    """The code that somebody typed, in any case, with whatever between the letters; None when it is none.

    §6.1: the server should ignore what is not in its alphabet, such as dashes. A wrong letter is not ignored:
    it takes the place of a right one.
    """
    letters = "".join(character for character in text[:_LONGEST_INPUT] if character.isalnum()).upper()
    return letters if CODE.fullmatch(letters) else None


def keyed_digest(key: bytes, code: str) -> str:
    """What a code is stored under."""
    return hmac.digest(key, code.encode("ascii"), "sha256").hex()
