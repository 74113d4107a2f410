"""`requires` beside a function without a policy at hand, and the policy that a server's marks make."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from fastmcp import FastMCP
from mcp.server.mcpserver import MCPServer

from mcpauth_middleware.policy import ClientMatch, Policy, PolicyError, Rule, TimeWindow, requires
from mcpauth_middleware.policy.decorators import requirement_of
from tests.middleware.gate_helpers import call
from tests.middleware.marked_servers import Server, declare
from tests.middleware.policy_helpers import someone
from tests.stacks.environments import python_of, search_path

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:fastmcp.*")

POLICY = """
version = 1
[[rules]]
id = "read"
allow = { tools = ["read"] }
scopes = ["files:read"]
[[rules]]
id = "renamed"
allow = { tools = ["renamed"] }
scopes = ["files:write"]
groups = ["ops"]
[[rules]]
id = "prompts: greet"
allow = { prompts = ["greet"] }
[[rules]]
id = "resources: file:///srv/readme"
allow = { resources = ["file:///srv/readme"] }
scopes = ["files:read"]
[[rules]]
id = "resources: file:///srv/*/x"
allow = { resources = ["file:///srv/*/x"] }
scopes = ["files:read"]
"""


@pytest.mark.parametrize("make", [MCPServer, FastMCP], ids=["mcp 2.x", "FastMCP 4"])
def test_a_server_s_marks_give_the_rules_of_a_file(make: Callable[[str], Any]) -> None:
    """One internal form, under the names that the server lists."""
    server: Server = make("s")
    declare(server)

    @server.tool()
    def unmarked() -> str:
        return ""

    assert unmarked() == ""
    policy, written = Policy.from_server(server), Policy.from_toml(POLICY)
    assert policy.rules == written.rules
    assert policy.bundle == written.bundle
    assert policy.decide(call("renamed"), someone("files:write", groups=["ops"])).effect == "allow"
    assert policy.decide(call("unmarked"), someone("files:read")).reason == "no_rule"


@pytest.mark.parametrize(
    ("environment", "servers"),
    [
        (".venv-mcp1", ["mcp.server.fastmcp:FastMCP", "fastmcp:FastMCP"]),
        (".venv-mcp126", ["mcp.server.fastmcp:FastMCP"]),
    ],
    ids=["mcp 1.30 and FastMCP 3", "mcp 1.26"],
)
def test_so_do_those_of_older_frameworks(environment: str, servers: list[str]) -> None:
    """In environments of their own, since only one `mcp` can be installed at a time."""
    ran = subprocess.run(
        [python_of(environment), "-m", "tests.middleware.marked_servers", *servers],
        env={**os.environ, "PYTHONPATH": search_path()},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert found == [Policy.from_toml(POLICY).to_toml()] * len(servers)


def test_fastmcp_s_wildcard_parameter_is_any_number_of_segments() -> None:
    """`{path*}`."""
    server = FastMCP("s")

    @server.resource("file:///srv/{path*}")
    @requires()
    def files(path: str) -> str:
        return path

    assert files("a") == "a"
    assert [rule.resources for rule in Policy.from_server(server).rules] == [("file:///srv/**",)]


def test_the_decorators_of_a_policy_and_the_free_one_take_the_same() -> None:
    """Every condition of a file."""
    policy, server = Policy(), MCPServer("s")
    conditions: dict[str, Any] = {
        "tags": ["x"],
        "annotations": {"readOnlyHint": True},
        "groups": ["ops"],
        "claims": {"level": [1, 2]},
        "client": {"host": ["claude.ai"]},
        "tenant": ["acme"],
        "ip": ["10.0.0.0/8"],
        "time": {"zone": "Europe/Paris", "days": "mon-fri"},
        "protocol": ["2026-*"],
        "when": "args.n < 5",
        "mode": "shadow",
    }

    @server.tool()
    @policy.requires("s", **conditions)
    @requires("s", **conditions)
    def t(n: int) -> int:
        return n

    assert t(1) == 1
    assert Policy.from_server(server).rules == policy.rules
    assert policy.rules == (
        Rule(
            id="t",
            effect="allow",
            tools=("t",),
            scopes=("s",),
            tags=("x",),
            annotations={"readOnlyHint": True},
            groups=("ops",),
            claims={"level": (1, 2)},
            client=ClientMatch(host=("claude.ai",)),
            tenant=("acme",),
            ip=("10.0.0.0/8",),
            time=TimeWindow("Europe/Paris", "mon-fri"),
            protocol=("2026-*",),
            when="args.n < 5",
            mode="shadow",
        ),
    )


@pytest.mark.parametrize("make", [MCPServer, FastMCP], ids=["mcp 2.x", "FastMCP 4"])
def test_a_name_that_would_be_a_pattern_makes_no_rule(make: Callable[[str], Any]) -> None:
    """A tool called `*`, made from some API's description, would open all the others."""

    @requires()
    def harmless(*, name: str = "") -> str:
        return name

    def unmarked() -> str:
        return ""

    tools, resources = make("s"), make("s")
    tools.tool(name="admin.*")(harmless)
    resources.resource("file:///srv/*/{name}")(harmless)
    for server, name in ((tools, r"'admin\.\*'"), (resources, r"'file:///srv/\*/'")):
        with pytest.raises(PolicyError, match=f"from_server: {name}: its \\* would stand for others too"):
            Policy.from_server(server)
    other = make("s")
    other.tool(name="admin.*")(unmarked)
    assert Policy.from_server(other).rules == ()


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"when": "args.x is 1"}, "^when: column 1"),
        ({"groups": "ops"}, "^groups: must be a list"),
        ({"groups": []}, "^groups: is empty"),
        ({"scope": ["x"]}, r"^requires\.scope: unknown key"),
        ({"client": {"hosts": ["x"]}}, r'^client\.hosts: unknown key; did you mean "host"'),
        ({"time": {}}, "^time: is empty"),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(conditions: dict[str, Any], message: str) -> None:
    """When the module is imported, not when the policy is made."""
    with pytest.raises(PolicyError, match=message):
        requires("s", **conditions)
    with pytest.raises(PolicyError, match="is not a scope"):
        requires("a b")


def test_a_function_is_marked_once() -> None:
    """Two marks would be two rules, of which one is enough: the opposite of what they look like."""

    @requires("a")
    def tool() -> None: ...

    with pytest.raises(PolicyError, match="stands here already"):
        requires("b")(tool)
    with pytest.raises(PolicyError, match="cannot be marked"):
        requires("b")(object())


def test_a_mark_is_seen_through_wrappers() -> None:
    """`functools.wraps`, partials and bound methods."""

    class Tools:
        @requires("a")
        def method(self) -> None: ...

    @requires("b")
    def plain() -> None: ...

    @functools.wraps(plain)
    def wrapped() -> None: ...

    for function, scope in ((Tools().method, "a"), (wrapped, "b"), (functools.partial(plain), "b")):
        found = requirement_of(function)
        assert found is not None
        assert found.scopes == (scope,)
    assert requirement_of(print) is None


def test_what_is_no_server_is_refused() -> None:
    """A policy without rules would deny everything, and nobody would know why."""
    with pytest.raises(PolicyError, match="from_server: give a server"):
        Policy.from_server(object())
