"""Tools of FastMCP servers that are mounted in others, and of those in which they are mounted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastmcp import FastMCP
from fastmcp.server.providers import AggregateProvider, FastMCPProvider
from fastmcp.server.transforms import ResourcesAsTools
from fastmcp.server.transforms.search import RegexSearchTransform

from tests.middleware.within_servers import Server

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


class Parent(Server):
    """A server in which another one is mounted."""

    def fill(self, mcp: FastMCP[Any]) -> None:
        super().fill(mcp)
        self.child: FastMCP[Any] = FastMCP("child")
        super().fill(self.child)
        mcp.mount(self.child, namespace="child")


async def test_a_mounted_server_gets_what_was_judged_where_it_is_mounted() -> None:
    server = Parent()
    async with server.caller() as caller:
        direct = await caller.call("child_read_file", path="b")
        used = await caller.call("use", tool="child_read_file", arguments={"path": "c"})
        denied = await caller.call("use", tool="child_drop_everything", arguments={})

    assert (direct, used) == ("content of b", 'used: ["content of c"]')
    assert "Unknown tool" in denied
    assert server.ran == ["read_file b", "read_file c"]


@pytest.mark.parametrize("mounted", ["before", "later"])
async def test_a_tool_of_a_mounted_server_uses_nothing_by_itself(
    mounted: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its names are others than those of the rules. The log tells the mend."""
    server = Server() if mounted == "later" else Parent()
    async with server.caller() as caller:
        if mounted == "later":
            child = FastMCP[Any]("child")
            server.fill(child)
            server.mcp.mount(child, namespace="child")
        answer = await caller.call("child_use", tool="read_file", arguments={"path": "b"})

    assert "Unknown tool: 'read_file'" in answer
    assert server.ran == []
    assert "Add the transform to the outer server" in caplog.text


async def test_a_trusted_tool_of_a_mounted_server_uses_others_of_it() -> None:
    """It is trusted by its name in the outer server; a tool of that name in the mounted one is not."""
    server = Parent()
    async with server.caller(trusted_tools=["child_use", "use"]) as caller:
        trusted = await caller.call("child_use", tool="read_file", arguments={"path": "boss"})
        through_another = await caller.call(
            "child_use", tool="use", arguments={"tool": "drop_everything", "arguments": {}}
        )

    assert trusted == 'used: ["content of boss"]'
    assert "Unknown tool: 'drop_everything'" in through_another
    assert server.ran == ["read_file boss"]


async def test_lists_that_a_tool_of_a_mounted_server_reads_are_empty() -> None:
    server = Server()
    child = FastMCP[Any]("child")
    server.fill(child)
    child.add_transform(ResourcesAsTools(child))
    child.add_transform(RegexSearchTransform())
    server.mcp.mount(child)
    async with server.caller() as caller:
        found = await caller.call("search_tools", pattern=".*")

    assert found in ("", "[]")


def in_a_group(server: Server, child: FastMCP[Any]) -> None:
    server.mcp.add_provider(AggregateProvider([FastMCPProvider(child)]), namespace="child")


def as_a_provider(server: Server, child: FastMCP[Any]) -> None:
    server.mcp.add_provider(child, namespace="child")


def in_place_of_another(server: Server, child: FastMCP[Any]) -> None:
    server.mcp.providers.pop()
    server.mcp.mount(child, namespace="child")


@pytest.mark.parametrize("mount", [in_a_group, as_a_provider, in_place_of_another])
async def test_a_tool_uses_nothing_by_itself_however_its_server_is_mounted(
    mount: Callable[[Server, FastMCP[Any]], None],
) -> None:
    server, child = Server(), FastMCP[Any]("child")
    server.fill(child)
    server.mcp.mount(FastMCP("another"))
    async with server.caller() as caller:
        mount(server, child)
        direct = await caller.call("child_read_file", path="b")
        used = await caller.call("child_use", tool="drop_everything", arguments={})

    assert direct == "content of b"
    assert "Unknown tool: 'drop_everything'" in used
    assert server.ran == ["read_file b"]
