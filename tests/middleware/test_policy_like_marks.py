"""`Policy.from_server` where one name or URI can stand for several things of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastmcp import FastMCP
from mcp.server.mcpserver import MCPServer

from mcpauth_middleware.policy import Policy, PolicyError, requires
from mcpauth_middleware.policy.decorators import marked_rules
from mcpauth_middleware.policy.overlap import can_be_the_same
from tests.middleware.edge_helpers import bearer, client_of, lifespan, post, protect, rpc
from tests.middleware.gate_helpers import call
from tests.middleware.policy_helpers import someone

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:fastmcp.*")


@pytest.mark.anyio
@pytest.mark.parametrize("make", [MCPServer, FastMCP], ids=["mcp 2.x", "FastMCP 4"])
async def test_a_template_s_mark_opens_no_resource_that_is_registered_by_itself(
    make: Callable[[str], Any],
) -> None:
    """Both servers look for the resource first, whatever template its URI fits."""
    server, ran = make("s"), list[str]()

    @requires("files:read", when='not startswith(resource.uri, "notes://eve/")')
    def note(owner: str, name: str) -> str:
        ran.append(name)
        return name

    @requires("ops")
    def keys() -> str:
        ran.append("keys")
        return "secret"

    def unmarked() -> str:
        ran.append("unmarked")
        return "secret"

    server.resource("notes://{owner}/{name}")(note)
    server.resource("notes://ops/keys")(keys)
    server.resource("notes://ops/unmarked")(unmarked)
    plain = server.http_app() if make is FastMCP else server.streamable_http_app(host="rs.example")
    app = protect(plain, policy=Policy.from_server(server))
    answers: dict[str, Any] = {}
    async with lifespan(plain), client_of(app) as client:
        templates = await post(client, "resources/templates/list")
        for uri in ("ops/keys", "ops/%6Beys", "ops/unmarked", "eve/a", "ops/a"):
            answers[uri] = await post(client, "resources/read", {"uri": f"notes://{uri}"})
        ops = bearer(scope="ops")
        answers["ops"] = await post(client, "resources/read", {"uri": "notes://ops/keys"}, headers=ops)

    assert [listed["uriTemplate"] for listed in rpc(templates)["result"]["resourceTemplates"]] == [
        "notes://{owner}/{name}"
    ]
    assert {uri: answer.status_code for uri, answer in answers.items()} == {
        "ops/keys": 403,
        "ops/%6Beys": 400,
        "ops/unmarked": 400,
        "eve/a": 400,
        "ops/a": 200,
        "ops": 200,
    }
    assert ran == ["a", "keys"]


def test_a_template_s_rule_leaves_out_as_many_resources_as_there_are() -> None:
    """Hundreds are soon registered, and their rule is written by nobody."""
    server = FastMCP("s")

    @requires("files:read")
    def note(name: str) -> str:
        return name

    server.resource("notes://{name}")(note)
    for number in range(300):
        server.resource(f"notes://one-of-many-{number}")(lambda: "secret")
    policy = Policy.from_server(server)

    reader = someone("files:read")
    assert policy.sees("resource", "notes://other", reader)
    assert not any(policy.sees("resource", f"notes://one-of-many-{number}", reader) for number in range(300))
    assert Policy.from_toml(policy.to_toml()).rules == policy.rules


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("file:///srv/{name}", "file:///srv/{other}"),
        ("file:///srv/{name}", "file:///{folder}/readme"),
        ("file:///{path*}", "file:///srv/{name}/x"),
        ("file:///srv/a{name}", "file:///srv/{name}b"),
    ],
)
@pytest.mark.parametrize("scopes", [("ops",), None], ids=["another mark", "no mark"])
def test_templates_that_can_be_the_same_uri_are_marked_alike(
    first: str, second: str, scopes: tuple[str, ...] | None
) -> None:
    """Which of them the server takes is its own affair; the weaker mark would be enough for both."""

    def made(*marks: tuple[str, ...] | None) -> Policy:
        server = FastMCP("s")
        for template, mark in zip((first, second), marks, strict=True):

            def run(**parameters: str) -> str:
                return str(parameters)

            function = run if mark is None else requires(*mark)(run)
            server.resource(template)(function)
        return Policy.from_server(server)

    for marks in ((("files:read",), scopes), (scopes, ("files:read",))):
        with pytest.raises(PolicyError, match=r"from_server: resources: 'file.*' can be the same URI"):
            made(*marks)
    for rule in made(("files:read",), ("files:read",)).rules:
        assert rule.scopes == ("files:read",)
        assert rule.when is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("file:///srv/{name}", "file:///srv/{name}/x"),
        ("file:///srv/{name}", "file:///opt/{name}"),
        ("file:///a{name}", "file:///b{path*}"),
        ("a://{x}/{y}", "a://{x}"),
        ("a://{x}/{y}", "a://{x}{?q}"),
    ],
)
def test_templates_of_different_uris_need_no_like_marks(first: str, second: str) -> None:
    """A parameter stays within its segment; FastMCP's `{path*}` does not."""
    assert not can_be_the_same(first, second)
    assert can_be_the_same(first, "{+anything}")
    assert can_be_the_same("file:///srv{path*}", "file:///{folder}/{name}")
    assert can_be_the_same("a://x{?q}", "a://x?q={q}")
    assert can_be_the_same("a://x{?q}", "a://x")
    assert can_be_the_same("a://{x}{?q}", "a://{y}")
    assert can_be_the_same("{x}" * 50 + "/b", "{y}" * 50 + "b/b")


@pytest.mark.parametrize("scopes", [("ops",), None], ids=["another mark", "no mark"])
def test_the_versions_of_a_tool_are_marked_alike(scopes: tuple[str, ...] | None) -> None:
    """FastMCP runs the highest, or the one that a call names in its `_meta`."""

    def made(*marks: tuple[str, ...] | None) -> Policy:
        server = FastMCP("s")
        for version, mark in zip(("1", "2"), marks, strict=True):

            def run() -> str:
                return ""

            function = run if mark is None else requires(*mark)(run)
            server.tool(name="t", version=version)(function)
            server.prompt(name="t", version=version)(function)
        return Policy.from_server(server)

    for marks in ((("files:read",), scopes), (scopes, ("files:read",))):
        with pytest.raises(PolicyError, match=r"from_server: tools: 't' is there twice; mark both alike"):
            made(*marks)
    policy = made(("files:read",), ("files:read",))
    assert [rule.id for rule in policy.rules] == ["t", "prompts: t"]
    assert policy.decide(call("t"), someone("files:read")).effect == "allow"


@pytest.mark.anyio
@pytest.mark.parametrize("make", [MCPServer, FastMCP], ids=["mcp 2.x", "FastMCP 4"])
async def test_a_mark_is_about_all_that_a_template_stands_for(make: Callable[[str], Any]) -> None:
    """RFC 6570 §3.2.3, §3.2.8: several segments, and parameters of a query, of which none need be there."""
    server, ran = make("s"), list[str]()

    @requires("files:read")
    def file(path: str, style: str = "") -> str:
        ran.append(f"{path} {style}")
        return path

    @requires("files:read")
    def search(q: str = "", page: str = "") -> str:
        ran.append(f"{q} {page}")
        return q

    @requires("ops")
    def all_items() -> str:
        ran.append("all")
        return "all"

    server.resource("file:///srv/{path*}{?style}" if make is FastMCP else "file:///srv/{+path}{?style}")(file)
    server.resource("search://{q}/pages{?page}")(search)
    server.resource("search://all/pages")(all_items)
    plain = server.http_app() if make is FastMCP else server.streamable_http_app(host="rs.example")
    app = protect(plain, policy=Policy.from_server(server))
    answers: dict[str, int] = {}
    allowed = ["file:///srv/a/b", "file:///srv/a?style=x/y", "search://x/pages", "search://x/pages?page=1/2"]
    denied = ["file:///etc/a", "search://x/pages/1", "search://x/page", "search://all/pages?page=1"]
    async with lifespan(plain), client_of(app) as client:
        templates = await post(client, "resources/templates/list")
        for uri in (*allowed, *denied, "search://all/pages"):
            answers[uri] = (await post(client, "resources/read", {"uri": uri})).status_code
        other = await post(client, "resources/read", {"uri": allowed[0]}, headers=bearer(scope="mail"))

    assert len(rpc(templates)["result"]["resourceTemplates"]) == 2
    assert {uri: answers[uri] for uri in allowed} == dict.fromkeys(allowed, 200)
    assert {uri: answers[uri] for uri in denied} == dict.fromkeys(denied, 400)
    assert answers["search://all/pages"] == 403
    assert other.status_code == 403
    assert ran == ["a/b ", "a x/y", "x ", "x 1/2"]


@pytest.mark.parametrize(
    "template", ["file:///{+path}.md", "file:///srv{/path*}", "a://x{.kind}", "a://x?q={q}{&page}"]
)
def test_a_template_that_no_pattern_stands_for_cannot_be_marked(template: str) -> None:
    """Its rule would match nothing, and nobody would be told."""
    with pytest.raises(PolicyError, match=r"no rule can stand for this template.*take its mark off"):
        marked_rules([("resources", template, requires("files:read")(lambda: ""))])
    assert marked_rules([("resources", template, lambda: "")]) == []
