"""What is known of a tool (MCP, `tools/list`): learnt, believed for a while, and never guessed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mcpauth_middleware.catalogue import Catalogue, ToolDefinition
from mcpauth_middleware.catalogue.catalogue import Who, who_is
from mcpauth_middleware.catalogue.changes import ChangeWatch
from mcpauth_middleware.catalogue.view import CatalogueView
from tests.middleware.edge_helpers import Clock
from tests.middleware.gate_helpers import principal, read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcpauth_middleware.asgi import Event


def someone(subject: str, path: str = "/mcp") -> Who:
    return who_is(principal(subject=subject), path)


ADA, EVE = someone("ada"), someone("eve")


def tool(name: str = "search", **members: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}, **members}


def defined(**members: Any) -> ToolDefinition:
    definition = ToolDefinition.of(tool(**members))
    assert definition is not None
    return definition


@pytest.mark.parametrize(
    ("meta", "tags"),
    [
        ({"tags": ["a", "b"]}, {"a", "b"}),
        ({"fastmcp": {"tags": ["a"]}}, {"a"}),
        ({"_fastmcp": {"tags": ["a"]}}, {"a"}),
        ({"tags": ["a"], "fastmcp": {"tags": ["b"]}}, {"a", "b"}),
        ({"fastmcp": {"tags": []}}, frozenset[str]()),
        ({}, None),
        ({"fastmcp": {}}, None),
        ({"fastmcp": "a"}, None),
        ({"tags": "a"}, None),
        ({"tags": [1]}, None),
        ({"tags": ["a"], "fastmcp": {"tags": {"b": 1}}}, None),
    ],
)
def test_tags_are_known_only_where_they_are_listed(meta: dict[str, Any], tags: Iterable[str] | None) -> None:
    """A server may hide its tags, and then a rule about tags cannot be evaluated."""
    assert defined(_meta=meta).facts.tags == (None if tags is None else frozenset(tags))


@pytest.mark.parametrize("meta", [None, "x", [1]])
def test_an_odd_meta_tells_nothing(meta: object) -> None:
    """And does no harm."""
    assert defined(_meta=meta).facts.tags is None


def test_a_tool_without_annotations_is_known_to_have_none() -> None:
    """MCP says what each of them is then."""
    assert defined().facts.annotations == {}
    assert defined(annotations={"readOnlyHint": True}).facts.annotations == {"readOnlyHint": True}
    assert defined(annotations=["readOnlyHint"]).facts.annotations is None


def test_an_entry_without_a_name_is_no_tool() -> None:
    """It is not shown either."""
    catalogue = Catalogue(now=Clock())
    assert ToolDefinition.of({"inputSchema": {}}) is None
    catalogue.learn({"name": 7}, ADA)
    assert len(catalogue) == 0


def test_what_one_principal_was_shown_says_nothing_to_another() -> None:
    """Whoever can make the server show him a mild definition must not loosen what decides about others."""
    catalogue = Catalogue(now=Clock())
    catalogue.learn(tool(_meta={"tags": ["mild"]}), ADA)
    assert tags_of(catalogue, ADA) == ["mild"]
    assert tags_of(catalogue, EVE) is None
    assert catalogue.definition("other", ADA) is None

    catalogue.learn(tool(_meta={"tags": ["harsh"]}), EVE)
    catalogue.learn(tool(_meta={"tags": ["mild"]}), ADA)
    assert (tags_of(catalogue, ADA), tags_of(catalogue, EVE)) == (["mild"], ["harsh"])
    assert tags_of(catalogue, someone("zoe")) is None
    assert tags_of(catalogue, someone("ada", path="/other/mcp")) is None


def tags_of(catalogue: Catalogue, who: Who) -> list[str] | None:
    found = catalogue.definition("search", who)
    return None if found is None else sorted(found.facts.tags or ())


def test_what_all_are_shown_alike_is_kept_once() -> None:
    """Most servers have one list for everybody."""
    catalogue = Catalogue(now=Clock())
    for number in range(20):
        who = someone(f"user-{number}")
        catalogue.learn(tool(title="same"), who)
        catalogue.learn({"title": "same", **tool()}, who)
        assert catalogue.definition("search", who) is not None
    assert len(catalogue) == 1


def test_a_definition_that_changes_for_its_reader_has_changed() -> None:
    """The newest counts, and the other is gone."""
    catalogue = Catalogue(now=Clock())
    for tag in ("old", "new"):
        catalogue.learn(tool(_meta={"tags": [tag]}), ADA)
    assert tags_of(catalogue, ADA) == ["new"]
    assert len(catalogue) == 1


def test_what_another_one_is_shown_does_not_prolong_what_one_believes() -> None:
    """It may have changed for him alone."""
    clock = Clock()
    catalogue = Catalogue(now=clock, lifetime=60)
    catalogue.learn(tool(_meta={"tags": ["mild"]}), ADA)
    clock.time += 59
    catalogue.learn(tool(_meta={"tags": ["mild"]}), EVE)
    clock.time += 2
    assert (tags_of(catalogue, ADA), tags_of(catalogue, EVE)) == (None, ["mild"])


def test_a_definition_is_believed_for_its_lifetime_and_no_longer() -> None:
    """A server may change its tools without a word."""
    clock = Clock()
    catalogue = Catalogue(now=clock, lifetime=60)
    catalogue.learn(tool(), ADA)
    clock.time += 59.9
    assert catalogue.definition("search", ADA) is not None
    clock.time += 0.2
    assert catalogue.definition("search", ADA) is None
    catalogue.learn(tool(), ADA)
    assert catalogue.definition("search", ADA) is not None
    clock.time -= 100
    assert catalogue.definition("search", ADA) is None


def test_when_the_server_says_that_its_tools_changed_everything_is_forgotten() -> None:
    """`notifications/tools/list_changed`."""
    catalogue = Catalogue(now=Clock())
    catalogue.learn(tool(), ADA)
    catalogue.learn(tool(title="other"), EVE)
    catalogue.forget()
    assert len(catalogue) == 0
    assert catalogue.definition("search", ADA) is None


def test_the_catalogue_does_not_grow_without_end() -> None:
    """However many tools a server invents, and for however many principals: the oldest go."""
    catalogue = Catalogue(now=Clock(), max_definitions=10, max_shown=20)
    for number in range(50):
        catalogue.learn(tool(f"tool-{number}"), ADA)
        catalogue.learn(tool(f"tool-{number}", title="other"), EVE)
        assert len(catalogue) <= 10
        assert catalogue.definition(f"tool-{number}", ADA) is not None
        assert catalogue.definition(f"tool-{number - 10}", ADA) is None

    readers = [someone(f"user-{number}") for number in range(50)]
    for who in readers:
        catalogue.learn(tool(), who)
    assert [catalogue.definition("search", who) is not None for who in readers] == [False] * 30 + [True] * 20


@pytest.mark.parametrize("key", ["fastmcp", "_fastmcp"])
@pytest.mark.parametrize(
    ("asked", "is_known"), [(None, True), ("2", True), ("1", False), (2, False), ("", False)]
)
def test_a_call_of_another_version_is_of_another_tool(key: str, asked: object, is_known: bool) -> None:
    """FastMCP lists the newest version, and runs the one that `_meta` of the call names."""
    catalogue = Catalogue(now=Clock())
    catalogue.learn(tool(_meta={"fastmcp": {"version": "2", "tags": []}}), ADA)
    meta = {} if asked is None else {"_meta": {key: {"version": asked}}}
    view = CatalogueView(catalogue, ADA, read("tools/call", {"name": "search", **meta}))
    assert (view.tool_facts("search") is not None) is is_known
    assert not view.unknown


def test_a_view_tells_which_tools_it_did_not_know() -> None:
    """So that the server can be asked."""
    view = CatalogueView(Catalogue(now=Clock()), ADA)
    assert view.tool_facts("search") is None
    assert view.unknown == {"search"}


CHANGED = b'data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n'


async def _watched(chunks: list[bytes], content_type: bytes = b"text/event-stream") -> tuple[int, bytes]:
    changes: list[int] = []
    sent: list[bytes] = []

    async def send(event: Event) -> None:
        sent.append(event.get("body", b""))

    watch = ChangeWatch(send, changed=lambda: changes.append(1))
    await watch({"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", content_type)]})
    for chunk in chunks:
        await watch({"type": "http.response.body", "body": chunk, "more_body": True})
    return len(changes), b"".join(sent)


@pytest.mark.anyio
async def test_the_notification_is_seen_wherever_a_chunk_ends() -> None:
    """And passes on as it is."""
    for cut in range(len(CHANGED)):
        assert await _watched([CHANGED[:cut], CHANGED[cut:]]) == (1, CHANGED)
    assert await _watched([CHANGED[index : index + 1] for index in range(len(CHANGED))]) == (1, CHANGED)
    assert await _watched([CHANGED, b": ping\n\n", CHANGED]) == (2, CHANGED + b": ping\n\n" + CHANGED)
    assert (await _watched([CHANGED.replace(b"/", b"\\/")]))[0] == 1


@pytest.mark.anyio
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
async def test_each_line_ending_of_event_streams_will_do(ending: bytes) -> None:
    """WHATWG HTML, "Server-sent events"; and a batch, as 2025-03-26 has them."""
    batch = b'data: [{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}]\n\n'
    stream = (b"event: message\nid: 7\n" + CHANGED + batch).replace(b"\n", ending)
    for cut in range(len(stream)):
        assert await _watched([stream[:cut], stream[cut:]]) == (2, stream)


RESULT = b'data: {"jsonrpc":"2.0","id":1,"result":{"content":%s}}\n\n'
NOTIFICATION = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'


@pytest.mark.anyio
@pytest.mark.parametrize(
    "stream",
    [
        RESULT % NOTIFICATION,
        RESULT % b'"notifications/tools/list_changed"',
        RESULT % json.dumps((b"\n\n" + CHANGED).decode()).encode(),
        b": " + CHANGED[6:],
        b"event: notifications/tools/list_changed\ndata: {}\n\n",
        b'data: {"x":"' + b"x" * 20_000 + b'"}\r\ndata: ' + NOTIFICATION + b"\r\n\r\n",
        CHANGED.replace(b"tools", b"prompts"),
        CHANGED.replace(b'"method"', b'"x"'),
        b"data: list_changed\n\n",
    ],
)
async def test_nobody_makes_the_server_seem_to_change_by_speaking_of_it(stream: bytes) -> None:
    """A tool that repeats its arguments; else one caller could have forgotten what decides about others."""
    assert await _watched([stream]) == (0, stream)
    assert await _watched([stream[index : index + 1] for index in range(len(stream))]) == (0, stream)
    assert await _watched([stream + CHANGED]) == (1, stream + CHANGED)


@pytest.mark.anyio
async def test_other_bodies_change_nothing() -> None:
    """Only event streams carry notifications."""
    assert (await _watched([CHANGED], b"application/json"))[0] == 0


@pytest.mark.anyio
async def test_of_a_long_stream_little_is_kept() -> None:
    """Whatever ends its lines."""
    watch = ChangeWatch(_nowhere, changed=lambda: None)
    await watch({"type": "http.response.start", "headers": [(b"content-type", b"text/event-stream")]})
    for chunk in (b"data: " + b"x" * 1_000_000, b"y\n" * 500_000, b"\n\n"):
        await watch({"type": "http.response.body", "body": chunk, "more_body": True})
        assert len(vars(watch)["_event"]) < 10


async def _nowhere(_event: Event) -> None: ...
