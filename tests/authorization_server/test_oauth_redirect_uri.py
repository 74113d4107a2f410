"""Redirect URIs: which may be registered, and when two match."""

from __future__ import annotations

import pytest

from mcpauth.oauth.errors import InvalidRedirectUri
from mcpauth.oauth.redirect_uri import check_redirect_uri, is_native, matches


@pytest.mark.parametrize(
    "uri",
    [
        "https://client.example/cb",
        "https://client.example",
        "https://client.example:8443/cb?tenant=1&x=%20",
        "https://127.0.0.1:8443/cb",
        "http://127.0.0.1/cb",
        "http://127.0.0.1:33418/",
        "http://localhost:3334/oauth/callback",
        "http://[::1]:8080/cb",
        "com.example.app:/oauth2redirect",
        "com.example.app://callback/x",
        "cursor://anysphere.cursor-retrieval/oauth/callback",
        "vscode://some.extension/did-authenticate?windowId=1",
        "vscode-insiders://x/y",
        "claude://callback",
    ],
)
def test_what_real_clients_register_is_accepted(uri: str) -> None:
    """RFC 8252 §7: claimed https, loopback, private-use schemes."""
    check_redirect_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/cb",
        "client.example/cb",
        "//client.example/cb",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "java\tscript:alert(1)",
        "javascript://client.example/%0aalert(1)",
        "data:text/html,<script>",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://client.example/x",
        "view-source:https://client.example",
        "ws://127.0.0.1/cb",
        "ftp://client.example/cb",
        "unknown://x/cb",
        "http://client.example/cb",
        "http://0.0.0.0/cb",
        "http://127.1/cb",
        "http://127.0.0.2/cb",
        "http://2130706433/cb",
        "http://localhost.evil.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "http://localhost:80@evil.example/cb",
        "https://user@client.example/cb",
        "https://user:pw@client.example/cb",
        "https://*.client.example/cb",
        "https://client.example/cb#fragment",
        "https://client.example/cb#",
        "https:///cb",
        "https://",
        "https:/client.example/cb",
        "https:client.example",
        "https:\\\\client.example",
        "https://client.example\\@evil.example",
        "https://client.example/cb\r\nX: y",
        "https://client.example/c b",
        "https://client.example/\x00",
        'https://client.example/"x',
        "https://client.example/<x>",
        "https://clïent.example/cb",
        "https://client..example/cb",
        "https://client.example:99999/cb",
        "https://client.example:/cb",
        "https://client.example:x/cb",
        "https://[::1/cb",
        "https://[::1::2]/cb",
        "https://[1.2.3.4]/cb",
        "https://[:]/cb",
        "https://client.example/cb?code=x",
        "https://client.example/cb?a=1&state=",
        "https://client.example/cb?iss=x",
        "https://client.example/cb?error=x",
        "https://client.example/cb?c%6fde=x",
        "com.example.app://user@host/cb",
        "com.example.app://[x/cb",
        "com.example.app://]/cb",
        "com.example.app://[::1]/cb",
        "com.example.app:",
        "cursor:",
        "https://client.example/" + "x" * 2000,
    ],
)
def test_what_could_lead_a_code_astray_is_refused(uri: str) -> None:
    """RFC 6749 §3.1.2, RFC 9700 §4.1 and §4.10."""
    with pytest.raises(InvalidRedirectUri):
        check_redirect_uri(uri)


@pytest.mark.parametrize("scheme", ["javascript", "data", "file", "http"])
def test_no_operator_can_list_a_scheme_that_a_browser_acts_on(scheme: str) -> None:
    with pytest.raises(InvalidRedirectUri):
        check_redirect_uri(f"{scheme}://x/y", private_use_schemes={scheme})


def test_an_operator_lists_other_private_use_schemes() -> None:
    check_redirect_uri("zed://callback", private_use_schemes={"zed"})
    with pytest.raises(InvalidRedirectUri):
        check_redirect_uri("cursor://callback", private_use_schemes={"zed"})


def test_native_is_what_only_the_device_receives() -> None:
    assert is_native("http://localhost/cb")
    assert is_native("cursor://x")
    assert not is_native("https://client.example/cb")
    assert not is_native("https://127.0.0.1/cb")


@pytest.mark.parametrize("registered", ["http://127.0.0.1/cb", "http://127.0.0.1:3000/cb"])
@pytest.mark.parametrize("port", ["", ":1", ":3000", ":65535"])
def test_a_loopback_redirect_uri_matches_with_any_port(registered: str, port: str) -> None:
    """RFC 8252 §7.3."""
    assert matches(registered, f"http://127.0.0.1{port}/cb")


@pytest.mark.parametrize(
    "requested",
    [
        "http://127.0.0.1:3000/other",
        "http://127.0.0.1:3000/cb/",
        "http://127.0.0.1:3000/cb?x=1",
        "http://127.0.0.1:3000/cb#x",
        "http://127.0.0.1:3000/CB",
        "http://127.0.0.1:3000",
        "https://127.0.0.1:3000/cb",
        "http://localhost:3000/cb",
        "http://[::1]:3000/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://0.0.0.0:3000/cb",
        "http://127.1/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "http://user@127.0.0.1/cb",
        "http://127.0.0.1:80@evil.example/cb",
        "http://127.0.0.1:99999/cb",
        "http://127.0.0.1:/cb",
        "HTTP://127.0.0.1/cb",
        "http://127.0.0.1:3000/cb\n",
        "http://127.0.0.1:3000\\@evil.example/cb",
    ],
)
def test_nothing_but_the_port_of_a_loopback_redirect_uri_may_differ(requested: str) -> None:
    """RFC 8252 §8.3: localhost and 127.0.0.1 may be different programs."""
    assert not matches("http://127.0.0.1/cb", requested)


@pytest.mark.parametrize(
    "requested",
    [
        "https://client.example/cb?x=1",
        "https://client.example/cb;x",
        "https://client.example/cb/",
        "https://client.example/CB",
        "https://client.example/c%62",
        "https://client.example%2Fcb",
        "https://user@client.example/cb",
        "https://client.example/cb#",
        "https://client.example/cb#x",
        "https://client.example:443/cb",
        "https://client.example:8443/cb",
        "https://client.example.evil/cb",
        "https://client.example@evil/cb",
        "http://client.example/cb",
        "https:/evil",
        "",
    ],
)
def test_every_other_redirect_uri_matches_only_itself(requested: str) -> None:
    """RFC 9700 §4.1.3: exact string matching."""
    assert matches("https://client.example/cb", "https://client.example/cb")
    assert not matches("https://client.example/cb", requested)
