"""FastMCP's client with its own OAuth, in a user's few lines, against the servers of the walkthrough."""

from __future__ import annotations

import asyncio
import webbrowser
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from fastmcp import Client
from fastmcp.client.auth import OAuth
from fastmcp.exceptions import ToolError

from examples.walkthrough.browser import Browser
from examples.walkthrough.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Using in-memory token storage"),
]

TOOLS = {
    "notes": ("list_notes", "add_note", {"text": "from FastMCP"}),
    "tasks": ("list_tasks", "add_task", {"task": "from FastMCP"}),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("servers") / "demo", first_port=0) as running:
        yield running


class Person:
    """Takes the place of the browser that the client opens, and goes back to where the client listens."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.asked: list[set[str]] = []
        """The scopes of each authorization."""
        self.visits: list[asyncio.Task[None]] = []

    def open(self, url: str) -> bool:
        """What `webbrowser.open` does: return at once."""
        query = parse_qs(urlsplit(url).query)
        self.asked.append(set(query["scope"][0].split()))
        self.visits.append(asyncio.create_task(self._visit(url, query["redirect_uri"][0])))
        return True

    async def _visit(self, url: str, redirect_uri: str) -> None:
        browser = Browser(self._servers.username, self._servers.password)
        try:
            back = await browser.visit(url, back_to=redirect_uri)
        finally:
            await browser.aclose()
        async with httpx2.AsyncClient() as http:
            assert (await http.get(back)).status_code == 200


@pytest.mark.parametrize("server", TOOLS)
async def test_fastmcps_client_signs_in_calls_and_steps_up(
    servers: Servers, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MCP authorization: one authorization to connect, one to step up; what is denied stays hidden."""
    person = Person(servers)
    monkeypatch.setattr(webbrowser, "open", person.open)
    reading, writing, arguments = TOOLS[server]
    url = servers.addresses.notes if server == "notes" else servers.addresses.tasks

    async with Client(url, auth=OAuth(callback_host="127.0.0.1")) as client:
        listed = {tool.name for tool in await client.list_tools()}
        assert reading in listed
        assert writing not in listed
        before = await client.call_tool(reading)
        assert "from FastMCP" not in str(before.content)
        assert person.asked == [{f"{server}:read"}]

        await client.call_tool(writing, arguments)

        assert person.asked[1:] == [{f"{server}:read", f"{server}:write"}]
        assert writing in {tool.name for tool in await client.list_tools()}
        assert str((await client.call_tool(reading)).content).count("from FastMCP") == 1, "the tool ran once"
    await asyncio.gather(*person.visits)


async def test_fastmcps_client_survives_a_denied_tool(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool that nobody may call is unknown to the client, and asks for no authorization."""
    person = Person(servers)
    monkeypatch.setattr(webbrowser, "open", person.open)
    async with Client(servers.addresses.tasks, auth=OAuth(callback_host="127.0.0.1")) as client:
        with pytest.raises(ToolError, match="Unknown tool: drop_all_tasks"):
            await client.call_tool("drop_all_tasks")
        assert "Water the plants" in str((await client.call_tool("list_tasks")).content)
    assert len(person.asked) == 1, "to connect"
    await asyncio.gather(*person.visits)
