"""The real TypeScript clients of both generations, against the real servers."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from examples.walkthrough.browser import Browser
from examples.walkthrough.servers import Servers
from tests.end_to_end import step_up
from tests.requires import program

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).with_name("typescript")
REDIRECT_URI = "http://127.0.0.1:43110/callback"

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clients, installed outside the repository."""
    program("node")
    npm = program("npm")
    folder = tmp_path_factory.mktemp("typescript")
    for name in ("package.json", "walk.mjs"):
        shutil.copy(FOLDER / name, folder)
    command = [npm, "install", "--silent", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=folder, check=True, timeout=90, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("servers") / "demo", first_port=0) as running:
        yield running


async def walk(
    packages: Path, servers: Servers, generation: str, url: str, *tools: str
) -> list[dict[str, Any]]:
    """Run the client, play its browser, and give what it said."""
    browser = Browser(servers.username, servers.password)
    process = await asyncio.create_subprocess_exec(
        "node",
        "walk.mjs",
        generation,
        url,
        *tools,
        cwd=packages,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(60):
            async for line in process.stdout:
                said.append(json.loads(line))
                if "open" in said[-1]:
                    back = await browser.visit(said[-1]["open"], back_to=REDIRECT_URI)
                    process.stdin.write(f"{back}\n".encode())
                    await process.stdin.drain()
            errors = (await process.stderr.read()).decode()
            assert await process.wait() == 0, f"{said}\n{errors}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await browser.aclose()
    return said


@pytest.mark.parametrize("generation", ["sdk", "client"])
@pytest.mark.parametrize("server", ["notes", "tasks"])
async def test_a_typescript_client_signs_in_calls_and_steps_up_in_one_round_trip(
    packages: Path, servers: Servers, generation: str, server: str
) -> None:
    """MCP authorization, step-up: one new authorization is enough, and the call then runs."""
    reading, writing = f"list_{server}", f"add_{server.removesuffix('s')}"
    url = servers.addresses.notes if server == "notes" else servers.addresses.tasks
    arguments = json.dumps({"text" if server == "notes" else "task": "from TypeScript"})
    said = await walk(packages, servers, generation, url, reading, writing, arguments)
    assert [list(each) for each in said if "open" in each] == [["open"], ["open"]], (
        "once to sign in, once to step up"
    )
    granted = [each["granted"] for each in said if "granted" in each]
    assert granted[0] == f"{server}:read"
    assert set(granted[-1].split()) == {f"{server}:read", f"{server}:write"}
    listed = next(each["listed"] for each in said if "listed" in each)
    assert reading in listed
    assert writing not in listed
    assert [each for each in said if "called" in each] == [
        {"called": reading, "failed": False},
        {"called": writing, "failed": False},
    ]
    assert said[-1] == {"done": True}


@pytest.mark.parametrize("generation", ["sdk", "client"])
async def test_one_round_trip_is_enough_for_any_number_of_scopes(
    packages: Path, tmp_path: Path, generation: str
) -> None:
    """Tools that need one, two, three and four scopes more."""
    calls = [part for tool in step_up.NEEDED for part in (tool, "{}")]
    with step_up.protected_server("mcp-2", tmp_path) as up:
        node = [program("node"), "walk.mjs", generation, up.url]
        walked = await step_up.walk([*node, "read_file", *calls], cwd=packages)
        step_up.stepped_up_once_each(walked, up)
    assert [each["called"] for each in walked.called() if not each["failed"]] == [
        "read_file",
        *step_up.NEEDED,
    ]
