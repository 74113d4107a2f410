"""Answers: the one place that turns an error into a response, RFC 6749 §5.2 and RFC 7591 §3.2.2."""

from __future__ import annotations

import json
import logging
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from starlette.responses import Response

from mcpauth.oauth.errors import NO_HEADERS, OAuthError, ServerError, TemporarilyUnavailable
from mcpauth.oauth.store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

logger = logging.getLogger(__name__)

P = ParamSpec("P")

NO_STORE = {"Cache-Control": "no-store"}

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class _NoStoreJson(Response):
    """As Starlette's `JSONResponse`, without what it does on each call to find out what is known here."""

    def __init__(self, body: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> None:
        self.status_code = status
        self.background = None
        self.body = _JSON.encode(body).encode()
        self.raw_headers = [
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
            *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()),
        ]


def no_store_json(
    body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] = NO_HEADERS
) -> Response:
    """A JSON answer that nobody may keep (RFC 6749 §5.1)."""
    return _NoStoreJson(body, status, headers)


def empty(*, status: int = 200) -> Response:
    """An answer without a body that nobody may keep."""
    return Response(status_code=status, headers=NO_STORE)


def error_response(error: OAuthError) -> Response:
    """An error as JSON."""
    body = {"error": error.code, "error_description": error.description}
    return no_store_json(body, status=error.status_code, headers=error.headers)


def as_oauth_error(error: Exception) -> OAuthError:
    """Any exception as an error that may be shown; what is not one of ours is logged, without its details."""
    if isinstance(error, OAuthError):
        return error
    if isinstance(error, StoreUnavailable):
        logger.error("the store is unavailable: %s", error)
        return TemporarilyUnavailable("the server cannot answer now; try again", headers={"Retry-After": "1"})
    logger.error("unexpected error in an endpoint", exc_info=error)
    return ServerError("the server failed on this request")


def oauth_errors(handler: Callable[P, Awaitable[Response]]) -> Callable[P, Awaitable[Response]]:
    """Let a handler raise: the answer is the error as JSON, and never a traceback."""

    @wraps(handler)
    async def answered(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return await handler(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - nothing may reach the client as a traceback; it is logged
            return error_response(as_oauth_error(error))

    return answered
