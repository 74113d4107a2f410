"""Canonical resource identifiers: RFC 8707 §2, RFC 9728 §1.2."""

from __future__ import annotations

import pytest

from mcpauth_middleware import canonical_resource
from mcpauth_middleware.resource import is_loopback_host


@pytest.mark.parametrize(
    ("uri", "canonical"),
    [
        ("https://rs.example", "https://rs.example"),
        ("https://rs.example/", "https://rs.example"),
        ("HTTPS://RS.Example/MCP", "https://rs.example/MCP"),
        ("https://rs.example:443/mcp", "https://rs.example/mcp"),
        ("http://rs.example:80", "http://rs.example"),
        ("https://rs.example:8443/mcp", "https://rs.example:8443/mcp"),
        ("https://rs.example/mcp/", "https://rs.example/mcp/"),
        ("https://rs.example/a%2Fb", "https://rs.example/a%2Fb"),
        ("https://rs.example/mcp?tenant=1", "https://rs.example/mcp?tenant=1"),
        ("https://rs.example/?tenant=1", "https://rs.example/?tenant=1"),
        ("http://[::1]:9401/mcp", "http://[::1]:9401/mcp"),
        ("http://127.0.0.1:9401", "http://127.0.0.1:9401"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://my_host-1.example./x", "https://my_host-1.example./x"),
    ],
)
def test_a_resource_has_one_canonical_form(uri: str, canonical: str) -> None:
    """RFC 3986 §6.2.2.1, §6.2.3: case of scheme and host, default port, empty path."""
    assert canonical_resource(uri) == canonical
    assert canonical_resource(canonical) == canonical


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/mcp",
        "rs.example",
        "//rs.example/mcp",
        "ftp://rs.example",
        "javascript:alert(1)",
        "https://",
        "https:///mcp",
        "https:rs.example",
        "https://rs.example#",
        "https://rs.example/mcp#part",
        "https://user@rs.example",
        "https://user:password@rs.example",
        "https://rs.example:",
        "https://rs.example:0",
        "https://rs.example:99999",
        "https://rs.example:x",
        "https://[::1",
        "https://[::1%25eth0]/",
        "https://[nonsense]/",
        "https://rs example",
        "https://rs.example/a b",
        "https://rs.example/\n",
        "\thttps://rs.example",
        "https://bücher.example",
        "https://rs.example/ü",
        "https://rs.example\\@evil.example",
        'https://rs.example/"',
        "https://-rs.example",
        "https://rs%2eexample",
    ],
)
def test_what_is_no_resource_is_refused_with_the_mend(uri: str) -> None:
    """RFC 8707 §2: an absolute URI, without a fragment."""
    with pytest.raises(ValueError, match=r"must|not a URI"):
        canonical_resource(uri)


def test_a_password_is_not_repeated_in_the_error() -> None:
    """Errors end in logs."""
    with pytest.raises(ValueError, match="user name") as raised:
        canonical_resource("https://user:hunter2@rs.example")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "::1", "[::1]"])
def test_loopback_is_recognized(host: str) -> None:
    """RFC 1122 §3.2.1.3, RFC 4291 §2.5.3, RFC 6761 §6.3."""
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "0.0.0.0",  # noqa: S104  a value to refuse
        "::",
        "127.1",
        "2130706433",
        "::ffff:127.0.0.1",
    ],
)
def test_what_only_looks_like_loopback_is_not(host: str) -> None:
    """A name, or another spelling, may lead anywhere."""
    assert not is_loopback_host(host)
