"""Error pages: what happened in the reader's words, what to do about it, and the code for the application's
developer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mcpauth.oauth.errors import NO_HEADERS, OAuthError, TemporarilyUnavailable
from mcpauth.pages.views import ErrorView
from mcpauth.web.responses import as_oauth_error, error_response, no_store_json

if TYPE_CHECKING:
    from mcpauth.pages import Pages

Handler = Callable[[Request], Awaitable[Response]]

START_AGAIN = "Go back to the application and connect again."


class PageError(Exception):
    """Something that only the person at the browser is told."""

    def __init__(self, view: ErrorView, status: int, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.view = view
        self.status = status
        self.headers = headers
        super().__init__(view.title)


def lost() -> PageError:
    """The authorization request is over, expired, or another browser's: the three look the same."""
    return PageError(
        ErrorView(
            "This page has expired",
            "It took too long, was used already, or was begun in another browser. Nothing has been allowed.",
            (START_AGAIN, "If it happens every time, allow cookies for this server."),
        ),
        400,
    )


def forged() -> PageError:
    """A form came without the token of a page that this browser was shown."""
    return PageError(
        ErrorView(
            "This form cannot be accepted",
            "It was not sent from a page that this server showed to you here. Nothing has been changed.",
            (
                START_AGAIN,
                "If another page sent you here, close it.",
                "If it happens every time, allow cookies for this server.",
            ),
        ),
        403,
    )


def outlived() -> PageError:
    """What a device asked for cannot be decided any more."""
    return PageError(
        ErrorView(
            "This code has expired",
            "It took too long, or the code was entered once more. Nothing has been allowed here.",
            ("Begin again on your device: it will show a new code.",),
        ),
        400,
    )


_OF_OAUTH: Mapping[str, ErrorView] = MappingProxyType(
    {
        "invalid_client": ErrorView(
            "This application is not known here",
            "The application that sent you is not registered with this server, or no longer is.",
            (
                "Go back to the application and connect again: most then register anew.",
                "If that does not help, remove the connection in the application and add it again.",
            ),
        ),
        "invalid_client_metadata": ErrorView(
            "This application describes itself wrongly",
            "What it says about itself is not what this server needs to know. Nothing has been allowed.",
            ("Tell whoever makes the application; the lines below are for them.",),
        ),
        "invalid_request_uri": ErrorView(
            "This link has been used or has expired",
            "The application made it for one use within a minute. Nothing has been allowed with it now.",
            (START_AGAIN, "If a message or a web page led you here, close this page."),
        ),
        "server_error": ErrorView(
            "Something went wrong on this server",
            "It is not your fault, and nothing has been allowed.",
            ("Wait a moment, then go back to the application and connect again.",),
        ),
        "temporarily_unavailable": ErrorView(
            "This server is busy",
            "It cannot answer at the moment. Nothing has been allowed.",
            ("Wait a few seconds, then reload this page.",),
        ),
    }
)
_UNTRUSTED = ErrorView(
    "This request cannot be trusted",
    "It is incomplete, or it was changed on its way here. To be safe, the server does not send you on.",
    (START_AGAIN, "If a message or a web page led you here, close this page."),
)
_OF_HTTP: Mapping[int, ErrorView] = MappingProxyType(
    {
        404: ErrorView(
            "There is nothing here",
            "This server signs people in for applications. It has no page at this address.",
            (
                "If you followed a link, it may be incomplete.",
                "To sign in, begin in the application that you want to use.",
            ),
        ),
        405: ErrorView(
            "This address cannot be used like that",
            "The page exists, but not for this kind of request.",
            ("To sign in, begin in the application that you want to use.",),
        ),
        503: ErrorView(
            "This server does not run yet",
            "It has not been started, or it is about to end. Nothing has been allowed.",
            ("Wait a moment, then reload this page.",),
        ),
    }
)
_NOT_RUNNING = TemporarilyUnavailable("the authorization server does not run")


class ErrorPages:
    """Turns whatever an endpoint for people raises into a page, and never into a traceback."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def guard(self, handler: Handler) -> Handler:
        """The handler, free to raise."""

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except PageError as error:
                return self._pages.answer(error.view, status=error.status, headers=error.headers)
            except Exception as error:  # noqa: BLE001 - everything else becomes server_error, logged
                return self._of_oauth(as_oauth_error(error))

        return answered

    async def http_error(self, request: Request, error: Exception) -> Response:
        """An unknown path or a wrong method: a page for browsers, JSON for programs."""
        status, headers = (
            (error.status_code, error.headers or {}) if isinstance(error, HTTPException) else (500, {})
        )
        if "text/html" in request.headers.get("accept", ""):
            return self._pages.answer(_OF_HTTP.get(status, _UNTRUSTED), status=status, headers=headers)
        code = {404: "not_found", 405: "method_not_allowed"}.get(status, "invalid_request")
        return no_store_json({"error": code}, status=status, headers=headers)

    def not_running(self, request: Request) -> Response:
        """The app is asked before it was opened, or after it was closed."""
        if "text/html" in request.headers.get("accept", ""):
            return self._pages.answer(_OF_HTTP[503], status=503)
        return error_response(_NOT_RUNNING)

    def _of_oauth(self, error: OAuthError) -> Response:
        known = _OF_OAUTH.get(error.code, _UNTRUSTED)
        view = ErrorView(known.title, known.text, known.advice, error.code, error.description)
        return self._pages.answer(view, status=error.status_code, headers=error.headers)
