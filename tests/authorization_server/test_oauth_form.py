"""Form-encoded parameters, RFC 6749 Appendix B, read as Python's own parser reads them, or not at all."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpauth.oauth.errors import InvalidRequest
from mcpauth.oauth.form import MAX_PARAMETERS, Form, parse_form

PIECES = st.sampled_from(
    [
        b"a",
        b"=",
        b"&",
        b"+",
        b"%",
        b"%20",
        b"%2B",
        b"%C3",
        b"%A9",
        "é".encode(),
        b"\xc3",
        b"\xff",
        b"%zz",
        b";",
    ]
)


def read_by_python(data: bytes) -> list[tuple[str, str]] | None:
    try:
        return parse_qsl(data.decode("utf-8"), keep_blank_values=True, errors="strict")
    except ValueError:
        return None


@given(st.lists(PIECES, max_size=12).map(b"".join) | st.binary(max_size=40))
def test_any_bytes_are_read_as_python_reads_them(data: bytes) -> None:
    expected = read_by_python(data)
    if expected is None or any("\0" in text for pair in expected for text in pair):
        with pytest.raises(InvalidRequest):
            parse_form(data)
    else:
        assert parse_form(data) == expected


def test_so_many_parameters_and_no_more() -> None:
    most = b"&".join(b"p%d=v" % n for n in range(MAX_PARAMETERS))
    assert len(parse_form(most)) == MAX_PARAMETERS
    with pytest.raises(InvalidRequest, match="too many"):
        parse_form(most + b"&one=more")


def test_only_a_resource_may_be_repeated() -> None:
    """RFC 6749 §3.2, RFC 8707 §2; an empty parameter counts as absent, but not as not repeated."""
    form = Form([("resource", "a"), ("resource", ""), ("scope", ""), ("resource", "b"), ("state", "s")])
    assert form.all("resource") == ("a", "b")
    assert form.optional("resource") == "a"
    assert form.optional("scope") is None
    assert form.names() == ("resource", "state")
    for name in ("scope", "client_id", "anything"):
        with pytest.raises(InvalidRequest, match="repeated"):
            Form([(name, ""), (name, "x")])
