"""What the middleware knows of the tools of every stack, and batches in front of servers that know none."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.middleware.batch_helpers import call, notification, post_batch, request
from tests.middleware.edge_helpers import rpc
from tests.stacks.running import Running, running
from tests.stacks.stacks import ERAS, STACKS, Era

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import httpx2

    from tests.stacks.issuer import LocalIssuer

pytestmark = pytest.mark.anyio

SECRET = "/etc/passwd"
LISTED = ("listed_harmless", "listed_reading", "listed_writing", "listed_secret")


@pytest.fixture(scope="module")
def strict(
    issuer: LocalIssuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Running]]:
    """Gives the stack of this name, whose arguments are checked, and which runs until the end."""
    started: dict[str, Running] = {}
    with ExitStack() as ends:

        def started_once(name: str) -> Running:
            if name not in started:
                folder = tmp_path_factory.mktemp(name)
                started[name] = ends.enter_context(running(STACKS[name], issuer, folder, strict=True))
            return started[name]

        yield started_once


def of(events: list[dict[str, Any]], sub: str) -> list[dict[str, Any]]:
    """The events, or notes of what ran, that are one caller's."""
    return [event for event in events if (event.get("actor") or event).get("sub") == sub]


def names(ran: list[dict[str, Any]]) -> list[str]:
    return [one["name"] for one in ran]


@pytest.mark.parametrize("name", STACKS)
async def test_each_member_of_a_batch_is_decided_counted_recorded_and_run_by_itself(
    start: Callable[[str], Running], name: str
) -> None:
    """MCP 2025-03-26, in front of servers that refuse batches."""
    up, me = start(name), f"batch-{name}"
    headers = up.bearer(sub=me, client_id=me)
    async with up.client() as client:
        session = await up.session(client, "handshake", headers)
        before = len(of(up.journal(), me))
        response = await post_batch(
            client,
            call("read_file", id=1, path="a"),
            call("drop_everything", id=2, path="b"),
            call("limited", id=3),
            call("limited", id="four"),
            notification("notifications/roots/list_changed"),
            request("ping", id=5),
            headers={**headers, **session},
            path=up.path,
        )

    assert response.status_code == 200, response.text
    read, denied, once, again, pong = response.json()
    assert [answer["id"] for answer in response.json()] == [1, 2, 3, "four", 5]
    assert [_text(answer) for answer in (read, denied, once)] == [
        "content of a",
        "Unknown tool: drop_everything",
        "once",
    ]
    assert "Rate limit reached" in _text(again)
    assert pong["result"] == {}
    assert response.headers["RateLimit"].partition(";t=")[0] == '"1/hour per client and tool";r=0'

    assert [(one["name"], one["arguments"]) for one in of(up.ran(), me)] == [
        ("read_file", {"path": "a"}),
        ("limited", {}),
    ]
    events = of(up.journal(), me)[before:]
    told = [(event["phase"], event["mcp"].get("name"), event.get("outcome")) for event in events]
    assert ("outcome", "drop_everything", "refused") in told
    assert ("outcome", "limited", "refused") in told
    intents = {event["call"]: event["mcp"].get("name") for event in events if event["phase"] == "intent"}
    assert sorted(map(str, intents.values())) == ["None", "None", "limited", "read_file"]
    ended = [event for event in events if event["phase"] == "outcome" and event.get("call") in intents]
    assert [event["outcome"] for event in ended] == ["ok"] * len(intents)


@pytest.mark.parametrize("name", STACKS)
async def test_lists_in_a_batch_show_what_may_be_used(start: Callable[[str], Running], name: str) -> None:
    """As those that are asked for alone."""
    up = start(name)
    async with up.client() as client:
        session = await up.session(client, "handshake", up.bearer())
        response = await post_batch(
            client,
            request("tools/list", id=1),
            request("prompts/list", id=2),
            headers={**up.bearer(), **session},
            path=up.path,
        )
    tools, prompts = (answer["result"] for answer in response.json())
    assert {tool["name"] for tool in tools["tools"]} == {
        "read_file",
        "whoami",
        "limited",
        "listed_harmless",
        "listed_reading",
        "typed",
        "read_paths",
    }
    assert [prompt["name"] for prompt in prompts["prompts"]] == ["greet"]


def _text(answer: Mapping[str, Any]) -> str:
    text: str = answer["result"]["content"][0]["text"]
    return text


async def called(
    up: Running, client: httpx2.AsyncClient, era: Era, headers: Mapping[str, str], tool: str, **arguments: Any
) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments}
    return rpc(await up.post(client, era, "tools/call", params, headers=headers))


@pytest.mark.parametrize(("name", "era"), ERAS)
async def test_rules_go_by_what_the_server_says_of_its_tools(
    start: Callable[[str], Running], name: str, era: Era
) -> None:
    """Tags and annotations, though this caller has listed nothing: the server is asked in its name."""
    up, me = start(name), f"listed-{name}-{era}"
    async with up.client() as client:
        headers = up.bearer(sub=me)
        session = await up.session(client, era, headers)
        answers = [await called(up, client, era, {**headers, **session}, tool) for tool in LISTED]

    assert names(of(up.ran(), me)) == ["listed_harmless", "listed_reading"]
    assert [_text(answer).startswith("Unknown tool") for answer in answers] == [False, False, True, True]
    asked = [event for event in of(up.journal(), me) if event["type"] == "catalogue"]
    assert [event["outcome"] for event in asked] == ["ok"]
    tools = [
        event["tool"] for event in of(up.journal(), me) if event["phase"] == "intent" and "tool" in event
    ]
    assert [tool["tags"] for tool in tools] == [["harmless"], []]


@pytest.mark.parametrize(("name", "era"), ERAS)
async def test_arguments_that_do_not_fit_reach_no_tool(
    strict: Callable[[str], Running], name: str, era: Era
) -> None:
    """Against the schema that the stack itself makes of the function."""
    up, me = strict(name), f"typed-{era}"
    async with up.client() as client:
        headers = up.bearer(sub=me)
        headers |= await up.session(client, era, headers)
        wrong: list[dict[str, Any]] = [{}, {"count": "5"}, {"count": 5, "sudo": True}, {"count": [5]}]
        answers = [await called(up, client, era, headers, "typed", **arguments) for arguments in wrong]
        assert [answer["error"]["code"] for answer in answers] == [-32602] * len(wrong)
        assert not of(up.ran(), me)
        right = await called(up, client, era, headers, "typed", count=5)
        if era == "handshake":
            batch = await post_batch(
                client,
                call("typed", id=1, count="6"),
                call("typed", id=2, count=7),
                headers=headers,
                path=up.path,
            )
            assert ["error" in answer for answer in batch.json()] == [True, False]
    assert _text(right) == "5"
    ran = [one["arguments"]["count"] for one in of(up.ran(), me)]
    assert ran == (["5", "7"] if era == "handshake" else ["5"])


@pytest.mark.parametrize(("name", "era"), ERAS)
async def test_no_way_to_write_an_argument_leads_past_a_deny_rule(
    start: Callable[[str], Running], name: str, era: Era
) -> None:
    """The SDK of each of these versions makes a list of a text that is one."""
    up, me = start(name), f"paths-{name}-{era}"
    ways: list[object] = [
        SECRET,
        [SECRET],
        f'["{SECRET}"]',
        r'["\u002fetc\u002fpasswd"]',
        "/srv/b",
        ["/srv/c"],
    ]
    async with up.client() as client:
        headers = up.bearer(sub=me)
        headers |= await up.session(client, era, headers)
        for paths in ways:
            await called(up, client, era, headers, "read_paths", paths=paths)
    assert [one["arguments"]["path"] for one in of(up.ran(), me)] == ['"/srv/b"', '["/srv/c"]']
