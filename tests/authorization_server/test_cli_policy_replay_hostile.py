"""`mcpauth policy replay` over journals that somebody, or a disk, has changed."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpauth.commands import mcpauth
from mcpauth_middleware import AuditJournal, AuditOptions, Policy
from tests.middleware.edge_helpers import MODERN, Clock, RecordingApp, bearer, client_of, post, protect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLICY = """
version = 1
[claims]
groups = ["realm_access", "roles"]
[[rules]]
id = "readers"
allow = { tools = ["read"], prompts = ["*"], resources = ["file:///srv/**"], methods = ["unheard/of"] }
scopes = ["files:read"]
time = { hours = "08:00-19:00" }
when = 'not has(args.mode) or args.mode == "r"'
[[rules]]
id = "staff"
allow = { tools = ["*"] }
groups = ["staff"]
claims = { department = "hr", level = [1, 2] }
[[rules]]
id = "not so"
deny = { tools = ["*"] }
client = { name = ["evil"], version = ["*"] }
annotations = { destructiveHint = true }
when = '"force" in args and env.weekday == "mon" or cidr(env.ip, "10.0.0.0/8") or args.options.deep == 1'
"""
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("tools/call", {"name": "read", "arguments": {"path": "/srv/a", "mode": "r", "options": {"deep": 1}}}),
    ("tools/call", {"name": "write", "arguments": {"path": "/srv/a", "force": True}}),
    ("tools/call", {"name": "read"}),
    ("prompts/get", {"name": "greet", "arguments": {"mode": "w"}}),
    ("resources/read", {"uri": "file:///srv/%41"}),
    ("resources/read", {"uri": "file:///srv/a?x=1"}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {}}),
    ("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["file:///srv/a", "file:///b"]}}),
    ("tools/list", {}),
    ("unheard/of", {}),
]
PEOPLE: list[dict[str, Any]] = [
    {"scope": "files:read"},
    {"scope": "x", "realm_access": {"roles": ["staff"]}, "department": "hr", "level": [1, 2]},
]
WORDS = ("tools/call", "resources/read", "subscriptions/listen", "allow", "intent", "prompt", "name", "kept")

Path_ = tuple[str | int, ...]
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(WORDS),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    (folder / "old.toml").write_text(POLICY)
    (folder / "new.toml").write_text(POLICY.replace('["read"]', '["write"]').replace("files:read", "x"))
    anyio.run(write_journal, folder / "audit.jsonl")
    return folder


async def write_journal(path: Path) -> None:
    """What the middleware writes of every call by everybody, and of one by nobody."""
    journal = AuditJournal(path, now=Clock())
    options = AuditOptions(
        keep={"*": ["path", "mode", "force", "options.deep"]}, claims=["department", "level"]
    )
    policy = Policy.from_toml(POLICY)
    client = client_of(protect(RecordingApp(), policy=policy, audit=journal, audit_options=options))
    for who in PEOPLE:
        for method, params in CALLS:
            await post(client, method, params, headers=bearer(**who), revision=MODERN)
    await post(
        client, "initialize", {"clientInfo": {"version": "1"}}, headers=bearer(), revision="2025-11-25"
    )
    await post(client, "tools/list", {}, headers={})
    await journal.aclose()


def replayed(folder: Path, journal: bytes) -> tuple[dict[str, Any], int]:
    """What the command tells programs, and how it ends; for people it must say no less."""
    arguments = ["policy", "replay", str(folder / "new.toml"), "-", "--allow-widening"]
    result = CliRunner().invoke(mcpauth, [*arguments, "--json"], input=journal, catch_exceptions=False)
    found: dict[str, Any] = json.loads(result.stdout)
    printed = CliRunner().invoke(mcpauth, arguments, input=journal, catch_exceptions=False)
    assert printed.exit_code == result.exit_code
    assert f"{found['calls']} calls: {found['same']} as before" in printed.stdout
    assert ("not in this report" in printed.stderr) is (found["unreadable"] > 0)
    return found, result.exit_code


def assert_every_line_is_accounted_for(journal: bytes, found: dict[str, Any]) -> None:
    assert found["lines"] == sum(bool(line.strip()) for line in journal.split(b"\n"))
    assert found["lines"] == found["calls"] + found["undecided"] + found["unreadable"]
    listed = sum(len(found[name]) for name in ("wider", "narrower", "unknown", "incomplete"))
    assert found["calls"] == found["same"] + listed
    assert len(found["problems"]) == min(found["unreadable"], 20)


def places(value: Any, here: Path_ = ()) -> Iterator[Path_]:  # noqa: ANN401 (JSON)
    """The way to every member and every item."""
    if isinstance(value, str | int | float | None):
        return
    names: list[str | int] = [*value] if type(value) is dict else [*range(len(value))]
    for name in names:
        yield (*here, name)
        yield from places(value[name], (*here, name))


def changed(event: dict[str, Any], place: Path_, value: object, *, how: str) -> dict[str, Any]:
    """The event with another value in one place, or without it, or with it under another name."""
    event = copy.deepcopy(event)
    inside: Any = event
    for step in place[:-1]:
        inside = inside[step]
    if how == "replace":
        inside[place[-1]] = value
        return event
    was = inside.pop(place[-1])
    if how == "rename" and isinstance(inside, dict):
        inside[str(value)] = was
    return event


def test_the_journal_as_it_is(folder: Path) -> None:
    """All that the middleware writes can be read, and all kinds of calls are in it."""
    journal = (folder / "audit.jsonl").read_bytes()
    found, code = replayed(folder, journal)
    assert_every_line_is_accounted_for(journal, found)
    assert (found["unreadable"], code) == (0, 0)
    assert found["calls"] == len(PEOPLE) * len(CALLS) + 1
    assert min(len(found[name]) for name in ("wider", "narrower", "unknown", "incomplete")) > 0


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_a_member_is_every_line_is_accounted_for(folder: Path, data: st.DataObject) -> None:
    """Any member of any event, of any type, gone or renamed: told, and never a traceback."""
    lines = (folder / "audit.jsonl").read_bytes().splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    event = json.loads(lines[at])
    place = data.draw(st.sampled_from(list(places(event))))
    how = data.draw(st.sampled_from(("replace", "replace", "drop", "rename")))
    lines[at] = json.dumps(changed(event, place, data.draw(anything), how=how)).encode()
    journal = b"\n".join(lines)
    found, code = replayed(folder, journal)
    assert_every_line_is_accounted_for(journal, found)
    assert code == (1 if found["unreadable"] else 0)
    assert found["unreadable"] <= 1


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_the_bytes_are_every_line_is_accounted_for(folder: Path, data: st.DataObject) -> None:
    """A disk that wrote something else, an editor, a crash."""
    journal = (folder / "audit.jsonl").read_bytes()
    begin = data.draw(st.integers(0, len(journal)))
    end = data.draw(st.integers(begin, min(begin + 200, len(journal))))
    between = data.draw(
        st.binary(max_size=40)
        | st.sampled_from([b"\x00" * 512, b"\r\n", b"[" * 9000, b"1e999", b"NaN", b"-0"])
    )
    journal = journal[:begin] + between + journal[end:]
    found, code = replayed(folder, journal)
    assert_every_line_is_accounted_for(journal, found)
    assert code == (1 if found["unreadable"] else 0)
