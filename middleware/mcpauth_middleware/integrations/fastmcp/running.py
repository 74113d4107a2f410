"""Which protected call FastMCP (3, 4) runs now, and which of its servers are at work on it."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from fastmcp.server.dependencies import get_context, get_http_request

from mcpauth_middleware.within import WITHIN_KEY, Within

if TYPE_CHECKING:
    from starlette.requests import Request

    from mcpauth_middleware.integrations.fastmcp.mounts import Asked


class AtWork(NamedTuple):
    """Who is at work: the servers, each mounted in the one before, and the tool by its outermost name."""

    within: Within
    servers: tuple[object, ...]
    tool: str | None
    asked: Asked
    """What the last of the servers was asked for."""


now_at_work: ContextVar[AtWork | None] = ContextVar("mcpauth_at_work", default=None)


def at_work_on(within: Within) -> AtWork | None:
    """Who is at work on this call; None where it has not begun."""
    now = now_at_work.get()
    return now if now is not None and now.within is within else None


def current_call() -> Within | None:
    """The protected call that runs now; None where the server is used in another way."""
    if (request := _own_request()) is None and (at_work := now_at_work.get()) is not None:
        # A client in memory asks. What FastMCP knows is the HTTP request with which a session began.
        return at_work.within
    try:
        found = (request or get_http_request()).scope.get(WITHIN_KEY)
    except RuntimeError:
        return None
    return found if isinstance(found, Within) else None


def _own_request() -> Request | None:
    """The HTTP request of the very message that is handled."""
    try:
        context = get_context().request_context
    except RuntimeError:
        return None
    return None if context is None else context.request


def is_asked_of_another(server: object) -> bool:
    """Whether the HTTP request that is handled is one to another server than this."""
    try:
        app = get_http_request().scope.get("app")
    except RuntimeError:
        return False
    outermost = getattr(getattr(app, "state", None), "fastmcp_server", server)
    return outermost is not server


def is_left(within: Within | None) -> bool:
    """Whether nobody can tell any more for whom something is asked: the request that began it is over.

    So it is with tasks of FastMCP, which Docket runs, and with a client in memory that a call has left open.
    """
    if within is not None:
        return within.is_over and _own_request() is None
    execution = getattr(sys.modules.get("docket.dependencies"), "current_execution", None)
    return execution is not None and execution.get(None) is not None
