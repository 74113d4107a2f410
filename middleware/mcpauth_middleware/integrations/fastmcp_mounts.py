"""Servers of FastMCP (3, 4) that are mounted in others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from fastmcp import FastMCP
from fastmcp.server.providers import FastMCPProvider

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


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
