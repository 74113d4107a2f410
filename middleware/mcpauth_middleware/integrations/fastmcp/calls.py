"""FastMCP (3, 4): a tool that uses other tools, resources or prompts of its server as its caller may.

FastMCP's tool search, its code mode, `ResourcesAsTools`, and tools that call `ctx.fastmcp.call_tool(...)` ask
their server by themselves, and no message comes for it. But what they ask passes the server's own
middleware, of which this is one.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

from fastmcp.exceptions import AuthorizationError
from fastmcp.server.middleware import Middleware
from fastmcp.utilities.versions import VersionSpec
from pydantic_core import to_json

from mcpauth_middleware.catalogue.definition import ToolDefinition
from mcpauth_middleware.errors import Refused
from mcpauth_middleware.integrations.fastmcp.errors import error_of, in_background, unknown
from mcpauth_middleware.integrations.fastmcp.mounts import Asked, mounted_by, passes_on
from mcpauth_middleware.integrations.fastmcp.running import (
    AtWork,
    at_work_on,
    current_call,
    is_asked_of_another,
    is_left,
    now_at_work,
)
from mcpauth_middleware.message import MessageRefused
from mcpauth_middleware.message.refusal import INVALID_PARAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from fastmcp import FastMCP
    from fastmcp.server.middleware import CallNext, MiddlewareContext

    from mcpauth_middleware.audit.event import Outcome
    from mcpauth_middleware.message.target import ListKind
    from mcpauth_middleware.within import Within

    # As FastMCP has them: each method has a message and an answer of its own.
    _Context = MiddlewareContext[Any]
    _Next = CallNext[Any, Any]
    _Answer = Any

# The kind of each list, and what makes an entry of it.
_LISTS: Final[Mapping[str, tuple[ListKind, Callable[[Any], Any]]]] = {
    "tools/list": ("tools", lambda item: item.to_mcp_tool()),
    "prompts/list": ("prompts", lambda item: item.to_mcp_prompt()),
    "resources/list": ("resources", lambda item: item.to_mcp_resource()),
    "resources/templates/list": ("resourceTemplates", lambda item: item.to_mcp_template()),
}
# What rules may know of an entry, in the words of either SDK. A schema takes ten times as long to read.
_ABOUT: Final = {"name", "uri", "uri_template", "uriTemplate", "annotations", "meta"}

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

    async def on_call_tool(self, context: _Context, call_next: _Next) -> _Answer:
        """Judge the call of a tool."""
        asked = context.message
        return await self._used("tools/call", asked.name, asked.arguments or {}, context, call_next)

    async def on_get_prompt(self, context: _Context, call_next: _Next) -> _Answer:
        """Judge the use of a prompt."""
        asked = context.message
        return await self._used("prompts/get", asked.name, asked.arguments or {}, context, call_next)

    async def on_read_resource(self, context: _Context, call_next: _Next) -> _Answer:
        """Judge the reading of a resource."""
        return await self._used("resources/read", str(context.message.uri), None, context, call_next)

    async def check_resource_access(self, context: _Context) -> None:
        """Tell of a resource only those who may read it: FastMCP 4 asks so before it shows a skill.

        Raises:
            AuthorizationError: the caller may not read it.
        """
        within, uri = current_call(), str(context.message.uri)
        if within is None or is_asked_of_another(self._server):
            return  # the server in which this one is mounted is asked, too
        if not within.shows("resources", {"uri": uri}):
            raise AuthorizationError(f"Unknown resource: {uri!r}")

    async def on_list_tools(self, context: _Context, call_next: _Next) -> _Answer:
        """Show a tool only the tools that its caller may use."""
        return await self._listed("tools/list", context, call_next)

    async def on_list_prompts(self, context: _Context, call_next: _Next) -> _Answer:
        """Show a tool only the prompts that its caller may use."""
        return await self._listed("prompts/list", context, call_next)

    async def on_list_resources(self, context: _Context, call_next: _Next) -> _Answer:
        """Show a tool only the resources that its caller may use."""
        return await self._listed("resources/list", context, call_next)

    async def on_list_resource_templates(self, context: _Context, call_next: _Next) -> _Answer:
        """Show a tool only the templates that its caller may use."""
        return await self._listed("resources/templates/list", context, call_next)

    async def _used(
        self,
        method: str,
        name: str,
        arguments: Mapping[str, Any] | None,
        context: _Context,
        call_next: _Next,
    ) -> _Answer:
        self.stand_in_mounted()
        within = current_call()
        if is_left(within):
            raise in_background(method, name)
        if within is None:
            return await call_next(context)
        asked = Asked(self._server, method, name, _version(context.message))
        place = await self._place(within, asked, arguments)
        if place == "mounted":
            self._warn(method, name)
            raise unknown(method, name)
        if place == "within":
            return await self._judged(within, asked, name, arguments, context, call_next)
        with self._at_work(within, place, asked):
            return await call_next(context)

    async def _judged(
        self,
        within: Within,
        asked: Asked,
        name: str,
        arguments: Mapping[str, Any] | None,
        context: _Context,
        call_next: _Next,
    ) -> _Answer:
        method = asked.method
        try:
            params = _params(method, name, arguments, context.message)
            with self._at_work(within, "within", asked):
                definition = await self._definition(name, asked.version) if method == "tools/call" else None
            use = await within.admit(method, _sent(params), definition=definition)
        except (Refused, MessageRefused) as refused:
            raise error_of(refused, method, name) from None
        if use.arguments is not None:
            # What was judged is what is used, whatever becomes of the objects that it was made of.
            context = context.copy(message=context.message.model_copy(update={"arguments": use.arguments}))
        result: Outcome = "aborted"
        try:
            with self._at_work(within, "within", asked):
                answer = await call_next(context)
            result = "ok"
        except Exception:
            result = "error"
            raise
        finally:
            await use.ended(result)
        return answer

    async def _listed(self, method: str, context: _Context, call_next: _Next) -> _Answer:
        self.stand_in_mounted()
        within = current_call()
        if is_left(within):
            return []
        if within is None:
            return await call_next(context)
        asked = Asked(self._server, method, None)
        place = await self._place(within, asked, None)
        if place == "mounted":
            self._warn(method, None)
            return []
        with self._at_work(within, place, asked):
            items = await call_next(context)
        if place != "within":
            return items
        kind, entry_of = _LISTS[method]
        return [item for item in items if within.shows(kind, _document(entry_of(item), _ABOUT))]

    async def _place(self, within: Within, asked: Asked, arguments: Mapping[str, Any] | None) -> _Place:
        """What this server has to do with the call when it is asked for something."""
        at_work = at_work_on(within)
        if at_work is None:
            if is_asked_of_another(self._server):
                return "passed on" if asked.name is None else "mounted"
            return "begins" if within.begins(asked.method, asked.name, arguments) else "within"
        if not any(server is self._server for server in at_work.servers):
            # The server asks for lists, too, when it looks for what it is to run.
            if asked.name is None or await passes_on(at_work.asked, self._server, asked.name):
                return "passed on"
            return "trusted" if within.trusts(at_work.tool) else "mounted"
        if within.trusts(at_work.tool):
            return "trusted"
        return "within" if at_work.servers[0] is self._server else "mounted"

    @contextmanager
    def _at_work(self, within: Within, place: _Place, asked: Asked) -> Generator[None]:
        before = at_work_on(within)
        now = AtWork(within, (self._server,), asked.name if asked.method == "tools/call" else None, asked)
        if before is not None and (place == "passed on" or before.servers[0] is not self._server):
            servers = tuple(server for server in before.servers if server is not self._server)
            tool = before.tool if place == "passed on" else None
            now = before._replace(servers=(*servers, self._server), tool=tool, asked=asked)
        token = now_at_work.set(now)
        try:
            yield
        finally:
            now_at_work.reset(token)

    async def _definition(self, name: str, version: VersionSpec | None) -> ToolDefinition | None:
        tool = await self._server.get_tool(name, version)
        return None if tool is None else ToolDefinition.of(_document(tool.to_mcp_tool()))

    def _warn(self, method: str, name: str | None) -> None:
        _logger.warning(
            "A tool asked %r by itself, which is not the server that the call came to: %s %.100r. That is "
            "refused, since the rules know only the names of the outermost server. Add the transform to the "
            "outer server, or name the tool in trusted_tools.",
            self._server.name,
            method,
            name,
        )


_Place = Literal["begins", "passed on", "trusted", "within", "mounted"]
"""It begins the call that was judged, or gets it from the server in which it is mounted; or a tool asks it
within: one that is trusted, one that is judged, or one of a mounted server, whose names no rule knows."""


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


def _version(message: Any) -> VersionSpec | None:  # noqa: ANN401 (of either SDK)
    """Which versions of a component are asked for."""
    document: dict[str, dict[str, dict[str, str | dict[str, str]]]] = message.model_dump(
        by_alias=True, include={"meta"}, exclude_none=True
    )
    asked = document.get("_meta", {}).get("fastmcp", {}).get("version")
    if asked is None:
        return None
    return VersionSpec(**asked) if isinstance(asked, dict) else VersionSpec(eq=asked)


def _sent(params: Mapping[str, Any]) -> bytes:
    """The parameters as a client would have to send them."""
    try:
        return to_json(params, inf_nan_mode="constants")
    except ValueError:
        raise MessageRefused(INVALID_PARAMS, "params.arguments must be values of JSON") from None


def _document(entry: Any, include: set[str] | None = None) -> dict[str, Any]:  # noqa: ANN401
    document: dict[str, Any] = entry.model_dump(
        mode="json", by_alias=True, exclude_none=True, include=include
    )
    return document
