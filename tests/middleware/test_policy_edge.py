"""The policy behind the middleware: what a client gets, what the tool never sees, what the journal says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcpauth_middleware import Policy, ReloadingPolicy
from tests.middleware.edge_helpers import Clock, Journal, RecordingApp, bearer, client_of, post, protect
from tests.middleware.gate_helpers import read
from tests.middleware.policy_helpers import someone

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio

POLICY = """
version = 1
[[rules]]
id = "files"
allow = { tools = ["files.*"] }
scopes = ["files:read"]
[[rules]]
id = "not there"
deny = { tools = ["files.*"] }
when = 'path_under(args.path, "/etc")'
[[rules]]
id = "tried"
deny = { tools = ["*"] }
ip = ["192.0.2.0/24"]
mode = "shadow"
"""


def decision_of(journal: Journal) -> dict[str, Any]:
    """What the journal says of the last call that was decided."""
    found: dict[str, Any] = [event["decision"] for event in journal.events if "decision" in event][-1]
    return found


@pytest.mark.parametrize(
    "path", ["/etc/passwd", ["/etc/passwd"], {"x": "/etc/passwd"}, None, 7, "/srv/../etc/passwd"]
)
async def test_an_argument_of_any_type_keeps_the_tool_from_running(path: object) -> None:
    """A deny rule that cannot be evaluated denies; the answer is that of a tool that does not exist."""
    app, journal = RecordingApp(), Journal()
    protected = protect(app, policy=Policy.from_toml(POLICY), audit=journal)
    async with client_of(protected) as client:
        call = {"name": "files.read", "arguments": {"path": path}}
        response = await post(client, "tools/call", call)
        assert response.json()["result"]["content"][0]["text"] == "Unknown tool: files.read"
        assert app.bodies == []
        assert decision_of(journal)["reason"] in ("denied", "deny_error")
        assert decision_of(journal)["rule"] == "not there"
        await post(client, "tools/call", {"name": "files.read", "arguments": {"path": "/srv/a"}})
        assert len(app.bodies) == 1


async def test_the_journal_tells_the_policy_and_what_shadow_rules_would_have_decided() -> None:
    """The call runs; the event of it says that it would not."""
    app, journal, policy = RecordingApp(), Journal(), Policy.from_toml(POLICY)
    async with client_of(protect(app, policy=policy, audit=journal)) as client:
        await post(client, "tools/call", {"name": "files.read", "arguments": {"path": "/srv/a"}})
    assert len(app.bodies) == 1
    decision = decision_of(journal)
    assert (decision["effect"], decision["rule"], decision["bundle"]) == ("allow", "files", policy.bundle)
    assert (decision["shadow"]["effect"], decision["shadow"]["rule"]) == ("deny", "tried")


async def test_a_missing_scope_is_not_told_of_a_call_that_its_arguments_forbid() -> None:
    """403 with a challenge leads a client to ask for a scope that would not help."""
    app = RecordingApp()
    async with client_of(protect(app, policy=Policy.from_toml(POLICY))) as client:
        good = {"name": "files.read", "arguments": {"path": "/srv/a"}}
        challenged = await post(client, "tools/call", good, headers=bearer(scope=""))
        assert challenged.status_code == 403
        assert "files:read" in challenged.headers["WWW-Authenticate"]
        bad = {"name": "files.read", "arguments": {"path": "/etc/a"}}
        hidden = await post(client, "tools/call", bad, headers=bearer(scope=""))
        assert (hidden.status_code, hidden.headers.get("WWW-Authenticate")) == (200, None)
    assert app.bodies == []


def at_once(check: Callable[[], None]) -> None:
    check()


async def test_a_reload_is_recorded_and_decides_the_next_call(tmp_path: Path) -> None:
    """`policy.reload` and `policy.reload_failed` are in the journal of calls."""
    file, clock, journal, app = tmp_path / "policy.toml", Clock(), Journal(), RecordingApp()
    file.write_text(POLICY)
    policy = ReloadingPolicy(file, interval=1, monotonic=clock, start=at_once)
    call = {"name": "files.read", "arguments": {"path": "/srv/a"}}

    def replace(text: str) -> None:
        new = tmp_path / "new.toml"
        new.write_text(text)
        new.replace(file)
        clock.time += 2
        policy.decide(read("ping"), someone())  # which sees it; the next one sees it unchanged
        clock.time += 2

    async with client_of(protect(app, policy=policy, audit=journal, now=clock)) as client:
        await post(client, "tools/call", call)
        before = policy.bundle
        replace("version = 2")
        await post(client, "tools/call", call)
        replace(POLICY.replace("/etc", "/srv"))
        await post(client, "tools/call", call)
    assert len(app.bodies) == 2
    failed, reloaded = [event for event in journal.events if event["type"].startswith("policy.")]
    assert (failed["type"], failed["policy"]["bundle"]) == ("policy.reload_failed", before)
    assert failed["reason"] == "policy.toml: version: 2 is not known; write version = 1"
    assert (reloaded["type"], reloaded["policy"]["previous"]) == ("policy.reload", before)
    assert decision_of(journal)["bundle"] == reloaded["policy"]["bundle"] == policy.bundle
