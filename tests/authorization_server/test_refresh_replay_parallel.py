"""Many refreshes with one token at once: all are answered alike, by one successor."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcpauth.events import TokenRefreshed
from mcpauth.stores.sqlite import SqliteStore
from tests.authorization_server.grants_helpers import Clock, Service, service

if TYPE_CHECKING:
    from mcpauth.oauth.client import Client

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
AT_ONCE = 20
FAMILIES = 5


async def open_service(
    stack: AsyncExitStack, path: Path, clock: Clock, *, window: timedelta = timedelta(seconds=30)
) -> Service:
    store = await SqliteStore.open(path, clock)
    stack.push_async_callback(store.aclose)
    return await stack.enter_async_context(service(store, clock, refresh_token_replay_window=window))


@pytest.mark.parametrize("handles", [1, 2])
async def test_of_20_refreshes_all_get_the_one_successor(tmp_path: Path, handles: int) -> None:
    """Clients that share a token, or ask twice, stay signed in; only one rotation happens."""
    async with AsyncExitStack() as stack:
        clock = Clock()
        servers = [await open_service(stack, tmp_path / "as.db", clock) for _ in range(handles)]
        client = await servers[0].public_client()
        token = (await servers[0].user_tokens(client))["refresh_token"]
        refreshing = (servers[n % handles].refresh(client, token) for n in range(AT_ONCE))
        answers = await asyncio.gather(*refreshing)
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.text for answer in answers}) == 1
        assert sum(len(server.events(TokenRefreshed)) for server in servers) == 1
        following = answers[0].json()["refresh_token"]
        assert (await servers[0].refresh(client, following)).status_code == 200


@pytest.mark.parametrize("handles", [1, 2])
async def test_without_a_window_one_of_20_succeeds_and_the_family_ends(tmp_path: Path, handles: int) -> None:
    """RFC 9700 §4.14.2, never a 500."""
    async with AsyncExitStack() as stack:
        clock, none = Clock(), timedelta(0)
        servers = [await open_service(stack, tmp_path / "as.db", clock, window=none) for _ in range(handles)]
        client = await servers[0].public_client()
        token = (await servers[0].user_tokens(client))["refresh_token"]
        refreshing = (servers[n % handles].refresh(client, token) for n in range(AT_ONCE))
        answers = await asyncio.gather(*refreshing)
        assert sorted(answer.status_code for answer in answers) == [200] + [400] * (AT_ONCE - 1)
        (winner,) = [answer for answer in answers if answer.status_code == 200]
        after = await servers[0].refresh(client, winner.json()["refresh_token"])
        assert after.json()["error"] == "invalid_grant"


async def test_two_processes_on_one_file_give_the_same_successor(tmp_path: Path) -> None:
    """Started, told to go together, each with ten requests a token at once."""
    path = tmp_path / "as.db"
    async with AsyncExitStack() as stack:
        server = await open_service(stack, path, Clock())
        client = await server.public_client()
        tokens = [(await server.user_tokens(client))["refresh_token"] for _ in range(FAMILIES)]
        processes = [await refreshing_process(path, client, tokens) for _ in range(2)]
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
        assert [process.returncode for process in processes] == [0, 0]
        one, other = ([set(texts) for texts in json.loads(out)] for out, _ in outputs)
        for mine, theirs in zip(one, other, strict=True):
            (answer,) = mine | theirs
            status, _, body = answer.partition(" ")
            assert status == "200"
            assert (await server.refresh(client, json.loads(body)["refresh_token"])).status_code == 200


async def refreshing_process(path: Path, client: Client, tokens: list[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.authorization_server.test_refresh_replay_parallel",
        str(path),
        client.client_id,
        *tokens,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def refresh_all(path: Path, client_id: str, tokens: list[str]) -> list[list[str]]:
    """What a process of the test above does: for each token ten refreshes at once, as status and body."""
    async with AsyncExitStack() as stack:
        server = await open_service(stack, path, Clock())
        client = await server.clients.get(client_id)
        assert client is not None
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        answers: list[list[str]] = []
        for token in tokens:
            responses = await asyncio.gather(*(server.refresh(client, token) for _ in range(10)))
            answers.append([f"{each.status_code} {each.text}" for each in responses])
        return answers


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(refresh_all(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))))
