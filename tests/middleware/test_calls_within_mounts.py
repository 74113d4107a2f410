"""Tools of FastMCP servers that are mounted in others, and of those in which they are mounted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastmcp import FastMCP, Skill
from fastmcp.apps import FastMCPApp
from fastmcp.server import create_proxy
from fastmcp.server.providers import AggregateProvider, FastMCPProvider
from fastmcp.server.providers.addressing import hashed_backend_name
from fastmcp.server.transforms import ResourcesAsTools, ToolTransform
from fastmcp.server.transforms.search import RegexSearchTransform
from fastmcp.skills.provider import SkillCatalogProvider
from fastmcp.tools.tool_transform import ToolTransformConfig
from fastmcp.utilities.versions import VersionSpec
from mcp_types import ToolAnnotations

from mcpauth_middleware import Policy
from tests.middleware.edge_helpers import post, rpc
from tests.middleware.within_servers import POLICY, Server

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


async def test_what_is_mounted_is_reached_through_transforms_and_in_several_depths() -> None:
    """Handing over is no use by a tool: it is judged once, by the outermost name."""
    server, child, grandchild = Server(), FastMCP[Any]("child"), FastMCP[Any]("grandchild")
    server.fill(grandchild)
    grandchild.tool(server.versions("1.0"), name="versions", version="1.0")
    grandchild.tool(server.versions("2.0"), name="versions", version="2.0")
    child.mount(grandchild, namespace="in")
    child.add_transform(ToolTransform({"in_read_file": ToolTransformConfig(name="read")}))
    server.mcp.mount(child, namespace="child")
    behind_a_proxy = FastMCP[Any]("another")
    server.fill(behind_a_proxy)
    server.mcp.mount(create_proxy(behind_a_proxy), namespace="proxy")
    app = FastMCPApp("app")
    app.tool(server.versions("app"), name="save")
    grandchild.add_provider(app)
    rules = """
version = 1
[[rules]]
id = "what is mounted"
allow = { tools = ["child_*", "proxy_*", "__*_save"], prompts = ["child_*"], resources = ["demo://child/**"] }
"""
    async with server.caller(policy=Policy.from_toml(rules)) as caller:
        texts = [
            await caller.call("child_read", path="b"),
            await caller.call("child_in_versions"),
            await caller.call("proxy_read_file", path="c"),
            await caller.call(hashed_backend_name("app", "save")),
        ]
        uri = "demo://child/in/public/one"
        read = await post(caller.client, "resources/read", {"uri": uri}, headers=caller.headers)
        name = {"name": "child_in_greet", "arguments": {"path": "d"}}
        greeted = await post(caller.client, "prompts/get", name, headers=caller.headers)

    assert texts == ["content of b", "2.0", "content of c", "app"]
    assert rpc(read)["result"]["contents"][0]["text"] == "public one"
    assert rpc(greeted)["result"]["messages"][0]["content"]["text"] == "hello d"
    assert [event["phase"] for event in server.journal.events] == ["intent", "outcome"] * 6


async def test_a_trusted_tool_may_ask_a_mounted_server() -> None:
    """What that runs asks by itself no more than others."""
    server = Parent()

    @server.mcp.tool
    async def again(tool: str, arguments: dict[str, Any]) -> str:
        return str((await server.child.call_tool(tool, arguments)).content)

    async with server.caller(trusted_tools=["again"]) as caller:
        trusted = await caller.call("again", tool="drop_everything", arguments={})
        through = await caller.call(
            "again", tool="use", arguments={"tool": "drop_everything", "arguments": {}}
        )

    assert "gone" in trusted
    assert "Unknown tool: 'drop_everything'" in through
    assert server.ran == ["drop_everything"]


async def test_any_of_several_versions_is_judged_by_what_it_is() -> None:
    """A range of versions reaches another tool than the newest one."""
    server = Server()
    server.mcp.tool(server.versions("1.0"), name="two", version="1.0")
    reads = ToolAnnotations(read_only_hint=True)
    server.mcp.tool(server.versions("2.0"), name="two", version="2.0", annotations=reads)

    @server.mcp.tool
    async def again(below: str) -> str:
        return str((await server.mcp.call_tool("two", {}, version=VersionSpec(lt=below))).content)

    rules = POLICY.replace('tools = ["count"]', 'tools = ["two"]')
    async with server.caller(policy=Policy.from_toml(rules)) as caller:
        answers = [await caller.call("again", below=below) for below in ("1.5", "3.0")]

    assert "Unknown tool: 'two'" in answers[0]
    assert "2.0" in answers[1]
    assert server.ran == ["2.0"]


async def test_completion_is_there_for_what_is_mounted() -> None:
    server = Parent()

    @server.child.resource("demo://found{?text}")
    def found(text: str = "") -> str:
        return text

    @server.mcp.completion
    def complete(ref: object, argument: object, context: object) -> list[str]:
        return ["one"]

    params = {
        "ref": {"type": "ref/resource", "uri": "demo://child/found{?text}"},
        "argument": {"name": "text", "value": "o"},
    }
    rules = 'version = 1\n[[rules]]\nid = "all"\nallow = { resources = ["demo://child/**"] }\n'
    async with server.caller(policy=Policy.from_toml(rules)) as caller:
        answer = await post(caller.client, "completion/complete", params, headers=caller.headers)

    assert rpc(answer)["result"]["completion"]["values"] == ["one"]


async def test_skills_are_shown_to_those_who_may_read_them() -> None:
    """`skills/list` and `skills/get` of FastMCP 4 are no lists of MCP, and hold what is read as resources."""

    def skills() -> SkillCatalogProvider:
        names = {"public": "one", "private": "two"}
        catalog = {
            f"{folder}/{name}": Skill(name=name, description="d", instructions="i")
            for folder, name in names.items()
        }
        return SkillCatalogProvider(catalog)

    server = Parent()
    server.mcp.add_provider(skills())
    server.child.add_provider(skills())
    server.mcp.mount(server.child, namespace="again")
    rules = """
version = 1
[[rules]]
id = "skills"
allow = { methods = ["skills/*"], resources = ["skill://public/**", "skill://child/public/**"] }
"""
    async with server.caller(policy=Policy.from_toml(rules)) as caller:
        listed = await post(caller.client, "skills/list", {}, headers=caller.headers)
        uri = {"uri": "skill://private/two/SKILL.md"}
        hidden = await post(caller.client, "skills/get", uri, headers=caller.headers)
        uri = {"uri": "skill://child/public/one/SKILL.md"}
        shown = await post(caller.client, "skills/get", uri, headers=caller.headers)

    assert [skill["uri"] for skill in rpc(listed)["result"]["skills"]] == [
        "skill://child/public/one/SKILL.md",
        "skill://public/one/SKILL.md",
    ]
    assert rpc(hidden)["error"]["message"] == "Unknown skill URI: skill://private/two/SKILL.md"
    assert rpc(shown)["result"]["skill"]["frontmatter"]["name"] == "one"


async def test_the_log_keeps_what_a_model_names_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    server = Parent()
    async with server.caller() as caller:
        await caller.call("child_use", tool="read_file\nforged " + 1000 * "x", arguments={})

    [record] = [record for record in caplog.records if "Add the transform" in record.getMessage()]
    assert "\n" not in record.getMessage()
    assert len(record.getMessage()) < 500
