"""A person with a browser, as far as the sign-in and consent pages can tell: cookies, redirects, forms."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpx2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOST_STEPS = 12


@dataclass
class Form:
    """One HTML form: where it goes, its fields as they stand, its buttons by their text."""

    action: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    buttons: dict[str, tuple[str, str] | None] = field(default_factory=dict[str, "tuple[str, str] | None"])

    def filled(self, values: dict[str, str], button: str) -> dict[str, list[str]]:
        """What a browser posts when `values` are typed in and `button` is pressed."""
        pressed = self.buttons[button]
        pairs = [(name, values.get(name, value)) for name, value in self.fields]
        posted: dict[str, list[str]] = {}
        for name, value in [*pairs, *([pressed] if pressed else [])]:
            posted.setdefault(name, []).append(value)
        return posted


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.form = Form()
        self._button: tuple[str, str] | None = None
        self._text: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.form.action = given.get("action", "")
        elif tag == "input" and given.get("type") != "submit":
            ticked = given.get("type") != "checkbox" or "checked" in given
            if "name" in given and ticked and "disabled" not in given:
                self.form.fields.append(
                    (given["name"], given.get("value", "on" if given.get("type") == "checkbox" else ""))
                )
        elif tag == "button":
            self._button = (given["name"], given.get("value", "")) if "name" in given else None
            self._text = []

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "button" and self._text is not None:
            self.form.buttons["".join(self._text).strip()] = self._button
            self._text = None


def read_form(html: str) -> Form:
    """The form of a page; its `buttons` are empty when the page has none."""
    reader = _FormReader()
    reader.feed(html)
    return reader.form


class Browser:
    """Follows an authorization URL until it leads back to the client.

    Args:
        username: Typed into the sign-in form.
        password: Likewise.
        username_field: What the form calls the user name.
        on_page: Called with (method, URL, status, title) for each page and form post.
    """

    def __init__(
        self,
        username: str,
        password: str,
        on_page: Callable[[httpx2.Response], None] | None = None,
        *,
        username_field: str = "username",
    ) -> None:
        self._typed = {username_field: username, "password": password}
        self._on_page = on_page
        self._http = httpx2.AsyncClient(headers={"accept": "text/html"}, follow_redirects=False)

    async def aclose(self) -> None:
        """Close the connections; the cookies go with them."""
        await self._http.aclose()

    async def visit(self, url: str, *, back_to: str, answer: str = "Allow") -> str:
        """Open `url`, fill in the forms that come, press `answer` on the consent page.

        Returns:
            The URL under `back_to` that the browser is finally sent to.

        Raises:
            RuntimeError: a page came that has no form, or the way never led back.
        """
        response = await self._http.get(url)
        for _ in range(MOST_STEPS):
            if self._on_page is not None:
                self._on_page(response)
            if response.is_redirect:
                target = urljoin(str(response.url), response.headers["location"])
                if target.startswith(back_to):
                    return target
                response = await self._http.get(target)
                continue
            form = read_form(response.text)
            if not form.buttons:
                raise RuntimeError(
                    f"{response.url} answered {response.status_code} and has no form to fill in"
                )
            button = answer if answer in form.buttons else next(iter(form.buttons))
            response = await self._http.post(
                urljoin(str(response.url), form.action), data=form.filled(self._typed, button)
            )
        raise RuntimeError(f"{url} did not lead back to {back_to} in {MOST_STEPS} steps")
