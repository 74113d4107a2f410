"""The verification page, RFC 8628 §3.3: a user enters the code that a device shows, and decides about it.

The right code begins an authorization request like those of /authorize, in this browser: sign-in and consent
follow. Its answer is no redirect to a client: the decision is written into the device's record, and the
device hears of it when it asks the next time.
"""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING

from mcpauth.events import Events, UserCodeRefused
from mcpauth.oauth.form import Form, parse_query
from mcpauth.oauth.random_text import random_text
from mcpauth.oauth.store import digest
from mcpauth.oauth.user_code import as_entered, as_shown
from mcpauth.pages.errors import forged, outlived
from mcpauth.pages.text import shown
from mcpauth.pages.views import DeviceDecidedView, UserCodeView
from mcpauth.web.ceiling import source_of
from mcpauth.web.csrf import CsrfTokens, from_another_site
from mcpauth.web.forms import read_form
from mcpauth.web.html import see_other
from mcpauth.web.throttle import Attempt, Pace, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.endpoints.interaction import Interactions
    from mcpauth.oauth.authorization_request import AskingDevice
    from mcpauth.oauth.device_code import DeviceCodes
    from mcpauth.oauth.grant import Grant
    from mcpauth.pages import Pages
    from mcpauth.web.cookies import Cookie

_PURPOSE = "device"
# §5.1: five quick tries, then one a minute. Of 20⁸ codes, so few are guessed in the ten minutes of one.
_TRIES = Pace(burst=5, interval=60)
# The same whatever is wrong, so that nobody can find out which codes there are.
_WRONG = "This code is not right, or no longer good. Compare it with the one your device shows now."
_LONGEST_SHOWN = 20


class VerificationEndpoint:
    """Shows the page at which a code is entered, takes its form, and brings the decision to the device."""

    def __init__(
        self,
        interactions: Interactions,
        codes: DeviceCodes,
        throttle: Throttle,
        csrf: CsrfTokens,
        pages: Pages,
        events: Events,
        *,
        path: str,
        browser_cookie: Cookie,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._interactions = interactions
        self._codes = codes
        self._throttle = throttle
        self._csrf = csrf
        self._pages = pages
        self._events = events
        self._path = path
        self._browser_cookie = browser_cookie
        self._token_bytes = token_bytes

    async def get(self, request: Request) -> Response:
        """The page. A code in the query is filled in, and counts no more than one that is typed (§3.3.1)."""
        query = Form(parse_query(request.scope["query_string"]))
        known_browser = self._browser_cookie.read(request)
        browser = known_browser or random_text(self._token_bytes)
        response = self._page(browser, entered=query.optional("user_code") or "")
        if known_browser is None:
            self._browser_cookie.set(response, browser)
        return response

    async def post(self, request: Request) -> Response:
        """The form: with the right code, on to sign-in and consent."""
        form = await read_form(request)
        browser = self._browser_cookie.read(request)
        if (
            browser is None
            or from_another_site(request)
            or not self._csrf.valid(form.optional("csrf"), _PURPOSE, browser)
        ):
            raise forged()
        entered = form.optional("user_code") or ""
        attempts = _attempts(request, browser)
        wait = self._throttle.reserve(attempts)
        if wait > 0:
            return await self._too_many(browser, entered, math.ceil(wait))
        begun = await self._codes.claim(entered, browser=digest(browser))
        if begun is None:
            await self._events.emit(UserCodeRefused(reason="wrong"))
            return self._page(browser, entered=entered, problem=_WRONG, status=400)
        self._throttle.give_back(attempts)
        return await self._interactions.begin(request, begun)

    async def answer(self, asking: AskingDevice, grant: Grant | None) -> Response:
        """Write down what the user decided, None for no, and send the browser to the last page.

        Raises:
            PageError: the device's request has ended meanwhile, or was begun anew.

        """
        if not await self._codes.decide(asking, grant):
            raise outlived()
        return see_other(f"{self._path}/device/{'denied' if grant is None else 'allowed'}")

    async def allowed(self, request: Request) -> Response:  # noqa: ARG002 - the same for everyone
        """The last page after a yes. It is one of its own, so that it can be reloaded."""
        return self._pages.answer(DeviceDecidedView(allowed=True))

    async def denied(self, request: Request) -> Response:  # noqa: ARG002 - the same for everyone
        """The last page after a no."""
        return self._pages.answer(DeviceDecidedView(allowed=False))

    async def _too_many(self, browser: str, entered: str, seconds: int) -> Response:
        await self._events.emit(UserCodeRefused(reason="too_many"))
        problem = f"Too many tries. Try again in {seconds} second{'s' if seconds != 1 else ''}."
        headers = {"Retry-After": str(seconds)}
        return self._page(browser, entered=entered, problem=problem, status=429, headers=headers)

    def _page(
        self,
        browser: str,
        *,
        entered: str,
        problem: str | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        code = as_entered(entered)
        view = UserCodeView(
            csrf=self._csrf.issue(_PURPOSE, browser),
            user_code=as_shown(code) if code is not None else shown(entered, _LONGEST_SHOWN),
            problem=problem,
        )
        return self._pages.answer(view, status=status, headers=headers)


def _attempts(request: Request, browser: str) -> list[Attempt]:
    return [
        Attempt(digest(f"address {source_of(request)}"), _TRIES),
        Attempt(digest(f"browser {browser}"), _TRIES),
    ]
