"""`mcpauth policy replay` and `diff --journal`, over journals that the middleware wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from click.testing import CliRunner, Result

from mcpauth.commands import mcpauth
from mcpauth_middleware import AuditJournal, AuditOptions, Policy
from tests.middleware.edge_helpers import RecordingApp, bearer, client_of, post, protect

if TYPE_CHECKING:
    from pathlib import Path

OLD = """
version = 1
[[rules]]
id = "readers"
allow = { tools = ["read", "list"] }
scopes = ["files:read"]
"""
NARROW = """
version = 1
[[rules]]
id = "readers"
allow = { tools = ["read"] }
scopes = ["files:read"]
"""
WIDE = """
version = 1
[[rules]]
id = "everybody"
allow = { tools = ["read", "list", "write"] }
"""
STEP_UP = """
version = 1
[[rules]]
id = "readers"
allow = { tools = ["read", "list", "write"] }
scopes = ["files:read", "files:more"]
"""
BY_ARGUMENT = """
version = 1
[[rules]]
id = "readers"
allow = { tools = ["read", "list", "write"] }
scopes = ["files:read"]
when = 'args.path == "/a"'
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("old", OLD),
        ("narrow", NARROW),
        ("wide", WIDE),
        ("step_up", STEP_UP),
        ("by_argument", BY_ARGUMENT),
    ):
        (tmp_path / f"{name}.toml").write_text(text)
    anyio.run(write_journal, tmp_path / "audit.jsonl", None)
    anyio.run(write_journal, tmp_path / "kept.jsonl", AuditOptions(keep={"*": ["path"]}))
    return tmp_path


async def write_journal(path: Path, options: AuditOptions | None) -> None:
    """Four calls: two that ran, one that lacked a scope, one that was denied; and one without a token."""
    journal = AuditJournal(path)
    guarded = protect(RecordingApp(), policy=Policy.from_toml(OLD), audit=journal, audit_options=options)
    client = client_of(guarded)
    for tool, scope in (
        ("read", "files:read"),
        ("list", "files:read"),
        ("read", "x"),
        ("write", "files:read"),
    ):
        params = {"name": tool, "arguments": {"path": "/a"}}
        await post(client, "tools/call", params, headers=bearer(scope=scope, sub="ada"))
    await post(client, "tools/call", {"name": "read"}, headers={})
    await journal.aclose()


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(mcpauth, ("policy", *arguments), input=stdin)


def as_json(*arguments: str, code: int) -> Any:  # noqa: ANN401 (JSON)
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def named(calls: list[dict[str, Any]]) -> list[str]:
    return [call["mcp"]["name"] for call in calls]


def test_the_policy_that_decided_changes_nothing(folder: Path) -> None:
    result = run("replay", "old.toml", "audit.jsonl")
    assert result.exit_code == 0
    assert result.stdout == "4 calls: 4 as before, 0 allowed further, 0 allowed less, 0 unknown.\n"


def test_calls_that_would_be_denied_are_told_and_are_no_failure(folder: Path) -> None:
    """Who loses what is for the operator to weigh."""
    result = run("replay", "narrow.toml", "audit.jsonl")
    assert result.exit_code == 0
    assert "Calls that would be allowed less:\n" in result.stdout
    assert " ada (client-1) tools/call list: allow (readers) -> deny\n" in result.stdout
    assert "4 calls: 3 as before, 0 allowed further, 1 allowed less, 0 unknown.\n" in result.stdout


def test_calls_that_would_be_newly_allowed_fail_the_command(folder: Path) -> None:
    """In CI a policy must not widen by accident."""
    result = run("replay", "wide.toml", "audit.jsonl")
    assert result.exit_code == 1
    assert "tools/call read: step_up (readers) -> allow (everybody)\n" in result.stdout
    assert "tools/call write: deny -> allow (everybody)\n" in result.stdout
    assert run("replay", "wide.toml", "audit.jsonl", "--allow-widening").exit_code == 0
    found = as_json("replay", "wide.toml", "audit.jsonl", code=1)
    assert named(found["wider"]) == ["read", "write"]
    assert (found["calls"], found["same"], found["narrower"], found["unknown"]) == (4, 2, [], [])


def test_calls_that_would_need_more_scopes_are_told(folder: Path) -> None:
    """From allowed to a challenge is less; from denied to a challenge is more."""
    found = as_json("replay", "step_up.toml", "audit.jsonl", code=1)
    assert named(found["narrower"]) == ["read", "list"]
    assert {call["new"]["least"] for call in found["narrower"]} == {"step_up"}
    assert named(found["wider"]) == ["write"]


def test_what_the_journal_does_not_tell_is_told_as_such(folder: Path) -> None:
    """A condition over arguments that were not kept."""
    result = run("replay", "by_argument.toml", "audit.jsonl")
    assert result.exit_code == 0
    assert "Calls of which the journal does not tell:\n" in result.stdout
    assert "tools/call write: deny -> deny or allow\n" in result.stdout
    assert "    the journal does not hold args.path\n" in result.stdout
    assert "4 calls: 0 as before, 0 allowed further, 0 allowed less, 4 unknown.\n" in result.stdout
    assert run("replay", "by_argument.toml", "audit.jsonl", "--fail-on-unknown").exit_code == 1


def test_with_kept_arguments_it_is_told_exactly(folder: Path) -> None:
    found = as_json("replay", "by_argument.toml", "kept.jsonl", code=1)
    assert found["unknown"] == []
    assert named(found["wider"]) == ["write"]
    assert found["same"] == 3


def test_several_journals_and_standard_input_are_read(folder: Path) -> None:
    both = as_json("replay", "old.toml", "audit.jsonl", "kept.jsonl", code=0)
    assert both["calls"] == 8
    text = (folder / "audit.jsonl").read_text()
    result = run("replay", "wide.toml", "-", stdin=text)
    assert result.exit_code == 1
    assert "4 calls: " in result.stdout


def test_two_policies_are_compared_over_a_journal(folder: Path) -> None:
    """The rules that differ, and the calls that do."""
    result = run("diff", "narrow.toml", "wide.toml", "--journal", "audit.jsonl")
    assert result.exit_code == 1
    assert '+ id = "everybody"' in result.stdout
    assert "tools/call list: deny -> allow (everybody)" in result.stdout
    found = as_json("diff", "wide.toml", "narrow.toml", "--journal", "audit.jsonl", code=0)
    assert named(found["calls"]["narrower"]) == ["list", "read", "write"]
    same = as_json("diff", "by_argument.toml", "by_argument.toml", "--journal", "audit.jsonl", code=0)
    assert same["calls"]["same"] == 4


def test_lines_that_are_no_events_are_told_and_fail_the_command(folder: Path) -> None:
    """Nobody knows which calls they hide: a crash cuts a line, a disk or an editor changes one."""
    event = json.loads((folder / "audit.jsonl").read_text().splitlines()[0])
    with (folder / "audit.jsonl").open("ab") as file:
        file.write(b'{"v": 1, "type": "policy.reload"}\n{"v": 1, "deci\n\xff\xfe\n')
        file.write(json.dumps({**event, "mcp": None}).encode() + b"\n")
    lines = len((folder / "audit.jsonl").read_bytes().splitlines())
    result = run("replay", "old.toml", "audit.jsonl")
    assert result.exit_code == 1
    assert "4 calls: 4 as before, " in result.stdout
    assert result.stderr.splitlines() == [
        f"audit.jsonl line {lines - 2}: no event of an audit journal: not valid JSON",
        f"audit.jsonl line {lines - 1}: no event of an audit journal: not UTF-8",
        f"audit.jsonl line {lines}: no event of an audit journal: `mcp` must be an object",
        "3 lines are no events: what they hide is not in this report.",
    ]
    found = as_json("replay", "old.toml", "audit.jsonl", code=1)
    assert (found["lines"], found["unreadable"]) == (lines, 3)
    assert found["problems"] == result.stderr.splitlines()[:-1]
    assert run("diff", "old.toml", "old.toml", "--journal", "audit.jsonl").exit_code == 1
    assert run("replay", "old.toml", "audit.jsonl", "--allow-unreadable").exit_code == 0
    assert run("replay", "wide.toml", "audit.jsonl", "--allow-unreadable").exit_code == 1
    assert run("replay", "wide.toml", "audit.jsonl", "--allow-widening").exit_code == 1


def test_many_lines_that_are_no_events_are_not_all_told(folder: Path) -> None:
    """Somebody named the wrong file."""
    (folder / "audit.jsonl").write_text("INFO: Started\n" * 1000)
    result = run("replay", "old.toml", "audit.jsonl")
    assert result.exit_code == 1
    assert result.stderr.endswith(
        "... and 980 more\n1000 lines are no events: what they hide is not in this report.\n"
    )
    assert len(result.stderr.splitlines()) == 22


def test_a_call_that_the_journal_has_not_whole_is_unknown(folder: Path) -> None:
    """A URI without its query: who must know of every call is told by the exit status."""
    event = json.loads((folder / "audit.jsonl").read_text().splitlines()[0])
    event["mcp"] |= {"method": "resources/read", "name": "file:///a", "kind": "resource", "shortened": True}
    (folder / "audit.jsonl").write_text(json.dumps(event) + "\n")
    result = run("replay", "wide.toml", "audit.jsonl")
    assert result.exit_code == 0
    assert "ada (client-1) resources/read file:///a: lacks every name in full\n" in result.stdout
    assert "1 calls: 0 as before, 0 allowed further, 0 allowed less, 1 unknown.\n" in result.stdout
    (told,) = as_json("replay", "wide.toml", "audit.jsonl", "--fail-on-unknown", code=1)["incomplete"]
    assert (told["mcp"]["name"], told["lacks"]) == ("file:///a", "every name in full")


def test_a_journal_without_calls_is_asked_about(folder: Path) -> None:
    """The authorization server's has the same form, and no calls."""
    (folder / "audit.jsonl").write_text('{"v": 1, "type": "token_issued", "phase": "outcome"}\n')
    result = run("replay", "wide.toml", "audit.jsonl")
    assert result.exit_code == 0
    assert result.stderr == "There is no call in it. Is it the journal of the middleware?\n"


def test_names_from_strangers_do_not_reach_the_terminal_as_they_are(folder: Path) -> None:
    """A tool's name is whatever a client sent."""
    event = json.loads((folder / "audit.jsonl").read_text().splitlines()[0])
    event["mcp"]["name"] = "list\u001b[2J\u202eevil"
    (folder / "audit.jsonl").write_text(json.dumps(event) + "\n")
    result = run("replay", "narrow.toml", "audit.jsonl")
    assert "evil" in result.stdout
    assert "\u001b" not in result.stdout
    assert "\u202e" not in result.stdout


def test_a_journal_that_is_not_there_is_one_line(folder: Path) -> None:
    result = run("replay", "old.toml", "audit.jsonl", "absent.jsonl")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == "error: absent.jsonl: cannot be read: No such file or directory\n"
