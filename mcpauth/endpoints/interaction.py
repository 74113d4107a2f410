"""An authorization request under way in one browser: whose it is, who is signed in, and what comes next.

Sign-in and consent never lead to one another. Each changes its part and sends the browser back to
/authorize, which asks here for the next step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

from mcpauth.oauth.client_metadata import DEVICE_CODE
from mcpauth.oauth.store import digest
from mcpauth.pages.errors import forged, lost
from mcpauth.pages.views import ClientFacts
from mcpauth.web.csrf import CsrfTokens, from_another_site
from mcpauth.web.html import see_other

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.oauth.authorization_request import AuthorizationRequest, AuthorizationRequests
    from mcpauth.oauth.client import Client, KnownClients
    from mcpauth.oauth.form import Form
    from mcpauth.signin.session import Session, Sessions
    from mcpauth.web.ceiling import Ceiling
    from mcpauth.web.cookies import Cookie

Step = Literal["sign-in", "consent", "answer"]
Purpose = Literal["sign-in", "consent"]


@dataclass(frozen=True, slots=True)
class Interaction:
    """One stored request, with the client that made it and the user in front of it."""

    request_id: str
    request: AuthorizationRequest
    client: Client
    session: Session | None
    now: float

    def next_step(self) -> Step:
        """What has to happen next.

        Raises:
            PageError: another user decided than the one who is signed in now.

        """
        if self.session is None:
            return "sign-in"
        if self.request.approved is None:
            # Until the user decides: what counts is the sign-in that the decision was made with.
            return "sign-in" if self._must_sign_in_again(self.session) else "consent"
        if self.request.user_id != self.session.user.user_id:
            raise lost()
        return "answer"

    @property
    def facts(self) -> ClientFacts:
        """What the user should know about the client."""
        return ClientFacts.of(self.client, self.request.redirect_uri or None)

    def _must_sign_in_again(self, session: Session) -> bool:
        return not self.request.demands.met_by(
            auth_time=session.auth_time,
            acr=session.acr,
            for_this_request=session.request == digest(self.request_id),
            now=self.now,
        )


class Interactions:
    """Begins interactions, finds the one that a request of a browser belongs to, and guards its forms.

    `ceiling` is for what is begun: it is stored before anybody is known.
    """

    def __init__(
        self,
        *,
        path: str,
        requests: AuthorizationRequests,
        clients: KnownClients,
        sessions: Sessions,
        csrf: CsrfTokens,
        browser_cookie: Cookie,
        session_cookie: Cookie,
        ceiling: Ceiling,
        now: Callable[[], float],
    ) -> None:
        self._path = path
        self._requests = requests
        self._clients = clients
        self._sessions = sessions
        self._csrf = csrf
        self._browser_cookie = browser_cookie
        self._session_cookie = session_cookie
        self._ceiling = ceiling
        self._now = now

    async def begin(self, request: Request, checked: AuthorizationRequest) -> Response:
        """Store what is asked for, and send the browser to the first step.

        Raises:
            TemporarilyUnavailable: 429, too many were begun by this user, or where nobody is signed in, from
                this address.
        """
        session = await self.session(request)
        self._ceiling.take(request, known=session.user.user_id if session is not None else None)
        request_id = await self._requests.begin(checked)
        return self.go_on(request_id, "sign-in" if session is None else "consent")

    async def resume(self, request: Request, request_id: str | None) -> Interaction:
        """The interaction of an id, if it was begun in this browser.

        Raises:
            PageError: there is none: unknown, expired, finished or another browser's.

        """
        browser = self._browser_cookie.read(request)
        stored = await self._requests.get(request_id) if request_id is not None else None
        if request_id is None or stored is None or browser is None or stored.browser != digest(browser):
            raise lost()
        client = await self._clients.get(stored.client_id)
        if client is None or not _may_still_ask(client, stored):
            raise lost()
        return Interaction(request_id, stored, client, await self.session(request), self._now())

    async def session(self, request: Request) -> Session | None:
        """Who is signed in."""
        return await self._sessions.find(self._session_cookie.read(request))

    async def submitted(self, request: Request, form: Form, purpose: Purpose) -> Interaction:
        """The interaction that a form belongs to.

        Raises:
            PageError: the form was not shown to this browser and session, or its interaction is over.

        """
        request_id = form.optional("request")
        bound_to = self._bound_to(request, request_id or "", purpose)
        if from_another_site(request) or not self._csrf.valid(form.optional("csrf"), purpose, *bound_to):
            raise forged()
        return await self.resume(request, request_id)

    def form_token(self, request: Request, request_id: str, purpose: Purpose) -> str:
        """The token to put into a form."""
        return self._csrf.issue(purpose, *self._bound_to(request, request_id, purpose))

    def go_on(self, request_id: str, step: Step | Literal["authorize"] = "authorize") -> Response:
        """Send the browser to a step, or back to /authorize, which knows the next one."""
        return see_other(f"{self._path}/{step}?{urlencode({'request': request_id})}")

    def _bound_to(self, request: Request, request_id: str, purpose: Purpose) -> tuple[str, ...]:
        browser = self._browser_cookie.read(request) or ""
        # Whoever consents must be the one who was shown the page; nobody is signed in yet on the sign-in
        # page.
        session = self._session_cookie.read(request) or "" if purpose == "consent" else ""
        return (browser, request_id, session)


def _may_still_ask(client: Client, request: AuthorizationRequest) -> bool:
    # A client's document may have changed since: what it no longer names leads nowhere.
    if request.device is not None:
        return DEVICE_CODE in client.grant_types
    return client.redirects_to(request.redirect_uri)
