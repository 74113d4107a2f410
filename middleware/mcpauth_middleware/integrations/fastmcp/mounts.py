"""Servers of FastMCP (3, 4) that are mounted in others."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from fastmcp import FastMCP
from fastmcp.server.context import Context
from fastmcp.server.providers import FastMCPProvider
from fastmcp.server.providers.fastmcp_provider import (
    FastMCPProviderPrompt,
    FastMCPProviderResource,
    FastMCPProviderResourceTemplate,
    FastMCPProviderTool,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastmcp.utilities.versions import VersionSpec

_MOUNTED: Final = (
    FastMCPProviderPrompt,
    FastMCPProviderResource,
    FastMCPProviderResourceTemplate,
    FastMCPProviderTool,
)
_PROXIES: Final = ("ProxyPrompt", "ProxyResource", "ProxyTemplate", "ProxyTool")


class Asked(NamedTuple):
    """What a server was asked for."""

    server: FastMCP[Any]
    method: str
    name: str | None
    """Of the tool or prompt, or the URI; None: a list."""
    version: VersionSpec | None = None


def mounted_by(providers: Iterable[object]) -> Iterator[FastMCP[Any]]:
    """The servers among what serves a server's components, in a namespace and in groups as well."""
    for provider in providers:
        inner = provider
        while (wrapped := getattr(inner, "_inner", None)) is not None:
            inner = wrapped  # in a namespace
        if isinstance(inner, FastMCPProvider):
            yield inner.server
        elif isinstance(inner, FastMCP):
            yield inner
        elif isinstance(group := getattr(inner, "providers", None), list):
            yield from mounted_by(cast("list[object]", group))


async def passes_on(asked: Asked, server: FastMCP[Any], name: str | None) -> bool:
    """Whether what was asked for only hands over to this name of another server, mounted or behind a proxy.

    Anything else is code of the server, which has come to the other one by itself.
    """
    component = await _component(asked)
    while (transformed := getattr(component, "parent_tool", None)) is not None:
        component = transformed
    if _is_proxy(component):
        return True
    if not isinstance(component, _MOUNTED):
        return False
    # A resource is handed over by its URI, which may have come from a template.
    there: object = getattr(component, "_original_name", name)
    mounted: object = getattr(component, "_server", None)
    return mounted is server and there == name


def _is_proxy(component: object) -> bool:
    # Whoever has one has loaded this module, and with it the client of FastMCP.
    module = sys.modules.get("fastmcp.server.providers.proxy")
    return module is not None and isinstance(component, tuple(getattr(module, name) for name in _PROXIES))


async def _component(asked: Asked) -> object:
    server, method, name, version = asked
    if name is None:
        return None
    # What sessions see is kept by server.
    async with Context(fastmcp=server):
        match method:
            case "tools/call":
                tool = await server.get_tool(name, version)
                return await _tool_of_an_app(server, name) if tool is None else tool
            case "prompts/get":
                return await server.get_prompt(name, version)
            case _:
                resource = await server.get_resource(name, version)
                return await server.get_resource_template(name, version) if resource is None else resource


async def _tool_of_an_app(server: FastMCP[Any], name: str) -> object:
    """The tool that an app's page calls by a name made for it; versions without apps have no such module."""
    addressing = sys.modules.get("fastmcp.server.providers.addressing")
    hashed = None if addressing is None else addressing.parse_hashed_backend_name(name)
    return None if hashed is None else await server.get_tool_by_hash(*hashed)
