"""Which addresses are public, which URLs have one reading, how long an answer is fresh."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from mcpauth.oauth.https_url import https_url
from mcpauth.web.freshness import fresh_for
from mcpauth.web.public_address import is_public

NOW = 1_800_000_000  # 2027-01-15 08:00:00 UTC


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "93.184.215.14", "192.0.1.1", "2606:4700::1111", "2001:4860:4860::8888"]
)
def test_addresses_of_the_public_internet_are_public(text: str) -> None:
    assert is_public(ip_address(text))


def test_nat64_is_as_public_as_what_it_leads_to() -> None:
    """RFC 6052 §2.1: where there is only IPv6, this is how a public IPv4 server looks."""
    assert is_public(ip_address("64:ff9b::808:808"))
    assert not is_public(ip_address("64:ff9b::a9fe:a9fe"))


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.9",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::8.8.8.8",
        "::127.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::8.8.8.8",
        "64:ff9b:1::10.0.0.1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:808:808::1",
        "2606:4700::5efe:10.0.0.1",
        "2606:4700::200:5efe:10.0.0.1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_every_special_use_address_is_refused_however_it_is_wrapped(text: str) -> None:
    """RFC 6890, RFC 4291 §2.5.5, RFC 3056, RFC 4380, RFC 6052, RFC 8215, RFC 5214."""
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    ("text", "host", "port", "path", "query"),
    [
        ("https://a.example", "a.example", 443, "", None),
        ("https://a.example/", "a.example", 443, "/", None),
        ("https://a.b-c.example:8443/x/y.json?z", "a.b-c.example", 8443, "/x/y.json", "z"),
        ("https://xn--bcher-kva.example/a%20b", "xn--bcher-kva.example", 443, "/a%20b", None),
        ("https://1.a.example/...", "1.a.example", 443, "/...", None),
    ],
)
def test_a_plain_https_url_is_taken_apart(
    text: str, host: str, port: int, path: str, query: str | None
) -> None:
    url = https_url(text)
    assert (url.text, url.host, url.port, url.path, url.query) == (text, host, port, path, query)


def test_a_url_has_at_most_2048_characters() -> None:
    longest = "https://a.example/" + "x" * (2048 - 18)
    assert https_url(longest).text == longest
    with pytest.raises(ValueError, match="too long"):
        https_url(longest + "x")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"cache-control": "public"}, None),
        ({"cache-control": "max-age=60"}, 60),
        ({"cache-control": 'Max-Age="60"'}, 60),
        ({"cache-control": "max-age=60, s-maxage=5"}, 5),
        ({"cache-control": "max-age=60, max-age=600"}, 60),
        ({"cache-control": "max-age=60", "age": "61"}, 0),
        ({"cache-control": "max-age=-1"}, 0),
        ({"cache-control": "max-age=soon"}, 0),
        ({"cache-control": "max-age"}, 0),
        ({"cache-control": "max-age=" + "9" * 5000}, 2**31),
        ({"cache-control": "max-age=60, no-store"}, 0),
        ({"cache-control": "No-Cache"}, 0),
        ({"cache-control": 'private="x", max-age=60'}, 0),
        ({"cache-control": "max-age=60", "vary": "*"}, 0),
        ({"cache-control": "max-age=60", "vary": "Accept-Encoding"}, 60),
        ({"expires": "Fri, 15 Jan 2027 08:01:00 GMT"}, 60),
        ({"expires": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0),
        ({"expires": "0"}, 0),
        ({"cache-control": "max-age=5", "expires": "Fri, 15 Jan 2027 08:01:00 GMT"}, 5),
    ],
)
def test_freshness_is_what_the_headers_say(headers: dict[str, str], seconds: int | None) -> None:
    """RFC 9111 §4.2.1, §5.2.2, §5.3."""
    assert fresh_for(headers, NOW) == seconds
