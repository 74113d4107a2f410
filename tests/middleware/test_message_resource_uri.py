"""Resource URIs, RFC 3986: what a server would normalise is refused."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, ValidationError

from mcpauth_middleware.message.resource_uri import decodings, resource_uri_problem, with_path

REFUSED = [
    "",
    "file:///srv/../etc/passwd",
    "file:///srv/./etc",
    "file:///srv/..",
    "file:///..",
    "file:///srv/%2e%2e/etc",
    "file:///srv/.%2E/etc",
    "file:///srv/%252e%252e/etc",
    "file:///srv/..%2fetc",
    "file:///srv/x%2f..%2f..%2fetc",
    "file:///srv/..%5cetc",
    "file:///srv/..\\etc",
    "file:///srv\\..\\etc",
    "file:///srv/..?x",
    "file:///srv/..#x",
    "..",
    "../etc",
    "notes:../x",
    "notes:..",
    "file:///a%2525252541",
    "file:///a b",
    " file:///a",
    "file:///a\n",
    "file:///a\tb",
    "fi\nle:///a",
    "file:///a\x00b",
    "file:///a%00b",
    "file:///a%0ab",
    "FILE:///a",
    "File:///a",
    "NOTES:a",
    "file://localhost/etc",
    "file://host/etc",
    "file:/etc",
    "file:etc",
    "file:////etc",
    "https://EXAMPLE.com/a",
    "https://example.com:443/a",
    "https://example.com:0443/a",
    "http://example.com:80",
    "https://user@example.com/a",
    "https://user:pw@example.com/a",
    "https://ex%61mple.com/a",
    "https://\u00fcber.example/a",
    "https:///a",
    "https:a",
    "http://example.com:port/",
    "http://example.com:/a",
    "http://example.com:08080/a",
    "http://2130706433/a",
    "http://0x7f.0.0.1/a",
    "http://127.1/a",
    "http://127.0.0.01/a",
    "http://127.0.0.1./a",
    "http://[::0:1]/a",
    "http://[0:0:0:0:0:0:0:1]/a",
    "http://[::FFFF:1]/a",
    "http://[::ffff:127.0.0.1]/a",
    "notes://admin:/a",
    "notes://admin:080/a",
    "notes://@admin/a",
    "notes://:@admin/a",
    "notes://user:@admin/a",
    "notes://a@b@admin/a",
    "notes://[::0:1]/a",
    "x" * 8193,
]


@pytest.mark.parametrize("uri", REFUSED)
def test_a_uri_that_servers_read_differently_is_refused(uri: str) -> None:
    """RFC 3986 §6.2: it is not in normal form, or holds what normalising drops."""
    assert resource_uri_problem(uri) is not None


@pytest.mark.parametrize(
    "uri",
    [
        "file:///srv/share/a.txt",
        "file:///",
        "file:///srv/...",
        "file:///srv/.hidden/..x/x..",
        "file:///srv/%C3%BC.txt",
        "file:///srv/a%20b",
        "file:///srv/a%2520b",
        "file:///{+path}",
        "https://example.com/a?b=../c#d",
        "https://example.com:8443",
        "https://{tenantId}.example.com/{id}",
        "http://[::1]:8000/a",
        "http://127.0.0.1/a",
        "http://example.com:0/a",
        "http://[1:0:0:2::3]/a",
        "http://{host}:8080/a",
        "notes://user@host/a",
        "notes://user:password@host:8080/a",
        "redis://:password@host:6379/0",
        "notes://host:0/a",
        "notes://{host}:{port}/a",
        "x://ns:type/a",
        "notes:today",
        "db://Users/1",
        "weather://London/today",
        "resource://\u00fcber/a",
        "urn:isbn:0451450523",
        "a-plain-name",
        "https://example.com/100%",
    ],
)
def test_a_uri_in_normal_form_passes(uri: str) -> None:
    """RFC 3986 §6.2."""
    assert resource_uri_problem(uri) is None


@given(
    st.tuples(
        st.sampled_from(
            ["file:///", "file://", "FILE:///", "https://h/", "https://H/", "https://h:443/", "x://y/"]
        ),
        st.lists(
            st.sampled_from(["a", "..", ".", "/", "%2e", "%2F", "%41", "//", "\\", "\t", " ", "?", "#"]),
            max_size=6,
        ),
    )
)
def test_pydantic_s_url_reads_every_accepted_uri_as_it_is(parts: tuple[str, list[str]]) -> None:
    """In mcp 1.x a server reads the URI as an `AnyUrl`, which follows the WHATWG URL standard."""
    uri = parts[0] + "".join(parts[1])
    if resource_uri_problem(uri) is None:
        try:
            normal = str(AnyUrl(uri))
        except ValidationError:
            return
        assert normal.removesuffix("/") == uri.removesuffix("/")


@given(st.integers(0, 2**128 - 1).map(lambda value: value & 0xFFFF_0000_FFFF_0000_0000_FFFF_0000_FFFF))
def test_an_ipv6_address_passes_in_the_form_that_pydantic_writes(value: int) -> None:
    """WHATWG URL, "IPv6 serializer": the first of the longest runs of zeros is left out."""
    address = IPv6Address(value)
    assert resource_uri_problem(str(AnyUrl(f"x://[{address.exploded}]/"))) is None
    assert resource_uri_problem(f"x://[{address.exploded}]/") is not None


@pytest.mark.parametrize("uri", ["https://h", "https://h?x", "http://h:8080#y", "ws://[::1]"])
def test_a_web_address_without_a_path_has_the_path_that_pydantic_gives_it(uri: str) -> None:
    """WHATWG URL, "path state"."""
    assert with_path(uri) == str(AnyUrl(uri))


@pytest.mark.parametrize("uri", ["https://h/", "https://h/a?b", "notes://h", "notes:a", "a-name", "https:"])
def test_other_uris_keep_their_path(uri: str) -> None:
    """The same."""
    assert with_path(uri) == uri


def test_decodings_are_the_uri_decoded_not_at_all_once_and_twice() -> None:
    """RFC 3986 §2.4: decoding twice is a known mistake of servers."""
    assert decodings("file:///a") == ("file:///a",) * 3
    assert decodings("file:///%2541") == ("file:///%2541", "file:///%41", "file:///A")
