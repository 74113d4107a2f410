"""A real browser goes the way of a user: what only a browser enforces is tried in one."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import anyio
import pytest
import uvicorn
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tests.authorization_server.front_helpers import PASSWORD, SETTINGS, Running, running
from tests.authorization_server.front_helpers import Browser as Parameters
from tests.requires import program

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request
    from starlette.types import ASGIApp

pytestmark = pytest.mark.anyio

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
async def chromium() -> AsyncGenerator[Browser]:
    path = program("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        await browser.close()


class ReadyServer(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@asynccontextmanager
async def listening(app: ASGIApp, listener: socket.socket) -> AsyncGenerator[None]:
    """The app on a real port."""
    server = ReadyServer(uvicorn.Config(app, log_config=None, lifespan="off"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        await server.ready.wait()
        yield
        server.should_exit = True


def listener(host: str = "127.0.0.1") -> tuple[socket.socket, str]:
    """A listening socket and its origin."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.create_server((host, 0), family=family)
    name = f"[{host}]" if ":" in host else host
    return opened, f"http://{name}:{opened.getsockname()[1]}"


@dataclass
class Stage:
    """A server and a client application, each on its port, and a browser before them."""

    server: Running
    page: Page
    issuer: str
    callback: str
    console: list[str] = field(default_factory=list[str])

    async def authorize(self, **changed: str | None) -> None:
        client = await self.server.register(redirect_uris=[self.callback])
        async with self.server.browser(client) as parameters:
            query = urlencode(Parameters.request_parameters(parameters, **changed))
        await self.page.goto(f"{self.issuer}/authorize?{query}")

    async def sign_in(self) -> None:
        await self.page.get_by_label("User name").fill("ada")
        await self.page.get_by_label("Password").fill(PASSWORD)
        await self.page.get_by_role("button", name="Sign in").click()
        await expect(self.page.get_by_role("heading")).to_contain_text("Allow Robo Notes")


async def _arrived(request: Request) -> Response:
    names = " ".join(sorted(request.query_params))
    return HTMLResponse(f"<link rel=icon href='data:,'><p>Back at the client with {names}</p>")


@asynccontextmanager
async def stage(chromium: Browser, *, host: str = "127.0.0.1", **options: int | str) -> AsyncGenerator[Stage]:
    theirs, origin = listener(host)
    ours, issuer = listener()
    application = Starlette(routes=[Route("/callback", _arrived)])
    context = await chromium.new_context(**options)  # type: ignore[arg-type] # whichever options a test names
    try:
        async with (
            running(settings=replace(SETTINGS, issuer=issuer)) as server,
            listening(server.app, ours),
            listening(application, theirs),
        ):
            page = await context.new_page()
            prepared = Stage(server, page, issuer, f"{origin}/callback")

            def note(message: ConsoleMessage) -> None:
                prepared.console.append(message.text)

            page.on("console", note)
            yield prepared
    finally:
        await context.close()


async def test_a_user_signs_in_allows_and_arrives_at_the_client(chromium: Browser) -> None:
    """The way back leads to another origin, which `form-action` has to let through."""
    async with stage(chromium) as on:
        await on.authorize()
        await on.sign_in()
        await on.page.get_by_role("button", name="Allow").click()
        await expect(on.page.get_by_text("Back at the client with code iss state")).to_be_visible()
        assert on.page.url.startswith(on.callback)
        assert on.console == []


async def test_the_way_back_to_an_ipv6_loopback_is_open_too(chromium: Browser) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with stage(chromium, host="::1") as on:
        await on.authorize()
        await on.sign_in()
        await on.page.get_by_role("button", name="Allow").click()
        await expect(on.page.get_by_text("Back at the client with code iss state")).to_be_visible()
        assert on.console == []


async def test_a_user_denies_and_the_client_is_told(chromium: Browser) -> None:
    async with stage(chromium) as on:
        await on.authorize()
        await on.sign_in()
        await on.page.get_by_role("button", name="Deny").click()
        await expect(
            on.page.get_by_text("Back at the client with error error_description iss state")
        ).to_be_visible()
        assert on.console == []


async def test_the_enter_key_does_not_allow(chromium: Browser) -> None:
    """A form is submitted with its first button; that one denies."""
    async with stage(chromium) as on:
        await on.authorize()
        await on.sign_in()
        await on.page.get_by_label("Read your notes").press("Enter")
        await expect(on.page.get_by_text("Back at the client with error")).to_be_visible()


async def test_a_page_in_a_frame_is_refused(chromium: Browser) -> None:
    """RFC 9700 §4.16: clickjacking."""
    async with stage(chromium) as on:
        await on.authorize()
        sign_in = on.page.url
        await on.page.goto(on.callback)
        async with on.page.expect_console_message(lambda message: "frame" in message.text):
            await on.page.set_content(f"<iframe src='{sign_in}'></iframe>")
        framed = on.page.frame_locator("iframe")
        await expect(framed.get_by_label("Password")).to_have_count(0)


async def test_a_wrong_password_can_be_typed_again(chromium: Browser) -> None:
    async with stage(chromium) as on:
        await on.authorize()
        await on.page.get_by_label("User name").fill("ada")
        await on.page.get_by_label("Password").fill("wrong password")
        await on.page.get_by_label("Password").press("Enter")
        await expect(on.page.get_by_role("alert")).to_have_text("User name or password is not right.")
        await expect(on.page.get_by_label("Password")).to_be_focused()
        await on.sign_in()


async def test_another_user_can_sign_in_from_the_consent_page(chromium: Browser) -> None:
    async with stage(chromium) as on:
        await on.server.add_user("bob")
        await on.authorize()
        await on.sign_in()
        await on.page.get_by_role("link", name="Not you?").click()
        await on.page.get_by_label("User name").fill("bob")
        await on.page.get_by_label("Password").fill(PASSWORD)
        await on.page.get_by_role("button", name="Sign in").click()
        await expect(on.page.get_by_text("bob")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pages_fit_a_narrow_screen_in_either_colour_scheme(chromium: Browser, scheme: str) -> None:
    """WCAG 2.2 §1.4.10: no horizontal scrolling at 320 CSS pixels; §1.4.3: contrast of at least 4.5:1."""
    async with stage(chromium, color_scheme=scheme) as on:
        await on.page.set_viewport_size({"width": 320, "height": 640})
        await on.authorize()
        for prepare in (on.sign_in, None):
            width: int = await on.page.evaluate("document.documentElement.scrollWidth")
            assert width <= 320
            contrast: list[float] = await on.page.evaluate(CONTRAST)
            assert min(contrast) >= 4.5
            if prepare is not None:
                await prepare()
        assert on.console == []


# The contrast of each element that has text of its own against what is painted behind it.
CONTRAST = """
() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b]
    .map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = numbers(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const ownText = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  return [...document.body.querySelectorAll('*')].filter(ownText).map(e => {
    const [a, b] = [luminance(numbers(getComputedStyle(e).color)), luminance(behind(e))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  });
}
"""


async def test_a_client_that_opened_a_popup_gets_its_answer_there(chromium: Browser) -> None:
    """Clients inside a web page wait for a message from the window they opened."""
    async with stage(chromium) as on:
        await on.page.goto(on.callback)
        client = await on.server.register(redirect_uris=[on.callback])
        async with on.server.browser(client) as parameters:
            query = urlencode(Parameters.request_parameters(parameters))
        async with on.page.expect_popup() as opening:
            await on.page.evaluate("url => void window.open(url)", f"{on.issuer}/authorize?{query}")
        opener, on.page = on.page, await opening.value
        await on.sign_in()
        await on.page.get_by_role("button", name="Allow").click()
        await expect(on.page.get_by_text("Back at the client with code iss state")).to_be_visible()
        assert await on.page.evaluate("window.opener !== null")
        assert not opener.is_closed()
