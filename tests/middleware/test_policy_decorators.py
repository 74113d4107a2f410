"""Rules beside the tool: the name is the one under which the real frameworks list it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, cast

import pytest
from fastmcp import Client, FastMCP
from fastmcp.tools import Tool
from mcp.server.mcpserver import MCPServer

from mcpauth_middleware import requires
from mcpauth_middleware.policy import Policy, PolicyError, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


def tools_of(policy: Policy) -> list[str]:
    return [tool for rule in policy.rules for tool in rule.tools]


async def test_the_function_is_returned_as_it_is() -> None:
    """The decorator adds nothing to the call."""
    policy = Policy()

    def search(q: str) -> str:
        return q

    assert policy.requires("search")(search) is search
    assert policy.rules == (Rule(id="search", effect="allow", tools=("search",), scopes=("search",)),)


async def test_below_and_above_the_sdk_s_decorator() -> None:
    """`mcp` 2.x lists a tool under its function's name."""
    policy, server = Policy(), MCPServer("s")

    @server.tool()
    @policy.requires("a")
    def below() -> str:
        return ""

    @policy.requires("a")
    @server.tool()
    def above() -> str:
        return ""

    assert (below(), above()) == ("", "")
    assert tools_of(policy) == [tool.name for tool in await server.list_tools()]


async def test_below_and_above_fastmcp_s_decorator() -> None:
    """FastMCP 4: above it, a name given to the framework's decorator is found too."""
    policy, server = Policy(), FastMCP("s")

    @server.tool
    @policy.requires("a")
    def below() -> str:
        return ""

    @policy.requires("a")
    @server.tool(name="renamed")
    def above() -> str:
        return ""

    assert (below(), above()) == ("", "")
    async with Client(server) as client:
        assert sorted(tools_of(policy)) == sorted(tool.name for tool in await client.list_tools())


async def test_a_tool_object_has_a_name() -> None:
    """FastMCP's `Tool`, and whatever keeps the function in `fn`."""

    def search() -> str:
        return ""

    class Wrapped:
        fn = staticmethod(search)

    policy = Policy()
    tool = Tool.from_function(search, name="found")
    assert policy.requires()(tool) is tool
    policy.requires()(Wrapped())
    assert tools_of(policy) == ["found", "search"]


async def test_a_name_can_be_given() -> None:
    """When the framework's decorator below renames the tool and leaves no trace of it."""
    policy, server = Policy(), MCPServer("s")

    @policy.requires("a", tool="renamed")
    @server.tool(name="renamed")
    def search() -> str:
        return ""

    assert search() == ""
    assert tools_of(policy) == [tool.name for tool in await server.list_tools()]


@pytest.mark.parametrize("nameless", [functools.partial(print), object(), lambda: None, None])
async def test_what_has_no_name_is_refused_with_the_mend(nameless: object) -> None:
    """A rule under a guessed name would guard nothing."""
    policy = Policy()
    with pytest.raises(PolicyError, match=r'tool="its_name"'):
        policy.requires("a")(nameless)
    assert policy.rules == ()


async def test_without_parentheses_it_is_refused_and_replaces_no_tool() -> None:
    def search() -> None: ...

    policy = Policy()
    for decorator in (policy.requires, requires):
        bare = cast("Callable[..., object]", decorator)
        with pytest.raises(
            PolicyError, match=r'requires: has no parentheses; write @requires\("files:read"\)'
        ):
            bare(search)
    assert policy.rules == ()


async def test_a_pattern_is_no_tool() -> None:
    """What a rule says of many tools stands in a rule, not beside one of them."""
    policy = Policy()
    with pytest.raises(PolicyError, match="name one tool"):
        policy.requires("a", tool="*")(print)
    assert policy.rules == ()


async def test_a_scope_beside_a_tool_is_checked_too() -> None:
    """RFC 6749 §3.3."""
    with pytest.raises(PolicyError, match="is not a scope"):
        Policy().requires("files read")(print)
