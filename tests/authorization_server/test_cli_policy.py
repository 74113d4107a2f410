"""`mcpauth policy`: what an operator is told of a policy before it decides anything."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from mcpauth.commands import mcpauth

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
version = 1
[scopes]
"files:write" = ["files:read"]
[[rules]]
id = "readers"
allow = { tools = ["read_*"] }
scopes = ["files:read"]
[[rules]]
id = "writers"
allow = { tools = ["write_file"] }
scopes = ["files:write"]
when = 'path_under(args.path, "/srv")'
[[rules]]
id = "never"
deny = { tools = ["read_secrets"] }
[[tests]]
call = { tool = "read_file" }
as = { scopes = ["files:read"] }
expect = "allow"
[[tests]]
call = { tool = "read_secrets" }
as = { scopes = ["files:read"] }
expect = "deny"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.toml").write_text(GOOD)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(mcpauth, ("policy", *arguments))


def as_json(*arguments: str, code: int = 0) -> Any:  # noqa: ANN401 (JSON)
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_a_good_policy_has_nothing_wrong(folder: Path) -> None:
    result = run("lint", "policy.toml")
    assert (result.exit_code, result.stdout) == (0, "Nothing is wrong.\n")
    assert as_json("lint", "policy.toml") == []


def test_what_is_wrong_is_told_rule_by_rule(folder: Path) -> None:
    """Errors end with 1, warnings only when asked to."""
    dead = GOOD + '\n[[rules]]\nid = "dead"\nallow = { tools = ["read_secrets"] }\n'
    (folder / "dead.toml").write_text(dead)
    result = run("lint", "dead.toml")
    assert result.exit_code == 1
    assert 'error: rule "dead": can allow nothing: never always denies it [unreachable]' in result.stdout
    (finding,) = [one for one in as_json("lint", "dead.toml", code=1) if one["level"] == "error"]
    assert (finding["rule"], finding["code"]) == ("dead", "unreachable")

    (folder / "twice.toml").write_text(
        GOOD + '\n[[rules]]\nid = "again"\ndeny = { tools = ["read_secrets"] }\n'
    )
    assert run("lint", "twice.toml").exit_code == 0
    assert run("lint", "twice.toml", "--strict").exit_code == 1


@pytest.mark.parametrize("command", ["lint", "test", "explain", "diff", "replay"])
def test_a_policy_that_does_not_load_is_one_line_and_exit_code_2(folder: Path, command: str) -> None:
    (folder / "wrong.toml").write_text("version = 1\n[[rules]]\nid = 7\nallow = { tools = ['*'] }\n")
    more = {"explain": ["--tool", "x"], "diff": ["policy.toml"], "replay": ["none.jsonl"]}.get(command, [])
    result = run(command, "wrong.toml", *more)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: wrong.toml: rules[0].id: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert run(command, "absent.toml", *more).exit_code == 2


def test_the_tests_in_a_policy_are_run(folder: Path) -> None:
    result = run("test", "policy.toml")
    assert (result.exit_code, result.stdout) == (0, "2 of 2 tests passed.\n")
    assert as_json("test", "policy.toml") == {"tests": 2, "failures": []}


def test_a_test_that_fails_is_told_and_ends_with_1(folder: Path) -> None:
    (folder / "policy.toml").write_text(GOOD.replace('expect = "deny"', 'expect = "allow"'))
    result = run("test", "policy.toml")
    assert result.exit_code == 1
    assert result.stdout == (
        'policy.toml: tests[1]: expected allow, got deny (denied) by rule "never"\n1 of 2 tests passed.\n'
    )
    assert as_json("test", "policy.toml", code=1)["failures"] == [
        'policy.toml: tests[1]: expected allow, got deny (denied) by rule "never"'
    ]


def test_a_policy_without_tests_is_not_told_as_one_that_passed_them(folder: Path) -> None:
    """A pipeline that was given the wrong file would look like success."""
    (folder / "none.toml").write_text('version = 1\n[[rules]]\nid = "r"\nallow = { tools = ["t"] }\n')
    result = run("test", "none.toml")
    assert (result.exit_code, result.stdout) == (0, "0 of 0 tests passed.\n")
    assert result.stderr == "There are no tests in it: write them as [[tests]].\n"


def test_a_test_that_fails_in_one_of_several_files_is_found_there(folder: Path) -> None:
    (folder / "more.toml").write_text('version = 1\n[[tests]]\ncall = { tool = "x" }\nexpect = "allow"\n')
    result = run("test", "policy.toml", "more.toml")
    assert result.exit_code == 1
    assert result.stdout.startswith("more.toml: tests[0]: expected allow, got deny (no_rule)\n")


def test_a_test_that_passes_for_want_of_a_fact_is_told(folder: Path) -> None:
    """Whoever wrote it believes that the rule was asked."""
    abroad = '[[rules]]\nid = "abroad"\ndeny = { tools = ["read_*"] }\nip = ["192.0.2.0/24"]\n'
    (folder / "policy.toml").write_text(GOOD + abroad)
    assert run("test", "policy.toml").exit_code == 1
    (folder / "policy.toml").write_text(GOOD.replace('expect = "allow"', 'expect = "deny"') + abroad)
    assert run("test", "policy.toml").exit_code == 0
    result = run("lint", "--strict", "policy.toml")
    assert result.exit_code == 1
    assert result.stdout == (
        'warning: rule "abroad": policy.toml: tests[0] is denied since the address is not known;'
        " tell it in the test [vague-test]\n"
    )


def test_several_files_are_one_policy(folder: Path) -> None:
    (folder / "more.toml").write_text('version = 1\n[[rules]]\nid = "more"\nallow = { tools = ["more"] }\n')
    result = run("explain", "policy.toml", "more.toml", "--tool", "more")
    assert result.stdout.startswith("allow (allowed) by more\n")


def test_a_decision_is_explained_rule_by_rule(folder: Path) -> None:
    """With what was asked for and what was found."""
    asked = ("explain", "policy.toml", "--tool", "write_file", "--scopes", "files:read files:write")
    result = run(*asked, "--args", '{"path": "/etc/passwd"}')
    assert result.exit_code == 0
    assert result.stdout.startswith("deny (no_rule)\n  allow writers: no\n")
    assert "/etc/passwd" in result.stdout
    explained = as_json(*asked, "--args", '{"path": "/srv/a"}')
    assert (explained["effect"], explained["rule"]) == ("allow", "writers")
    (rule,) = explained["rules"]
    assert rule["conditions"][0]["result"] == "held"


def test_everything_a_condition_may_ask_for_can_be_given(folder: Path) -> None:
    """Who, for whom, from where and when, and what the server says of the tool."""
    (folder / "all.toml").write_text(
        """
version = 1
[[rules]]
id = "all"
allow = { tools = ["t"] }
groups = ["staff"]
tenant = ["a"]
claims = { department = "it" }
client = { id = ["c"], name = ["insp*"], version = ["1.*"] }
tags = ["good"]
annotations = { readOnlyHint = true }
ip = ["10.0.0.0/8"]
time = { zone = "UTC", hours = "08:00-19:00" }
protocol = ["2025-*"]
when = 'principal.sub == "ada" and principal.iss == "https://auth.example.com"'
"""
    )
    given: dict[str, str] = {
        "--group": "staff",
        "--tenant": "a",
        "--claims": '{"department": "it"}',
        "--client-id": "c",
        "--tag": "good",
        "--annotations": '{"readOnlyHint": true}',
        "--ip": "10.1.2.3",
        "--time": "1800000000",
        "--protocol": "2025-11-25",
        "--sub": "ada",
        "--iss": "https://auth.example.com",
        "--client-name": "inspector",
        "--client-version": "1.2",
    }
    everything = [word for pair in given.items() for word in pair]
    assert as_json("explain", "all.toml", "--tool", "t", *everything)["effect"] == "allow"
    for option in given:
        others = [word for name, value in given.items() if name != option for word in (name, value)]
        assert as_json("explain", "all.toml", "--tool", "t", *others)["effect"] == "deny", option


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ((), "call: must name one of tool, prompt, resource, method"),
        (("--tool", "a", "--prompt", "b"), "call: must name one of tool, prompt, resource, method"),
        (("--tool", "a", "--args", "[1]"), "--args: must be a JSON object, as in"),
        (("--tool", "a", "--args", "{"), "--args: must be a JSON object, as in"),
        (("--tool", "a", "--claims", '"x"'), "--claims: must be a JSON object, as in"),
        (("--resource", "file:///a/../b"), "call: no client can send this: "),
        (("--tool", "a", "--args", '{"x": NaN}'), "call.args.x: must be what JSON can hold"),
    ],
)
def test_a_question_that_makes_no_sense_is_one_line(
    folder: Path, options: tuple[str, ...], line: str
) -> None:
    result = run("explain", "policy.toml", *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {line}")
    assert result.stderr.count("\n") == 1


def test_two_policies_are_compared_rule_by_rule(folder: Path) -> None:
    new = GOOD.replace('tools = ["write_file"]', 'tools = ["write_file", "append"]').replace(
        'id = "never"', 'id = "not-ever"'
    )
    (folder / "new.toml").write_text(new.replace('["files:read"]\n[[', '["files:read", "x"]\n[[', 1))
    result = run("diff", "policy.toml", "new.toml")
    assert result.exit_code == 0
    assert '+ id = "not-ever"' in result.stdout
    assert '- id = "never"' in result.stdout
    assert '+ allow = { tools = ["write_file", "append"] }' in result.stdout
    assert '- allow = { tools = ["write_file"] }' in result.stdout
    assert "readers" not in result.stdout
    assert "The scope hierarchies differ." in result.stdout
    assert '- "files:write" = ["files:read"]\n+ "files:write" = ["files:read", "x"]\n' in result.stdout

    found = as_json("diff", "policy.toml", "new.toml")
    assert len(found["added"]) == len(found["removed"]) == len(found["changed"]) == 1
    assert found["scopes"]["new"] == {"files:write": ["files:read", "x"]}


def test_a_claim_of_another_kind_is_another_rule(folder: Path) -> None:
    """`1 == True` in Python, and no claim is both."""
    for name, level in (("one.toml", "1"), ("true.toml", "true")):
        (folder / name).write_text(
            f'version = 1\n[[rules]]\nid = "r"\nallow = {{ tools = ["t"] }}\nclaims = {{ level = {level} }}\n'
        )
    result = run("diff", "one.toml", "true.toml")
    assert "- claims = { level = 1 }" in result.stdout
    assert "+ claims = { level = true }" in result.stdout


def test_equal_policies_do_not_differ(folder: Path) -> None:
    """The order of rules decides nothing."""
    result = run("diff", "policy.toml", "policy.toml")
    assert (result.exit_code, result.stdout) == (0, "The rules are the same.\n")


SERVER = """
from mcp.server.mcpserver import MCPServer
from mcpauth_middleware import Policy, Rule
from mcpauth_middleware.policy import requires

mcp = MCPServer("notes")

@mcp.tool()
@requires("notes:read")
def read_note(name: str) -> str:
    return name

class holder:
    policy = Policy(scopes={"a": ["b"]})

@holder.policy.requires("a", when="args.x > 1")
def other(x: int) -> int:
    return x
"""


@pytest.fixture
def module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (folder / "notes_to_export.py").write_text(SERVER)
    monkeypatch.delitem(sys.modules, "notes_to_export", raising=False)
    return "notes_to_export"


def test_the_rules_beside_the_tools_of_a_server_are_written_as_a_file(folder: Path, module: str) -> None:
    """What is exported is what decides: it reads back."""
    result = run("export", f"{module}:mcp")
    assert result.exit_code == 0, result.output
    (folder / "exported.toml").write_text(result.stdout)
    assert as_json("explain", "exported.toml", "--tool", "read_note")["effect"] == "step_up"
    assert as_json("export", f"{module}:mcp")["toml"] == result.stdout


def test_a_policy_object_is_exported_too(folder: Path, module: str) -> None:
    result = run("export", f"{module}:holder.policy")
    (folder / "exported.toml").write_text(result.stdout)
    explained = as_json("explain", "exported.toml", "--tool", "other", "--scopes", "a", "--args", '{"x": 2}')
    assert explained["effect"] == "allow"


@pytest.mark.parametrize(
    ("server", "code", "line"),
    [
        ("notes_to_export", 2, "name the server as in"),
        ("no_such_module:mcp", 1, "no_such_module:mcp: cannot be imported: ModuleNotFoundError"),
        ("notes_to_export:nothing", 1, "notes_to_export:nothing: cannot be imported: AttributeError"),
        ("notes_to_export:other", 1, "notes_to_export:other: from_server: give a server of the mcp SDK"),
    ],
)
def test_what_cannot_be_exported_is_one_line(module: str, server: str, code: int, line: str) -> None:
    result = run("export", server)
    assert result.exit_code == code
    assert result.stderr.startswith(f"error: {line}")
    assert "Traceback" not in result.output
