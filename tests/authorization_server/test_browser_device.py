"""A real browser goes the way of a user whose device asks: page, sign-in, consent, and back to the device."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from tests.authorization_server import test_browser
from tests.authorization_server.device_helpers import ON, WRONG_CODE, Device, device
from tests.authorization_server.front_helpers import PASSWORD, Running, running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

chromium = test_browser.chromium


@dataclass
class Stage:
    """A server on a port, a device that has asked, and a browser."""

    server: Running
    device: Device
    page: Page
    issuer: str
    console: list[str] = field(default_factory=list[str])

    async def sign_in(self) -> None:
        """With the keyboard alone; the name field has the focus."""
        await expect(self.page.get_by_label("User name")).to_be_focused()
        await self.page.keyboard.type("ada")
        await self.page.keyboard.press("Tab")
        await self.page.keyboard.type(PASSWORD)
        await self.page.keyboard.press("Enter")
        await expect(self.page.get_by_role("heading")).to_contain_text("Allow Robo TV on another device")


@asynccontextmanager
async def stage(chromium: Browser, **options: str) -> AsyncGenerator[Stage]:
    ours, issuer = test_browser.listener()
    context = await chromium.new_context(**options)  # type: ignore[arg-type] # whichever options a test names
    try:
        async with (
            running(settings=replace(ON, issuer=issuer)) as server,
            test_browser.listening(server.app, ours),
            device(server) as asking,
        ):
            prepared = Stage(server, asking, await context.new_page(), issuer)

            def note(message: ConsoleMessage) -> None:
                prepared.console.append(message.text)

            prepared.page.on("console", note)
            yield prepared
    finally:
        await context.close()


async def test_a_user_types_the_code_and_allows_with_the_keyboard(chromium: Browser) -> None:
    """RFC 8628 §3.3; WCAG 2.2 §2.1.1: everything works from the keyboard."""
    async with stage(chromium) as on:
        await on.page.goto(f"{on.issuer}/device")
        await expect(on.page.get_by_label("Code")).to_be_focused()
        await on.page.keyboard.type(on.device.user_code.replace("-", " ").lower())
        await on.page.keyboard.press("Enter")
        await on.sign_in()
        await expect(on.page.get_by_text(on.device.user_code)).to_be_visible()
        await on.page.get_by_label("Read your notes").focus()
        for _ in range(3):
            await on.page.keyboard.press("Tab")
        await expect(on.page.get_by_role("button", name="Allow")).to_be_focused()
        await on.page.keyboard.press("Enter")
        await expect(on.page.get_by_role("heading")).to_have_text("Done, go back to your device")
        await on.page.reload()
        await expect(on.page.get_by_role("heading")).to_have_text("Done, go back to your device")
        assert (await on.device.poll()).status_code == 200
        assert on.console == []


async def test_the_link_fills_in_the_code_and_waits_for_the_user(chromium: Browser) -> None:
    """RFC 8628 §3.3.1: the user still confirms it."""
    async with stage(chromium) as on:
        await on.page.goto(on.device.told["verification_uri_complete"])
        await expect(on.page.get_by_label("Code")).to_have_value(on.device.user_code)
        await on.page.wait_for_load_state("networkidle")
        await expect(on.page.get_by_role("heading")).to_have_text("Connect a device")
        assert await on.device.error() == "authorization_pending"
        await on.page.get_by_role("button", name="Continue").click()
        await on.sign_in()
        await on.page.get_by_role("button", name="Deny").click()
        await expect(on.page.get_by_role("heading")).to_have_text("The device gets no access")
        assert await on.device.error() == "access_denied"
        assert on.console == []


async def test_a_wrong_code_can_be_typed_again(chromium: Browser) -> None:
    async with stage(chromium) as on:
        await on.page.goto(f"{on.issuer}/device")
        await on.page.keyboard.type(WRONG_CODE)
        await on.page.keyboard.press("Enter")
        await expect(on.page.get_by_role("alert")).to_contain_text("This code is not right")
        await expect(on.page.get_by_label("Code")).to_be_focused()
        await on.page.get_by_label("Code").fill(on.device.user_code)
        await on.page.keyboard.press("Enter")
        await on.sign_in()


async def test_the_enter_key_does_not_allow_a_device(chromium: Browser) -> None:
    """A form is submitted with its first button; that one denies."""
    async with stage(chromium) as on:
        await on.page.goto(on.device.told["verification_uri_complete"])
        await on.page.get_by_role("button", name="Continue").click()
        await on.sign_in()
        await on.page.get_by_label("Read your notes").press("Enter")
        await expect(on.page.get_by_role("heading")).to_have_text("The device gets no access")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_pages_fit_a_telephone_in_either_colour_scheme(chromium: Browser, scheme: str) -> None:
    """WCAG 2.2 §1.4.10: no horizontal scrolling at 320 CSS pixels; §1.4.3: contrast of at least 4.5:1."""
    async with stage(chromium, color_scheme=scheme) as on:

        async def fits() -> None:
            width: int = await on.page.evaluate("document.documentElement.scrollWidth")
            assert width <= 320
            contrast: list[float] = await on.page.evaluate(test_browser.CONTRAST)
            assert min(contrast) >= 4.5

        await on.page.set_viewport_size({"width": 320, "height": 640})
        await on.page.goto(f"{on.issuer}/device")
        await fits()
        await on.page.get_by_label("Code").fill(WRONG_CODE)
        await on.page.keyboard.press("Enter")
        await expect(on.page.get_by_role("alert")).to_be_visible()
        await fits()
        await on.page.get_by_label("Code").fill(on.device.user_code)
        await on.page.keyboard.press("Enter")
        await on.sign_in()
        await fits()
        await on.page.get_by_role("button", name="Allow").click()
        await expect(on.page.get_by_role("heading")).to_have_text("Done, go back to your device")
        await fits()
