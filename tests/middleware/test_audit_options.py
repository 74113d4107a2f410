"""What a journal keeps of arguments and claims: what was named, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcpauth_middleware import AuditOptions, Policy
from mcpauth_middleware.audit.description import Description
from mcpauth_middleware.audit.event import intent, outcome, refusal, stream_intent
from mcpauth_middleware.policy import Decision, ToolFacts
from mcpauth_middleware.principal import Principal
from tests.middleware.edge_helpers import (
    MODERN,
    Clock,
    Journal,
    RecordingApp,
    bearer,
    client_of,
    post,
    protect,
)
from tests.middleware.gate_helpers import call, principal, read

ALLOWED = Decision("allow", "readers", "allowed", ("files:read",))
GROUPS = 'version = 1\n[[rules]]\nid = "a"\nallow = { tools = ["*"] }\ngroups = ["staff"]'
PLAIN = 'version = 1\n[[rules]]\nid = "a"\nallow = { tools = ["*"] }'


def described(
    arguments: dict[str, Any], options: AuditOptions | None = None, tool: str = "files_read"
) -> dict[str, Any]:
    event = intent(call(tool, arguments), principal(), ALLOWED, None, describe=Description(options))
    found: dict[str, Any] = event["args"]
    return found


def test_named_arguments_are_kept_and_others_are_not() -> None:
    """A dot leads into an object; what is not there is told as well, since a rule may ask for it."""
    options = AuditOptions(keep={"files_*": ["path", "options.mode", "gone"], "other": ["secret"]})
    args = described({"path": "/a", "options": {"mode": "r", "key": "k"}, "secret": "s"}, options)
    assert args["kept"] == {"path": "/a", "options.mode": "r"}
    assert args["absent"] == ["gone"]
    assert "secret" not in json.dumps(args)


def test_null_is_a_value_and_not_an_absence() -> None:
    """JSON knows both."""
    args = described({"path": None}, AuditOptions(keep={"*": ["path"]}))
    assert args["kept"] == {"path": None}
    assert "absent" not in args


def test_a_long_value_is_not_kept_and_not_absent_either() -> None:
    """A journal is no place for contents."""
    args = described({"path": "x" * 2000}, AuditOptions(keep={"*": ["path"]}))
    assert "kept" not in args
    assert "absent" not in args


def test_prompts_have_no_arguments_to_keep() -> None:
    """The options speak of tools."""
    options = AuditOptions(keep={"*": ["path"]})
    message = read("prompts/get", {"name": "files_read", "arguments": {"path": "/a"}})
    event = intent(message, principal(), ALLOWED, None, describe=Description(options))
    assert event["args"].keys() == {"hmac", "bytes"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"keep": {"files_*": "path"}}, r"keep\['files_\*'\]: must be a list of names"),
        ({"keep": {"files_*": [""]}}, "must be a list of names"),
        ({"keep": {"a b\n": ["path"]}}, "keep: "),
        ({"claims": "sub"}, "claims: must be a list of names"),
        ({"claims": [1]}, "claims: must be a list of names"),
    ],
)
def test_wrong_options_are_told_with_the_mend(options: dict[str, Any], text: str) -> None:
    """When the server starts."""
    with pytest.raises(ValueError, match=text):
        AuditOptions(**options)


def with_claims(**claims: Any) -> Principal:
    return Principal(
        "https://as", "alice", "client", frozenset(), "https://rs/mcp", 4_000_000_000, None, claims
    )


@pytest.mark.parametrize(
    ("policy", "claims", "expected"),
    [
        (GROUPS, {"groups": ["staff"], "tenant": "a"}, {"groups": ["staff"], "tenant": "a"}),
        (GROUPS, {}, {"groups": None, "tenant": None}),
        (GROUPS, {"groups": "staff"}, {"tenant": None}),
        (PLAIN, {"groups": ["staff"], "tenant": "a"}, {}),
        (
            PLAIN + '\nwhen = "principal.tenant == args.tenant"',
            {"tenant": "a"},
            {"groups": None, "tenant": "a"},
        ),
        (
            'version = 1\n[claims]\ngroups = ["realm", "roles"]\n',
            {"realm": {"roles": ["x"]}},
            {"groups": ["x"], "tenant": None},
        ),
    ],
)
def test_groups_and_tenant_are_told_where_the_policy_goes_by_them(
    policy: str, claims: dict[str, Any], expected: dict[str, Any]
) -> None:
    """From the claims that it names; what the token says oddly is left out."""
    describe = Description(policy=Policy.from_toml(policy))
    actor = json.loads(describe.actor(with_claims(**claims)))
    assert {name: value for name, value in actor.items() if name in ("groups", "tenant")} == expected


def test_rules_that_are_added_later_are_asked_again() -> None:
    """Decorators add them while the server is being built."""
    policy = Policy.from_toml(PLAIN)
    describe = Description(policy=policy)
    who = with_claims(groups=["staff"])
    assert "groups" not in json.loads(describe.actor(who))
    for rule in Policy.from_toml(GROUPS.replace('"a"', '"b"', 1)).rules:
        policy.add(rule)
    assert json.loads(describe.actor(who))["groups"] == ["staff"]


def test_named_claims_are_told_and_others_are_not() -> None:
    """They belong to people."""
    describe = Description(AuditOptions(claims=["department"]))
    actor = json.loads(describe.actor(with_claims(department="it", email="a@example.com")))
    assert actor["claims"] == {"department": "it"}
    assert "email" not in json.dumps(actor)
    assert "claims" not in json.loads(describe.actor(with_claims(email="a@example.com")))


def test_scopes_are_told_in_their_order_whatever_holds_them() -> None:
    """A verifier of somebody's own may give a set that cannot be remembered."""
    mutable: Any = {"b", "a"}
    who = Principal("https://as", "alice", None, mutable, "https://rs/mcp", 4_000_000_000)
    assert json.loads(Description().actor(who)) == {
        "iss": "https://as",
        "sub": "alice",
        "client_id": None,
        "scopes": ["a", "b"],
    }


def test_a_decision_is_told_with_its_errors_its_shadow_and_its_policy() -> None:
    """What a replay compares with."""
    decision = Decision(
        "allow", "a", "allowed", errors=("b",), shadow=Decision("deny", "c", "denied"), bundle="f" * 64
    )
    told = intent(call("t"), principal(), decision, None)["decision"]
    assert told == {
        "effect": "allow",
        "rule": "a",
        "reason": "allowed",
        "scopes": [],
        "errors": ["b"],
        "shadow": {"effect": "deny", "rule": "c", "reason": "denied", "scopes": []},
        "bundle": "f" * 64,
    }


def test_what_the_server_says_of_the_tool_is_told_as_far_as_it_is_known() -> None:
    """Rules may go by it."""
    facts = ToolFacts(frozenset({"b", "a"}), {"readOnlyHint": True})
    event = intent(call("t"), principal(), ALLOWED, None, tool=facts)
    assert event["tool"] == {"tags": ["a", "b"], "annotations": {"readOnlyHint": True}}
    assert intent(call("t"), principal(), ALLOWED, None, tool=ToolFacts())["tool"] == {}
    assert "tool" not in intent(call("t"), principal(), ALLOWED, None)


def test_a_session_is_told_by_a_name_that_does_not_give_it_away() -> None:
    """Who knows the id could speak in the session."""
    event = stream_intent("stream", principal(), "2025-11-25", None, session="secret-session")
    again = stream_intent("session.end", principal(), "2025-11-25", None, session="secret-session")
    assert "secret-session" not in event.text
    assert event["session"] == again["session"]
    assert outcome(event, "ok")["session"] == event["session"]


def test_a_refused_call_tells_its_arguments_as_one_that_ran() -> None:
    """A later policy might allow it."""
    describe = Description(AuditOptions(keep={"*": ["path"]}))
    event = refusal("denied", status=200, source=None, message=call("t", {"path": "/a"}), describe=describe)
    assert event["args"]["kept"] == {"path": "/a"}


@pytest.mark.anyio
async def test_the_options_reach_the_journal_through_the_middleware() -> None:
    """One call that runs, one that does not."""
    journal = Journal()
    policy = Policy.from_toml(PLAIN + '\nscopes = ["files:read"]')
    guarded = protect(
        RecordingApp(),
        audit=journal,
        policy=policy,
        audit_options=AuditOptions(keep={"*": ["path"]}, claims=["department"]),
        now=Clock(),
    )
    params = {"name": "read", "arguments": {"path": "/a", "content": "never"}}
    for scope in ("files:read", "other"):
        await post(client_of(guarded), "tools/call", params, headers=bearer(scope=scope, department="it"))

    begun, ended, refused = journal.events
    for event in (begun, refused):
        assert event["args"]["kept"] == {"path": "/a"}
        assert event["actor"]["claims"] == {"department": "it"}
        assert event["decision"]["bundle"] == policy.bundle
        assert event["mcp"]["protocol"] == MODERN
    assert refused["actor"]["scopes"] == ["other"]
    assert ended["call"] == begun["call"]
    assert "never" not in json.dumps(journal.events)


@pytest.mark.anyio
async def test_a_stream_does_not_open_when_it_cannot_be_recorded() -> None:
    """503, as for a call."""
    app = RecordingApp()
    response = await client_of(protect(app, audit=Journal(broken=True))).get("/mcp", headers=bearer())
    assert response.status_code == 503
    assert not app.scopes


@pytest.mark.anyio
async def test_how_long_a_stream_was_open_is_on_record() -> None:
    """In its outcome, with the session it belonged to."""
    clock, journal = Clock(), Journal()

    class Slow(RecordingApp):
        async def __call__(self, *args: Any) -> None:
            clock.time += 2.5
            await super().__call__(*args)

    headers = {**bearer(), "Mcp-Session-Id": "abc"}
    await client_of(protect(Slow(), audit=journal, now=clock)).get("/mcp", headers=headers)
    assert [event["type"] for event in journal.events] == ["stream"] * 2
    assert journal.events[1]["duration_ms"] == 2500
