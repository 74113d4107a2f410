"""Many at once over the SQLite store: of simultaneous uses of a code or refresh token one succeeds."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcpauth.stores.sqlite import SqliteStore
from tests.authorization_server.core_helpers import Clock, CoreServer, core_server

if TYPE_CHECKING:
    import httpx2

    from mcpauth.oauth.client import Client

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
AT_ONCE = 20


async def open_server(stack: AsyncExitStack, path: Path, clock: Clock | None = None) -> CoreServer:
    clock = clock if clock is not None else Clock()
    store = await SqliteStore.open(path, clock)
    stack.push_async_callback(store.aclose)
    return await stack.enter_async_context(core_server(store, clock))


def one_winner(answers: list[httpx2.Response]) -> httpx2.Response:
    """The one success; every other answer is the error that a spent code or token gets."""
    (winner,) = [answer for answer in answers if answer.status_code == 200]
    others = [answer for answer in answers if answer is not winner]
    assert {(answer.status_code, answer.json()["error"]) for answer in others} == {(400, "invalid_grant")}
    return winner


@pytest.mark.parametrize("handles", [1, 2])
async def test_of_20_redemptions_of_a_code_one_succeeds(tmp_path: Path, handles: int) -> None:
    """RFC 6749 §4.1.2, within a process and over two handles; the grant ends, as the code was reused."""
    async with AsyncExitStack() as stack:
        clock = Clock()
        servers = [await open_server(stack, tmp_path / "as.db", clock) for _ in range(handles)]
        client = await servers[0].public_client()
        code = await servers[0].code(client)
        redeeming = (servers[n % handles].redeem(client, code) for n in range(AT_ONCE))
        winner = one_winner(list(await asyncio.gather(*redeeming)))
        after = await servers[0].refresh(client, winner.json()["refresh_token"])
        assert after.json()["error"] == "invalid_grant"
        for server in servers:
            assert await server.grants.list("alice") == ()


@pytest.mark.parametrize("handles", [1, 2])
async def test_of_20_refreshes_with_a_token_one_succeeds(tmp_path: Path, handles: int) -> None:
    """RFC 9700 §4.14.2, within a process and over two handles."""
    async with AsyncExitStack() as stack:
        clock = Clock()
        servers = [await open_server(stack, tmp_path / "as.db", clock) for _ in range(handles)]
        client = await servers[0].public_client()
        token = (await servers[0].tokens(client))["refresh_token"]
        refreshing = (servers[n % handles].refresh(client, token) for n in range(AT_ONCE))
        winner = one_winner(list(await asyncio.gather(*refreshing)))
        after = await servers[0].refresh(client, winner.json()["refresh_token"])
        assert after.json()["error"] == "invalid_grant"


async def test_a_wrong_verifier_beside_the_right_one_does_not_cost_the_owner_the_code(tmp_path: Path) -> None:
    """A counted failure changes the record; that is no second use."""
    async with AsyncExitStack() as stack:
        server = await open_server(stack, tmp_path / "as.db")
        client = await server.public_client()
        code = await server.code(client)
        wrong = [server.redeem(client, code, code_verifier="x" * 43) for _ in range(4)]
        answers = await asyncio.gather(*wrong[:2], server.redeem(client, code), *wrong[2:])
        assert [answer.status_code for answer in answers].count(200) == 1
        assert answers[2].status_code == 200


async def test_parallel_guesses_are_all_counted(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = await open_server(stack, tmp_path / "as.db")
        client = await server.public_client()
        code = await server.code(client)
        await asyncio.gather(*(server.redeem(client, code, code_verifier="x" * 43) for _ in range(AT_ONCE)))
        assert (await server.redeem(client, code)).json()["error"] == "invalid_grant"


async def test_two_processes_on_one_file_redeem_a_code_once(tmp_path: Path) -> None:
    """RFC 6749 §4.1.2, across processes: started, told to go together, each with ten requests at once."""
    path = tmp_path / "as.db"
    async with AsyncExitStack() as stack:
        server = await open_server(stack, path)
        client = await server.public_client()
        codes = [await server.code(client) for _ in range(5)]
        processes = [await redeeming_process(path, client, codes) for _ in range(2)]
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
        assert [process.returncode for process in processes] == [0, 0]
        answers: list[list[str]] = [code for out, _ in outputs for code in json.loads(out)]
        for n in range(len(codes)):
            counts = Counter(answers[n]) + Counter(answers[n + len(codes)])
            assert counts == {"200": 1, "400 invalid_grant": 19}


async def redeeming_process(path: Path, client: Client, codes: list[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.authorization_server.test_token_endpoint_parallel",
        str(path),
        client.client_id,
        *codes,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def redeem_all(path: Path, client_id: str, codes: list[str]) -> list[list[str]]:
    """What a process of the test above does: for each code ten redemptions at once, as status and error."""
    async with AsyncExitStack() as stack:
        server = await open_server(stack, path)
        client = await server.clients.get(client_id)
        assert client is not None
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        answers: list[list[str]] = []
        for code in codes:
            responses = await asyncio.gather(*(server.redeem(client, code) for _ in range(10)))
            answers.append(
                [f"{each.status_code} {each.json().get('error', '')}".strip() for each in responses]
            )
        return answers


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(redeem_all(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))))
