"""The server's cookies, RFC 6265: read as they were set, whatever else a browser or an attacker sends."""

from __future__ import annotations

import pytest

from tests.authorization_server.front_helpers import running

pytestmark = pytest.mark.anyio

BROWSER = "__Host-mcpauth_browser"


@pytest.mark.parametrize(
    ("cookie", "known"),
    [
        ("{name}={value}", True),
        ("a=b; {name}={value};c", True),
        ("{name}={value} ;", True),
        ('{name}="{value}"', False),
        ("{name}={value}; {name}={other}", False),
        ("{name}={value}; {name}={value}", False),
        ("{name}={value}x", False),
        ("{name}=", False),
        ("{name}", False),
        ("x{name}={value}", False),
    ],
)
async def test_a_cookie_counts_if_it_is_there_once_as_it_was_set(cookie: str, known: bool) -> None:
    """§5.4 lets a browser send two of one name, and does not say which is whose: then it is nobody's."""
    header = cookie.format(name=BROWSER, value="A" * 43, other="B" * 43).encode()
    async with running() as server, server.browser(cookie=header) as browser:
        begun = await browser.authorize()
        assert (BROWSER not in begun.headers.get("set-cookie", "")) is known


@pytest.mark.timeout(10)
@pytest.mark.parametrize("escape", ["\\", "\\1", '\\"'])
async def test_a_cookie_of_escapes_takes_no_time(escape: str) -> None:
    """CVE-2024-7592: Python before 3.11.10 needed seconds to unquote it, in which nobody else was served."""
    header = f'{BROWSER}="{escape * (60_000 // len(escape))}"'.encode()
    async with running() as server, server.browser(cookie=header) as browser:
        assert (await browser.authorize()).status_code == 303
