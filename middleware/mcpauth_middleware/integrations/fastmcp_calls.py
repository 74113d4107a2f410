"""FastMCP (3, 4): a tool that uses other tools, resources or prompts of its server as its caller may.

FastMCP's tool search, its code mode, `ResourcesAsTools`, and tools that call `ctx.fastmcp.call_tool(...)` ask
their server by themselves, and no message comes for it. But what they ask passes the server's own
middleware, of which this is one.
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from fastmcp.server.dependencies import get_http_request
from fastmcp.server.middleware import Middleware
from fastmcp.utilities.versions import VersionSpec
from pydantic_core import to_json

from mcpauth_middleware.catalogue.definition import ToolDefinition, asked_version
from mcpauth_middleware.errors import Refused
from mcpauth_middleware.integrations.fastmcp_errors import error_of, in_background, unknown
from mcpauth_middleware.integrations.fastmcp_mounts import mounted_by
from mcpauth_middleware.message import MessageRefused
from mcpauth_middleware.message.refusal import INVALID_PARAMS
from mcpauth_middleware.within import WITHIN_KEY, Within

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from fastmcp import FastMCP
    from fastmcp.server.middleware import CallNext, MiddlewareContext

    from mcpauth_middleware.audit.event import Outcome
    from mcpauth_middleware.message.target import ListKind

    _Context = MiddlewareContext[Any]
    _Next = CallNext[Any, Any]

# The kind of each list, and what makes an entry of it.
_LISTS: Final[Mapping[str, tuple[ListKind, Callable[[Any], Any]]]] = {
    "tools/list": ("tools", lambda item: item.to_mcp_tool()),
    "prompts/list": ("prompts", lambda item: item.to_mcp_prompt()),
    "resources/list": ("resources", lambda item: item.to_mcp_resource()),
    "resources/templates/list": ("resourceTemplates", lambda item: item.to_mcp_template()),
}

_logger = logging.getLogger(__name__)


class AskBeforeUse(Middleware):
    """Stands before a server. What it is asked for within a call, it asks that call about."""

    def __init__(self, server: FastMCP[Any]) -> None:
        self._server = server
        self._mounted: list[FastMCP[Any]] = []

    @classmethod
    def stand_in(cls, server: FastMCP[Any]) -> None:
        """Stand before this server, and before those that are mounted in it."""
        standing = [each for each in server.middleware if isinstance(each, cls)]
        if not standing:
            standing = [cls(server)]
            # First: nothing is answered from a cache before, and no argument changed.
            server.middleware[:0] = standing
        standing[0].stand_in_mounted()

    def stand_in_mounted(self) -> None:
        """The same for those that were mounted since."""
        mounted = list(mounted_by(self._server.providers))
        if mounted != self._mounted:
            self._mounted = mounted
            for each in mounted:
                self.stand_in(each)

    async def on_call_tool(self, context: _Context, call_next: _Next) -> Any:  # noqa: ANN401 (as FastMCP has it)
        """Judge the call of a tool."""
        asked = context.message
        return await self._used("tools/call", asked.name, asked.arguments or {}, context, call_next)

    async def on_get_prompt(self, context: _Context, call_next: _Next) -> Any:  # noqa: ANN401
        """Judge the use of a prompt."""
        asked = context.message
        return await self._used("prompts/get", asked.name, asked.arguments or {}, context, call_next)

    async def on_read_resource(self, context: _Context, call_next: _Next) -> Any:  # noqa: ANN401
        """Judge the reading of a resource."""
        return await self._used("resources/read", str(context.message.uri), None, context, call_next)

    async def on_list_tools(self, context: _Context, call_next: _Next) -> Any:  # noqa: ANN401
        """Show a tool only the tools that its caller may use."""
        return await self._listed("tools/list", context, call_next)

    async def on_list_prompts(self, context: _Context, call_next: _Next) -> Any:  # noqa: ANN401
        """Show a tool only the prompts that its caller may use."""
        return await self._listed("prompts/list", context, call_next)

    async def on_list_resources(self, context: _Context, call_next: _Next) -> Any:  # noqa: ANN401
        """Show a tool only the resources that its caller may use."""
        return await self._listed("resources/list", context, call_next)

    async def on_list_resource_templates(self, context: _Context, call_next: _Next) -> Any:  # noqa: ANN401
        """Show a tool only the templates that its caller may use."""
        return await self._listed("resources/templates/list", context, call_next)

    async def _used(
        self,
        method: str,
        name: str,
        arguments: Mapping[str, Any] | None,
        context: _Context,
        call_next: _Next,
    ) -> Any:  # noqa: ANN401
        self.stand_in_mounted()
        within = _current_call()
        if within is None:
            if _is_background_task():
                raise in_background(method, name)
            return await call_next(context)
        place = self._place(within, method, name, arguments)
        if place == "mounted":
            self._warn(method, name)
            raise unknown(method, name)
        if place == "within":
            return await self._judged(within, method, name, arguments, context, call_next)
        with self._at_work(within, place, method, name):
            return await call_next(context)

    async def _judged(
        self,
        within: Within,
        method: str,
        name: str,
        arguments: Mapping[str, Any] | None,
        context: _Context,
        call_next: _Next,
    ) -> Any:  # noqa: ANN401
        try:
            params = _params(method, name, arguments, context.message)
            definition = await self._definition(name, params) if method == "tools/call" else None
            use = await within.admit(method, _sent(params), definition=definition)
        except (Refused, MessageRefused) as refused:
            raise error_of(refused, method, name) from None
        if use.arguments is not None:
            # What was judged is what is used, whatever becomes of the objects that it was made of.
            context = context.copy(message=context.message.model_copy(update={"arguments": use.arguments}))
        result: Outcome = "aborted"
        try:
            with self._at_work(within, "within", method, name):
                answer = await call_next(context)
            result = "ok"
        except Exception:
            result = "error"
            raise
        finally:
            await use.ended(result)
        return answer

    async def _listed(self, method: str, context: _Context, call_next: _Next) -> Any:  # noqa: ANN401
        self.stand_in_mounted()
        within = _current_call()
        if within is None:
            return [] if _is_background_task() else await call_next(context)
        place = self._place(within, method, None, None)
        if place == "mounted":
            self._warn(method, None)
            return []
        with self._at_work(within, place, method, None):
            items = await call_next(context)
        if place != "within":
            return items
        kind, entry_of = _LISTS[method]
        return [item for item in items if within.shows(kind, _document(entry_of(item)))]

    def _place(
        self, within: Within, method: str, name: str | None, arguments: Mapping[str, Any] | None
    ) -> _Place:
        """What this server has to do with the call when it is asked for something."""
        at_work = _at_work_on(within)
        if at_work is None:
            return "begins" if within.begins(method, name, arguments) else "within"
        if not any(server is self._server for server in at_work.servers):
            return "passed on"
        if within.trusts(at_work.tool):
            return "trusted"
        return "within" if at_work.servers[0] is self._server else "mounted"

    @contextmanager
    def _at_work(self, within: Within, place: _Place, method: str, name: str | None) -> Generator[None]:
        before = _at_work_on(within)
        now = _AtWork(within, (self._server,), name if method == "tools/call" else None)
        if before is not None and place == "passed on":
            now = before._replace(servers=(*before.servers, self._server))
        elif before is not None and place == "trusted" and before.servers[0] is not self._server:
            now = before._replace(tool=None)
        token = _now_at_work.set(now)
        try:
            yield
        finally:
            _now_at_work.reset(token)

    async def _definition(self, name: str, params: Mapping[str, Any]) -> ToolDefinition | None:
        version = asked_version(params)
        tool = await self._server.get_tool(name, None if version is None else VersionSpec(eq=version))
        return None if tool is None else ToolDefinition.of(_document(tool.to_mcp_tool()))

    def _warn(self, method: str, name: str | None) -> None:
        _logger.warning(
            "A tool of %r, which is mounted in another server, asked it by itself: %s %s. That is refused, "
            "since the rules know only the names of the outer server. Add the transform to the outer server, "
            "or name the tool in trusted_tools.",
            self._server.name,
            method,
            "" if name is None else name,
        )


_Place = Literal["begins", "passed on", "trusted", "within", "mounted"]
"""It begins the call that was judged, or gets it from the server in which it is mounted; or a tool asks it
within: one that is trusted, one that is judged, or one of a mounted server, whose names no rule knows."""


class _AtWork(NamedTuple):
    """Who is at work: the servers, each mounted in the one before, and the tool by its outermost name."""

    within: Within
    servers: tuple[object, ...]
    tool: str | None


_now_at_work: ContextVar[_AtWork | None] = ContextVar("mcpauth_at_work", default=None)


def _at_work_on(within: Within) -> _AtWork | None:
    now = _now_at_work.get()
    return now if now is not None and now.within is within else None


def _current_call() -> Within | None:
    """The protected call that runs now; None where the server is used in another way."""
    try:
        found = get_http_request().scope.get(WITHIN_KEY)
    except RuntimeError:
        return None
    return found if isinstance(found, Within) else None


def _is_background_task() -> bool:
    """Whether what runs now was asked for by a request that is over (FastMCP's tasks, which Docket runs)."""
    execution = getattr(sys.modules.get("docket.dependencies"), "current_execution", None)
    return execution is not None and execution.get(None) is not None


def _params(
    method: str,
    name: str,
    arguments: Mapping[str, Any] | None,
    message: Any,  # noqa: ANN401 (of either SDK)
) -> dict[str, Any]:
    if method == "resources/read":
        return {"uri": name}
    meta: dict[str, Any] = message.model_dump(by_alias=True, include={"meta"}, exclude_none=True)
    return {"name": name, "arguments": arguments, **meta}


def _sent(params: Mapping[str, Any]) -> bytes:
    """The parameters as a client would have to send them."""
    try:
        return to_json(params, inf_nan_mode="constants")
    except ValueError:
        raise MessageRefused(INVALID_PARAMS, "params.arguments must be values of JSON") from None


def _document(entry: Any) -> dict[str, Any]:  # noqa: ANN401
    document: dict[str, Any] = entry.model_dump(mode="json", by_alias=True, exclude_none=True)
    return document
