"""The compact serialization of RFC 7515: one token has one spelling."""

from __future__ import annotations

import string
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpauth_middleware.errors import InvalidToken
from mcpauth_middleware.tokens.compact import read_compact

ALPHABET = string.ascii_letters + string.digits + "-_"


def segment(document: bytes) -> str:
    return urlsafe_b64encode(document).rstrip(b"=").decode()


HEADER, CLAIMS = segment(b'{"alg":"ES256"}'), segment(b'{"iss":"a"}')


@pytest.mark.parametrize("length", range(1, 9))
def test_of_all_endings_only_those_are_read_that_encoding_gives(length: int) -> None:
    """RFC 4648 §3.5: bits that belong to no byte are zero."""
    for last in ALPHABET:
        signature = "A" * (length - 1) + last
        padded = signature + "=" * (-length % 4)
        is_canonical = length % 4 != 1 and segment(urlsafe_b64decode(padded)) == signature
        if is_canonical:
            assert segment(read_compact(f"{HEADER}.{CLAIMS}.{signature}").signature) == signature
        else:
            with pytest.raises(InvalidToken):
                read_compact(f"{HEADER}.{CLAIMS}.{signature}")


@given(signature=st.binary(min_size=1, max_size=100))
def test_what_is_encoded_is_read_back(signature: bytes) -> None:
    """§7.1; the header is the same object for every token that begins alike, and nobody can change it."""
    one = read_compact(f"{HEADER}.{CLAIMS}.{segment(signature)}")
    other = read_compact(f"{HEADER}.{segment(b'{}')}.AA")
    assert (one.signature, one.claims) == (signature, {"iss": "a"})
    assert one.signing_input == f"{HEADER}.{CLAIMS}".encode()
    assert one.header == other.header == {"alg": "ES256"}
    with pytest.raises(TypeError):
        one.header["alg"] = "none"  # type: ignore[index]


@pytest.mark.parametrize("header", [b"[]", b'{"alg":"a","alg":"b"}', b"x", b'{"a":NaN}'])
def test_a_header_that_is_no_strict_object_is_refused_each_time(header: bytes) -> None:
    """A refusal is not remembered as anything else."""
    for _ in range(2):
        with pytest.raises(InvalidToken):
            read_compact(f"{segment(header)}.{CLAIMS}.AA")
