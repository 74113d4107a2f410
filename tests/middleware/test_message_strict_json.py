"""JSON with a single reading, RFC 8259."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_core import from_json

from mcpauth_middleware.message.strict_json import MAX_DEPTH, StrictJsonError, parse

REFUSED = {
    "nothing": b"",
    "only space": b"  \n",
    "trailing junk": b'{"a":1} x',
    "two documents": b"{}{}",
    "a trailing comma": b"[1,]",
    "a comment": b"[1] // one",
    "single quotes": b"{'a':1}",
    "a leading zero": b"01",
    "a plus sign": b"+1",
    "hexadecimal": b"0x10",
    "a raw newline in a string": b'"a\nb"',
    "a raw NUL in a string": b'"a\x00b"',
    "a NUL after the document": b"{}\x00",
    "a form feed as space": b"\x0c{}",
    "a no-break space": "\u00a0{}".encode(),
    "an unknown escape": rb'"\x41"',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "UTF-16 without a mark": '{"a":1}'.encode("utf-16-le"),
    "UTF-32": "{}".encode("utf-32"),
    "Latin-1": '"\u00e9"'.encode("latin-1"),
    "an overlong slash": b'"\xc0\xaf"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "a lone high surrogate": rb'"\ud800"',
    "a lone low surrogate": rb'"\uDC00"',
    "surrogates the wrong way round": rb'"\udc00\ud800"',
    "a lone surrogate in a key": rb'{"\ud800":1}',
    "a lone surrogate far down": rb'[[{"a":["\uD9ab"]}]]',
    "a key twice": b'{"a":1,"a":1}',
    "a key twice, once escaped": rb'{"method":1,"\u006dethod":2}',
    "a key twice far down": b'[{"a":{"b":1,"c":2,"b":3}}]',
    "the empty key twice": b'{"":1,"":2}',
    "NaN": b"NaN",
    "Infinity": b'{"a":Infinity}',
    "minus Infinity": b"[-Infinity]",
    "nan in lower case": b"nan",
    "a number beyond a double": b"1e400",
    "a negative number beyond a double": b"-1e400",
    "an integer of 101 digits": b"9" * 101,
    "an integer of 100,000 digits": b"9" * 100_000,
    "a very long fraction": b"0." + b"1" * 1000,
    "a level too deep": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "a level too deep, mixed": b'[{"a":' * 33 + b"1" + b"}]" * 33,
    "100,000 levels": b"[" * 100_000 + b"]" * 100_000,
    "100,000 open brackets": b"[" * 100_000,
    "100,000 open objects": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("document", REFUSED.values(), ids=REFUSED.keys())
def test_what_parsers_disagree_on_is_refused(document: bytes) -> None:
    """RFC 8259 §4, §8.1, §8.2, §9: each of these is read differently by some parser in use."""
    with pytest.raises(StrictJsonError) as refused:
        parse(document)
    assert "\ud800" not in str(refused.value)
    assert len(str(refused.value)) < 100


ACCEPTED = [
    b"null",
    b" [ ] ",
    b'{"a":{"a":1},"b":{"a":2}}',
    b"[-0, 0.5, 1e308, -1.5E-7]",
    b"9" * 100,
    '"\u00fc \U0001f600 \u2028"'.encode(),
    rb'"\ud83d\ude00"',
    rb'"\\ud800"',
    b'"' + rb"\"" * 1000 + b'"',
    b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
    b'"' + b"[" * 1000 + b'"',
    b'["' + rb"\\" + b'", "' + b"{[" * 100 + b'"]',
    b"[" + b"[]," * 1000 + b"[]]",
]


@pytest.mark.parametrize("document", ACCEPTED)
def test_a_plain_document_is_read_as_the_standard_library_reads_it(document: bytes) -> None:
    """RFC 8259 §2: refusing is only for what has several readings."""
    assert parse(document) == json.loads(document)


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**90), 10**90)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(JSON_VALUES, st.booleans())
def test_every_valid_document_is_read_as_the_standard_library_reads_it(
    value: object, ensure_ascii: bool
) -> None:
    """RFC 8259 §2."""
    document = json.dumps(value, ensure_ascii=ensure_ascii).encode()
    assert parse(document) == value


@given(st.binary(max_size=60))
@example(b'{"a":"\xff"}')
def test_arbitrary_bytes_are_read_or_refused_and_nothing_else(document: bytes) -> None:
    """Hostile input never gives another exception."""
    try:
        value = parse(document)
    except StrictJsonError:
        return
    assert value == json.loads(document)


@given(st.text(alphabet='{}[]",:\\ud8a0e1-.n', max_size=60))
def test_arbitrary_fragments_of_json_are_read_or_refused_and_nothing_else(document: str) -> None:
    """Hostile input never gives another exception."""
    try:
        value = parse(document.encode())
    except StrictJsonError:
        return
    # The second is the parser of the MCP SDK's session transport.
    assert value == json.loads(document) == from_json(document)


@pytest.mark.parametrize(
    "document",
    [
        b'"' + rb"\"" * 500_000,
        b'["' + rb"\"" * 500_000 + b'"' + b"[" * 100,
        b"[" + (b"[" * 63 + b"]" * 63 + b",") * 8_000 + b"1]",
        b"[" + b"[]," * 300_000 + b"[]]",
    ],
    ids=["an open string of escapes", "escapes before open brackets", "many deep lists", "many lists"],
)
def test_a_megabyte_that_is_made_to_be_slow_is_answered(document: bytes) -> None:
    """A depth check that took quadratic time would run into the time limit of every test."""
    try:
        value = parse(document)
    except StrictJsonError:
        return
    assert value == json.loads(document)
