"""The real Python clients, each with its own OAuth code, against the real servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.step_up import NEEDED, Walked, protected_server, stepped_up_once_each, walk
from tests.stacks.environments import python_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stacks.running import Running

pytestmark = pytest.mark.anyio

CLIENTS = {"mcp-2": ".venv", "fastmcp-4": ".venv", "mcp-1.30": ".venv-mcp1", "fastmcp-3": ".venv-mcp1"}


@pytest.fixture(scope="module", params=["mcp-2", "mcp-1.30"])
def up(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of either generation."""
    with protected_server(request.param, tmp_path_factory.mktemp("clients") / "server") as listening:
        yield listening


async def calls(client: str, up: Running, *tools: str) -> Walked:
    program = [python_of(CLIENTS[client]), "-m", "tests.end_to_end.python.walk", client, up.url]
    return await walk([*program, *tools])


@pytest.mark.parametrize("client", CLIENTS)
async def test_one_round_trip_is_enough_for_any_number_of_scopes(up: Running, client: str) -> None:
    """MCP authorization, "Scope Challenge Handling": tools that need one, two, three and four scopes more."""
    before = len(up.journal())
    walked = await calls(client, up, "read_file", *NEEDED)

    assert [(each["called"], each.get("failed")) for each in walked.called()] == [
        (tool, False) for tool in ("read_file", *NEEDED)
    ]
    stepped_up_once_each(walked, up, before=before)


@pytest.mark.parametrize("client", CLIENTS)
async def test_no_refusal_ends_a_clients_session(up: Running, client: str) -> None:
    """A denied tool, a limit, a step-up and no name at all: the next call works, and the model reads why."""
    tools = ("limited", "limited", "read_file", "drop_everything", "read_file", "needs_1", "", "read_file")
    walked = await calls(client, up, *tools)

    answers = walked.called()
    assert [each["called"] for each in answers] == list(tools)
    for at in (0, 2, 4, 5, 7):
        assert answers[at].get("failed") is False, answers[at]
    # An HTTP error is a JSON-RPC error for the later generation, and the end of the session for the earlier.
    limited = answers[1].get("text", "") + answers[1].get("raised", "")
    assert "Rate limit reached" in limited
    assert "Unknown tool: drop_everything" in answers[3].get("text", "") + answers[3].get("raised", "")
    assert "non-empty string" in answers[6].get("text", "") + answers[6].get("raised", "")
    assert "drop_everything" not in {ran["name"] for ran in up.ran()}
