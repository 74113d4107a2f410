"""The sign-in step: who is the user in front of this browser?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.events import Events, SignedIn, SignInFailed
from mcpauth.oauth.form import Form, parse_query
from mcpauth.pages.text import shown
from mcpauth.pages.views import SignInView
from mcpauth.signin import SignIn, SignInDelayed, SignInRefused
from mcpauth.web.forms import read_form

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.endpoints.interaction import Interaction, Interactions
    from mcpauth.pages import Pages
    from mcpauth.signin.session import Sessions
    from mcpauth.web.cookies import Cookie

# The same for everyone, so that nobody can find out who has an account.
_WRONG = "User name or password is not right."


class SignInEndpoint:
    """Shows the sign-in page and takes its form."""

    def __init__(
        self,
        interactions: Interactions,
        sign_in: SignIn,
        sessions: Sessions,
        pages: Pages,
        events: Events,
        *,
        session_cookie: Cookie,
    ) -> None:
        self._interactions = interactions
        self._sign_in = sign_in
        self._sessions = sessions
        self._pages = pages
        self._events = events
        self._session_cookie = session_cookie

    async def get(self, request: Request) -> Response:
        """The page. It is shown to a signed-in user as well, who may want to be another one."""
        query = Form(parse_query(request.scope["query_string"]))
        interaction = await self._interactions.resume(request, query.optional("request"))
        return self._page(request, interaction, username=interaction.request.login_hint or "")

    async def post(self, request: Request) -> Response:
        """The form: on success a new session, and back to /authorize."""
        form = await read_form(request)
        interaction = await self._interactions.submitted(request, form, "sign-in")
        try:
            user = await self._sign_in.authenticate(
                form, address=request.client.host if request.client else ""
            )
        except SignInRefused as refused:
            await self._events.emit(SignInFailed(login=refused.login, reason=refused.reason))
            return self._refusal(request, interaction, form.optional("username") or "", refused)
        # A new id, and the old one is worth nothing: whoever planted or saw it is not signed in now.
        await self._sessions.end(self._session_cookie.read(request))
        session_id = await self._sessions.begin(
            user, request_id=interaction.request_id, acr=self._sign_in.acr, amr=self._sign_in.amr
        )
        await self._events.emit(SignedIn(user_id=user.user_id, method=self._sign_in.method))
        response = self._interactions.go_on(interaction.request_id)
        self._session_cookie.set(response, session_id, max_age=int(self._sessions.lifetime.total_seconds()))
        return response

    def _refusal(
        self, request: Request, interaction: Interaction, username: str, refused: SignInRefused
    ) -> Response:
        if not isinstance(refused, SignInDelayed):
            return self._page(request, interaction, username=username, problem=_WRONG, status=400)
        seconds = refused.retry_after
        again = f"Try again in {seconds} second{'s' if seconds != 1 else ''}."
        return self._page(
            request,
            interaction,
            username=username,
            problem=f"{'The server is busy.' if refused.busy else 'Too many tries.'} {again}",
            status=503 if refused.busy else 429,
            headers={"Retry-After": str(seconds)},
        )

    def _page(
        self,
        request: Request,
        interaction: Interaction,
        *,
        username: str,
        problem: str | None = None,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> Response:
        view = SignInView(
            client=interaction.facts,
            request_id=interaction.request_id,
            csrf=self._interactions.form_token(request, interaction.request_id, "sign-in"),
            username=shown(username, 128),
            problem=problem,
        )
        return self._pages.answer(
            view, status=status, leads_to=interaction.request.redirect_uri, headers=headers
        )
