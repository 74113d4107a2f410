"""Arguments checked against the input schema (JSON Schema): what does not fit never reaches the tool."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import anyio
import pytest
from fastmcp import FastMCP
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel

from mcpauth_middleware import McpAuthMiddleware, MemoryLimiter, Policy, RateLimit
from mcpauth_middleware.catalogue import ToolDefinition
from mcpauth_middleware.catalogue.patterns import longest_text, may_explode
from mcpauth_middleware.catalogue.strict_arguments import UNKNOWN, UNUSABLE, StrictArguments
from mcpauth_middleware.errors import InvalidArguments
from tests.middleware.batch_helpers import call as member
from tests.middleware.batch_helpers import post_batch
from tests.middleware.edge_helpers import (
    LOOPBACK,
    LOOPBACK_RESOURCE,
    MODERN,
    REVISIONS,
    Clock,
    Journal,
    RecordingApp,
    bearer,
    client_of,
    edge_options,
    lifespan,
    open_session,
    post,
    protect,
    rpc,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

pytestmark = pytest.mark.anyio

AUD = {"aud": LOOPBACK_RESOURCE}
ALL = 'version = 1\n[[rules]]\nid = "all"\nallow = { tools = ["*"] }'

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "path": {"type": "string", "pattern": "^/[a-z/]*$"},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "mail": {"type": "string", "pattern": r"^[^@]+@[^@]+\.[^@]+$"},
        "mode": {"enum": ["r", "w"]},
        "options": {"$ref": "#/$defs/Options"},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "free": {"type": "object"},
    },
    "required": ["path"],
    "$defs": {"Options": {"type": "object", "properties": {"deep": {"type": "boolean"}}}},
}


async def problems(
    arguments: dict[str, Any], schema: object = SCHEMA, *, size: int = 100
) -> tuple[str, ...] | str:
    definition = ToolDefinition.of({"name": "tool", "inputSchema": schema})
    try:
        await StrictArguments().check(definition, arguments, size=size)
    except InvalidArguments as refused:
        return refused.problems or refused.text
    return ()


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": "/a"},
        {"path": "/a", "limit": 1, "mode": "w", "options": {"deep": True}, "maybe": None, "tags": ["a", "b"]},
        {"path": "/a", "limit": 5.0, "maybe": 7},
        {"path": "/a", "options": {}, "free": {"whatever": 1}},
    ],
)
async def test_what_fits_passes(arguments: dict[str, Any]) -> None:
    """Also where the check runs in a thread, as it does for large arguments."""
    assert await problems(arguments) == ()
    assert await problems(arguments, size=10**6) == ()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "arguments: 'path' is a required property"),
        ({"path": 7}, 'path: must be of type "string"'),
        ({"path": None}, 'path: must be of type "string"'),
        ({"path": ["/a"]}, 'path: must be of type "string"'),
        ({"path": "/a", "name": ""}, "name: must meet minLength: 1"),
        ({"path": "a"}, 'path: must meet pattern: "^/[a-z/]*$"'),
        (
            {"path": "/a", "mail": "a" * 272},
            "mail: is too long: at most 271 characters can be held against its pattern",
        ),
        ({"path": "/a", "limit": "5"}, 'limit: must be of type "integer"'),
        ({"path": "/a", "limit": True}, 'limit: must be of type "integer"'),
        ({"path": "/a", "limit": 5.5}, 'limit: must be of type "integer"'),
        ({"path": "/a", "limit": 101}, "limit: must meet maximum: 100"),
        ({"path": "/a", "mode": "x"}, 'mode: must be one of ["r", "w"]'),
        ({"path": "/a", "maybe": "x"}, "maybe: fits none of the forms that the tool takes, or more than one"),
        ({"path": "/a", "tags": ["a", "a"]}, "tags: must meet uniqueItems: true"),
        ({"path": "/a", "tags": ["a", 7]}, 'tags.1: must be of type "string"'),
        ({"path": "/a", "other": 1}, 'arguments: has members that the tool does not take: ["other"]'),
        ({"path": "/a", "Path": "/b"}, 'arguments: has members that the tool does not take: ["Path"]'),
        ({"path": "/a", "options": {"x": 1}}, 'options: has members that the tool does not take: ["x"]'),
    ],
)
async def test_what_does_not_fit_is_told_where_and_how(arguments: dict[str, Any], problem: str) -> None:
    """For a model to read and to mend; nothing of the value is repeated."""
    for size in (100, 10**6):
        assert await problems(arguments, size=size) == (problem,)


@pytest.mark.parametrize("keyword", ["additionalProperties", "unevaluatedProperties"])
async def test_members_that_the_schema_lets_in_by_itself_pass(keyword: str) -> None:
    """Only what is not spoken of is refused."""
    assert await problems({"x": 1}, {"type": "object", keyword: True}) == ()
    assert await problems({"x": 1}, {"type": "object", keyword: {"type": "integer"}}) == ()
    assert await problems({"x": "1"}, {"type": "object", keyword: {"type": "integer"}})
    assert await problems({"x1": 1}, {"type": "object", "patternProperties": {"^x": {}}}) == ()


@pytest.mark.parametrize("schema", [{"type": "object"}, {}, {"type": "object", "properties": {}}])
async def test_a_tool_without_parameters_takes_no_arguments(schema: dict[str, Any]) -> None:
    """An empty schema is no licence."""
    assert await problems({}, schema) == ()
    assert await problems({"x": 1}, schema) == ('arguments: has members that the tool does not take: ["x"]',)


async def test_schemas_that_describe_one_object_together_are_closed_together() -> None:
    """Neither half refuses the members of the other."""
    base = {"type": "object", "properties": {"a": {"type": "integer"}}}
    schema = {
        "$defs": {"Base": base},
        "allOf": [{"$ref": "#/$defs/Base"}],
        "properties": {"b": {"type": "integer"}},
    }
    assert await problems({"a": 1, "b": 2}, schema) == ()
    assert await problems({"a": 1, "c": 2}, schema)
    nested = {"type": "object", "properties": {"inner": {**schema, "$defs": {}}}, "$defs": schema["$defs"]}
    assert await problems({"inner": {"a": 1, "b": 2}}, nested) == ()
    assert await problems({"inner": {"a": 1, "c": 2}}, nested)


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "http://json-schema.org/draft-07/schema#", **SCHEMA},
        {"$schema": "https://json-schema.org/draft/2019-09/schema", **SCHEMA},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", **SCHEMA},
    ],
)
async def test_older_editions_of_json_schema_are_closed_too(schema: dict[str, Any]) -> None:
    """MCP: `$schema` may name another dialect."""
    assert await problems({"path": "/a"}, schema) == ()
    assert await problems({"path": "/a", "other": 1}, schema)
    assert await problems({"path": "/a", "options": {"x": 1}}, schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"properties": {"a": {"$ref": "https://example.com/schema.json"}}},
        {"properties": {"a": {"$ref": "#/$defs/absent"}}},
        {"$ref": "#"},
        {"$schema": "https://example.com/my-own-dialect"},
        {"type": "no-such-type"},
        {"properties": 7},
        {"properties": {"a": {"type": "string", "pattern": "("}}},
        {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}},
        {"patternProperties": {"^(a|a)*$": {}}},
    ],
)
async def test_a_schema_that_cannot_be_used_lets_nothing_through(
    schema: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It is not fetched from anywhere either."""
    with caplog.at_level(logging.CRITICAL):
        assert await problems({"a": "a"}, schema) == UNUSABLE


@pytest.mark.parametrize(
    "definition",
    [None, ToolDefinition.of({"name": "a"}), ToolDefinition.of({"name": "a", "inputSchema": True})],
)
async def test_a_schema_that_is_not_known_lets_nothing_through(definition: ToolDefinition | None) -> None:
    """Nobody could say what it would have refused."""
    with pytest.raises(InvalidArguments) as raised:
        await StrictArguments().check(definition, {}, size=2)
    assert raised.value.text == UNKNOWN


@pytest.mark.parametrize(
    ("pattern", "explodes"),
    [
        ("(a+)+", True),
        ("(a*)*b", True),
        ("(a|b)*", True),
        ("(?:a?b+){2,}", True),
        ("((a+)b)*", True),
        (r"(\d+)*", True),
        ("^[a-z]+$", False),
        ("(abc)+", False),
        (r"(\+)+", False),
        ("([+*])+", False),
        (r"^(a|b)$", False),
        (r"^\(+\)+$", False),
        ("(a+)?", False),
        (r"^[^]+]*$", False),
    ],
)
def test_patterns_that_may_take_for_ever_are_known(pattern: str, explodes: bool) -> None:
    """Something that varies, repeated without an end."""
    assert may_explode(pattern) is explodes


def test_the_more_a_pattern_repeats_the_shorter_is_the_text_it_is_matched_with() -> None:
    """Each repetition without an end may try every length."""
    lengths = [longest_text(pattern) for pattern in ("^a$", "^a+$", "a+$", "^a+b*$", "a+b*$", "^a{2,}b*c+$")]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] == lengths[1] == 1_000_000
    assert lengths[2:] == [4472, 4472, 271, 271]


@pytest.mark.parametrize(
    ("arguments", "schema"),
    [
        ({"x": "a" * 4000 + "!"}, {"properties": {"x": {"pattern": "^[a-z]*[a-z]*$"}}}),
        ({"x": "a" * 270 + "!"}, {"properties": {"x": {"pattern": "^[a-z]*[a-z]*[a-z]*$"}}}),
        ({"x": "a" * 10**6 + "!"}, {"properties": {"x": {"pattern": "^[a-z]*[a-z]*[a-z]*$"}}}),
        ({"x": [{"y": 1}] * 200_000}, {"properties": {"x": {"uniqueItems": True}}}),
        ({f"x{number}": 1 for number in range(100_000)}, {"properties": {"x": {"type": "string"}}}),
        ({"x": ["a"] * 100_000}, {"properties": {"x": {"items": {"type": "integer"}}}}),
    ],
    ids=["a pattern", "a slower pattern", "a long text", "equal items", "unknown members", "wrong items"],
)
async def test_large_arguments_are_refused_in_bounded_time(
    arguments: dict[str, Any], schema: dict[str, Any]
) -> None:
    """And while the event loop goes on."""
    found = await problems(arguments, schema, size=10**6)
    assert found
    assert all(len(problem) <= 200 for problem in found)
    assert len(found) <= 5


NAMES = {"patternProperties": {r"^\w+_\w+$": {"type": "integer"}}}
EVEN = {"type": "array", "items": True, "unevaluatedItems": False}


TOO_LARGE: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"a" * 5_000 + "!": 1}, NAMES, "a member has a name of more than 4472 characters"),
    (
        {"x": {"a" * 5_000: 1}},
        {"properties": {"x": NAMES}},
        "a member has a name of more than 4472 characters",
    ),
    (
        {str(n): n for n in range(10_001)},
        {"allOf": [{"patternProperties": {"": {}}}]},
        "an object has more than",
    ),
    ({"x": [{str(n): n for n in range(10_001)}]}, {"properties": {"x": {}}}, "an object has more than"),
    ({"x": [1] * 10_001}, {"properties": {"x": EVEN}}, "a list has more than 10000 items"),
]


@pytest.mark.parametrize(("arguments", "schema", "problem"), TOO_LARGE)
async def test_what_a_check_would_take_long_for_is_refused_by_its_size(
    arguments: dict[str, Any], schema: dict[str, Any], problem: str
) -> None:
    """Of names that are matched with a pattern the length, of members that are looked for the number."""
    found = await problems(arguments, schema, size=10**6)
    assert len(found) == 1
    assert found[0].startswith(f"arguments: {problem}")


async def test_what_is_just_small_enough_is_checked() -> None:
    """The bounds are not in anybody's way."""
    assert await problems({"a" * 4_000 + "_b": 1}, NAMES) == ()
    many = {str(number): number for number in range(10_000)}
    assert await problems(many, {"additionalProperties": {"type": "integer"}}, size=10**6) == ()
    assert await problems({"x": [1] * 100_000}, {"properties": {"x": {"type": "array"}}}, size=10**6) == ()


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
async def test_the_branches_of_a_choice_are_left_at_their_first_error(keyword: str) -> None:
    """What pydantic makes of `list[str] | None`: a list of a million numbers is no million errors."""
    compared: list[object] = []

    class Number(int):
        def __eq__(self, other: object) -> bool:
            compared.append(other)
            return int(self) == other

        __hash__ = int.__hash__

    schema = {"properties": {"x": {keyword: [{"items": {"const": 2}}, {"type": "null"}]}}}
    found = await problems({"x": [Number(1)] * 1_000}, schema)
    assert found == ("x: fits none of the forms that the tool takes, or more than one",)
    assert len(compared) < 5


async def test_a_choice_of_one_is_of_exactly_one() -> None:
    """JSON Schema 2020-12, `oneOf`."""
    schema = {"properties": {"x": {"oneOf": [{"minimum": 1}, {"maximum": 5}]}}}
    assert [bool(await problems({"x": x}, schema)) for x in (0, 3, 9)] == [False, True, False]


def test_without_jsonschema_the_option_is_refused_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "jsonschema.validators", None)
    with pytest.raises(ValueError, match=r"strict_arguments: .*pip install 'mcpauth-kit\[strict\]'"):
        protect(RecordingApp(), strict_arguments=True)


# With the real servers

Kind = Literal["mcp", "fastmcp"]


class Options(BaseModel):
    deep: bool = False


@asynccontextmanager
async def server(kind: Kind, ran: list[str], **options: Any) -> AsyncGenerator[httpx2.AsyncClient]:
    def search(path: str, limit: int = 10, options: Options | None = None) -> str:
        ran.append(f"{path} {limit} {options}")
        return "found"

    if kind == "mcp":
        sdk = MCPServer("strict")
        sdk.tool()(search)
        app = sdk.streamable_http_app()
    else:
        fast: FastMCP[Any] = FastMCP("strict")
        fast.tool(search)
        app = fast.http_app()
    settings = edge_options(
        resource=LOOPBACK_RESOURCE, policy=Policy.from_toml(ALL), strict_arguments=True, **options
    )
    async with lifespan(app), client_of(McpAuthMiddleware(app, **settings), base_url=LOOPBACK) as client:
        yield client


@pytest.mark.parametrize("kind", ["mcp", "fastmcp"])
@pytest.mark.parametrize("revision", REVISIONS)
async def test_wrong_arguments_do_not_reach_the_tool_and_the_model_reads_why(
    kind: Kind, revision: str
) -> None:
    """-32602, in the HTTP status that the revision bears."""
    ran: list[str] = []
    async with server(kind, ran) as client:
        headers = {**bearer(**AUD), **await open_session(client, revision, bearer(**AUD))}

        async def call(arguments: dict[str, Any]) -> httpx2.Response:
            params = {"name": "search", "arguments": arguments}
            return await post(client, "tools/call", params, revision=revision, headers=headers)

        for wrong, problem in (
            ({}, "'path' is a required property"),
            ({"path": "/a", "limit": "10"}, 'limit: must be of type "integer"'),
            ({"path": "/a", "sudo": True}, 'does not take: ["sudo"]'),
            ({"path": "/a", "options": {"deep": True, "x": 1}}, "options"),
        ):
            response = await call(wrong)
            assert response.status_code == (400 if revision == MODERN else 200)
            error = rpc(response)["error"]
            assert error["code"] == -32602
            assert problem in error["message"]
            assert error["message"].startswith("Invalid arguments: ")
            assert error["data"]["problems"]
            assert not ran
        good = await call({"path": "/a", "limit": 3, "options": {"deep": True}})
    assert rpc(good)["result"]["content"][0]["text"] == "found"
    assert ran == ["/a 3 deep=True"]


async def test_a_tool_that_must_not_be_seen_is_not_told_by_its_arguments() -> None:
    """The policy comes first."""
    ran: list[str] = []
    deny = Policy.from_toml(ALL + '\n[[rules]]\nid = "no"\ndeny = { tools = ["search"] }')
    app = MCPServer("strict").streamable_http_app()
    settings = edge_options(resource=LOOPBACK_RESOURCE, policy=deny, strict_arguments=True)
    async with lifespan(app), client_of(McpAuthMiddleware(app, **settings), base_url=LOOPBACK) as client:
        response = await post(
            client, "tools/call", {"name": "search", "arguments": {}}, headers=bearer(**AUD)
        )
    assert rpc(response)["result"]["content"][0]["text"] == "Unknown tool: search"
    assert not ran


async def test_a_wrong_call_is_counted_and_recorded_once() -> None:
    """Guessing arguments is limited like calling."""
    ran: list[str] = []
    journal = Journal()
    limits = [RateLimit("2/minute", by=("user", "tool"))]
    async with server("mcp", ran, audit=journal, limits=limits, limiter=MemoryLimiter(now=Clock())) as client:
        params = {"name": "search", "arguments": {"secret": "never in the journal"}}
        statuses = [
            (await post(client, "tools/call", params, headers=bearer(**AUD))).status_code for _ in range(3)
        ]
    assert statuses == [400, 400, 429]
    assert [event.get("reason", event["type"]) for event in journal.events] == [
        "catalogue",
        "invalid_arguments",
        "invalid_arguments",
        "rate_limited",
    ]
    assert "never in the journal" not in json.dumps(journal.events)
    assert not ran


async def test_in_a_batch_the_wrong_member_is_refused_and_the_others_run() -> None:
    """MCP 2025-03-26."""
    ran: list[str] = []
    async with server("mcp", ran) as client:
        session = await open_session(client, "2025-03-26", bearer(**AUD))
        with anyio.fail_after(5):
            response = await post_batch(
                client,
                member("search", id=1, path="/a"),
                member("search", id=2, path=7),
                headers={**bearer(**AUD), **session},
            )
    assert [answer.get("error", {}).get("code") for answer in response.json()] == [None, -32602]
    assert len(ran) == 1
