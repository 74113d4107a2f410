"""User codes: made of random bytes alone, and read however a person types them."""

from __future__ import annotations

import secrets
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpauth.oauth.user_code import ALPHABET, as_entered, as_shown, keyed_digest, make_user_code

KEY = b"k" * 32


def test_a_code_has_eight_letters_that_spell_no_word() -> None:
    """RFC 8628 §6.1: the suggested base-20 alphabet, no vowels; 20⁸ codes are 34.5 bits."""
    assert ALPHABET == "BCDFGHJKLMNPQRSTVWXZ"
    codes = [make_user_code(secrets.token_bytes) for _ in range(200)]
    assert {len(code) for code in codes} == {8}
    assert set("".join(codes)) <= set(ALPHABET)
    assert len(set(codes)) == len(codes)


def test_a_code_is_made_of_the_random_bytes_and_no_letter_comes_more_often() -> None:
    """RFC 8628 §5.1: the user code has enough entropy; 256 is no multiple of 20."""
    letters: list[str] = []
    for byte in range(256):
        rolls = [b"\0" * 8, bytes([byte] * 8)]

        def token_bytes(_: int, rolls: list[bytes] = rolls) -> bytes:
            return rolls.pop()

        code = make_user_code(token_bytes)
        assert len(set(code)) == 1
        # The second roll is needed where the first was passed over.
        letters.append(code[0] if rolls else "?")
    assert Counter(letters) == dict.fromkeys(ALPHABET, 12) | {"?": 16}


def test_a_code_is_shown_in_two_halves() -> None:
    assert as_shown("WDJBMJHT") == "WDJB-MJHT"


@pytest.mark.parametrize(
    "typed",
    [
        "WDJB-MJHT",
        "wdjb-mjht",
        "WdJbMjHt",
        " w d j b  m j h t ",
        "WDJB–MJHT",
        "WDJB\u2011MJHT\n",
        "w.d.j.b/mjht",
    ],
)
def test_a_code_may_be_typed_in_any_case_with_whatever_between(typed: str) -> None:
    """RFC 8628 §6.1: compare case-insensitively, strip what is not in the alphabet."""
    assert as_entered(typed) == "WDJBMJHT"


@pytest.mark.parametrize(
    "typed",
    ["", "-", "WDJB-MJH", "WDJB-MJHTX", "WDJB-MJH1", "AEIO-UYAE", "ＷDJB-MJHT", "W" * 7 + "-" * 200 + "W"],
)
def test_anything_else_is_no_code(typed: str) -> None:
    assert as_entered(typed) is None


@given(st.text())
def test_any_text_is_a_code_or_none(text: str) -> None:
    code = as_entered(text)
    assert code is None or (len(code) == 8 and set(code) <= set(ALPHABET))


def test_what_is_stored_of_a_code_needs_the_key() -> None:
    """34 bits could be tried out, if a plain digest were stored."""
    assert keyed_digest(KEY, "WDJBMJHT") == keyed_digest(KEY, "WDJBMJHT")
    assert keyed_digest(KEY, "WDJBMJHT") != keyed_digest(b"l" * 32, "WDJBMJHT")
