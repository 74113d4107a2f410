"""The tool decided on is always the tool run: the hostile corpus, against every stack, over real sockets.

After each attack the audit journal's intents are compared with what the server's own tools noted.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.middleware.edge_helpers import rpc
from tests.stacks.attacks import AT_PATHS, ATTACKS, BAD, DENIED, GOOD, Attempt
from tests.stacks.raw_http import exchange
from tests.stacks.running import Running, running
from tests.stacks.stacks import ERAS, STACKS, Era

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.stacks.attacks import Attack
    from tests.stacks.issuer import LocalIssuer

pytestmark = pytest.mark.anyio

KINDS = {"tools/call": "tool", "prompts/get": "prompt", "resources/read": "resource"}
# How many at once: each is on a connection of its own.
PARALLEL = 8


Decided = tuple[str, str | None, str | None, str]


def decided(events: Sequence[dict[str, Any]]) -> Counter[Decided]:
    """What was announced to the journal: kind, name, the argument `path`, and whose call it was."""
    return Counter(
        (
            KINDS[event["mcp"]["method"]],
            event["mcp"].get("name"),
            event.get("args", {}).get("kept", {}).get("path"),
            event["actor"]["sub"],
        )
        for event in events
        if event["phase"] == "intent" and event["mcp"].get("method") in KINDS
    )


def ran(up: Running) -> Counter[Decided]:
    """What the tools, prompts and resources noted of themselves."""
    return Counter((ran["kind"], ran["name"], ran["arguments"].get("path"), ran["sub"]) for ran in up.ran())


async def attack_with(
    up: Running, era: Era, attacks: dict[str, Attack], *, token: str | None
) -> dict[str, tuple[int | None, bytes]]:
    """Try them all, each in a session of its own, and give each one's answer."""
    answers: dict[str, tuple[int | None, bytes]] = {}
    limit = anyio.CapacityLimiter(PARALLEL)
    async with up.client() as client, anyio.create_task_group() as group:

        async def one(name: str, attack: Attack) -> None:
            async with limit:
                session = await up.session(client, era, up.bearer())
                data = attack(Attempt(era, up.port, token, session))
                answers[name] = await exchange(up.port, data, half_close=b"Content-Length: 100000\r" in data)

        for name, attack in attacks.items():
            group.start_soon(one, name, attack)
    return answers


@pytest.mark.parametrize(("name", "era"), ERAS)
async def test_the_tool_decided_on_is_always_the_tool_run(
    start: Callable[[str], Running], name: str, era: Era
) -> None:
    """Nothing denied ever runs, whatever the attack; what runs was decided on by name and by arguments."""
    up = start(name)
    # What other tests had this server run is theirs to compare.
    ran_before, decided_before = ran(up), decided(up.journal())
    answers = await attack_with(up, era, ATTACKS, token=up.token())
    after = await _honest_call(up, era)

    now_ran, now_decided = ran(up) - ran_before, decided(up.journal()) - decided_before
    assert now_ran[("tool", GOOD, None, "ada")], "the honest call is among them"
    assert not DENIED & {name for _, name, _, _ in now_ran}
    assert not now_ran - now_decided, "what ran was decided on, by name, argument and caller"
    broken = {
        attack: status for attack, (status, _) in answers.items() if status is not None and status >= 500
    }
    assert broken == {}, "no attack may be an error of the server's own"
    silent = {attack for attack, (status, _) in answers.items() if status is None}
    assert silent <= {"wire: a length too long"}, "no attack may leave the server without an answer"
    assert "Traceback" not in (up.folder / "server.log").read_text()
    assert after == "content of nothing", "the server lives on"


@pytest.mark.parametrize(("name", "era"), ERAS)
async def test_without_a_token_no_path_leads_to_a_tool(
    start: Callable[[str], Running], name: str, era: Era
) -> None:
    """RFC 6750 §3.1: not even what is allowed runs, though the attacker knows the id of a good session."""
    up = start(name)
    before = ran(up)
    answers = await attack_with(up, era, {**AT_PATHS, **_WITHOUT_A_TOKEN}, token=None)

    assert ran(up) == before
    served = {attack for attack, (status, _) in answers.items() if status == 200}
    assert served <= _DOCUMENTS
    assert all(b"jsonrpc" not in answer for _, answer in answers.values())


@pytest.mark.parametrize(
    ("name", "era"), [("mcp-1.30-stateless", "handshake"), ("mcp-2", "stateless"), ("fastmcp-4", "stateless")]
)
async def test_the_corpus_has_teeth(issuer: LocalIssuer, tmp_path: Path, name: str, era: Era) -> None:
    """The control: without the middleware many of the same requests run what they are after."""
    with running(STACKS[name], issuer, tmp_path / "unprotected", protected=False) as up:
        await attack_with(up, era, ATTACKS, token=up.token())
        names = Counter(each["name"] for each in up.ran())
    assert names[BAD] > 20
    assert names["hidden"]
    assert names["demo://files/secret/a"]


_WITHOUT_A_TOKEN = {
    name: attack for name, attack in ATTACKS.items() if name.startswith(("verb:", "wire:", "header:"))
}
_DOCUMENTS = {"at the metadata document", "at the metadata document of the path"}


async def _honest_call(up: Running, era: Era) -> str:
    async with up.client() as client:
        session = await up.session(client, era, up.bearer())
        response = await up.post(
            client, era, "tools/call", {"name": GOOD}, headers={**up.bearer(), **session}
        )
    text: str = rpc(response)["result"]["content"][0]["text"]
    return text
