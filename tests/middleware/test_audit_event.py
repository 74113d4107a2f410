"""Audit events: what is in them, and what never is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest

from mcpauth_middleware.audit.description import Description
from mcpauth_middleware.audit.event import intent, outcome, refusal
from mcpauth_middleware.message import read_message
from mcpauth_middleware.policy import Decision
from tests.middleware.gate_helpers import (
    META_CLIENT,
    MODERN,
    body,
    call,
    headers,
    modern_params,
    principal,
    read,
)

ALLOWED = Decision("allow", "readers", "allowed", ("files:read",))
KEY = b"k" * 32


def test_an_intent_says_who_is_about_to_do_what_and_why_it_may() -> None:
    """The whole event, as a golden copy."""
    describe = Description(key=KEY)
    event = intent(
        call("search", {"q": "x"}),
        principal("files:write", "files:read"),
        ALLOWED,
        "10.0.0.1",
        describe=describe,
    ).members()
    call_id = event.pop("call")
    fingerprint = event["args"].pop("hmac")
    assert event == {
        "v": 1,
        "type": "call",
        "phase": "intent",
        "actor": {
            "iss": "https://as",
            "sub": "alice",
            "client_id": "client",
            "scopes": ["files:read", "files:write"],
        },
        "mcp": {
            "method": "tools/call",
            "protocol": "2025-11-25",
            "name": "search",
            "kind": "tool",
            "request_id": 1,
        },
        "source": {"ip": "10.0.0.1"},
        "decision": {"effect": "allow", "rule": "readers", "reason": "allowed", "scopes": ["files:read"]},
        "args": {"bytes": 9},
    }
    assert len(call_id) == 32
    assert len(fingerprint) == 64


def test_an_outcome_belongs_to_its_intent() -> None:
    """The same `call`, and enough to be read alone."""
    begun = intent(call("search"), principal(), ALLOWED, None)
    event = outcome(begun, "ok", status=200, duration_ms=1.23456)
    assert event == {
        "v": 1,
        "type": "call",
        "phase": "outcome",
        "call": begun["call"],
        "outcome": "ok",
        "actor": {"iss": "https://as", "sub": "alice", "client_id": "client"},
        "mcp": begun["mcp"],
        "http": {"status": 200},
        "duration_ms": 1.235,
    }
    assert outcome(begun, "aborted", reason="disconnected")["reason"] == "disconnected"


def test_a_refusal_is_its_own_only_event_with_what_was_known_by_then() -> None:
    """No token: nobody. A malformed message: no method. A denied call: everything."""
    early = refusal("no_token", status=401, source="10.0.0.1")
    assert (early["type"], early["phase"], early["outcome"], early["reason"]) == (
        "request",
        "outcome",
        "refused",
        "no_token",
    )
    assert not {"actor", "mcp", "decision", "limit", "args"} & early.keys()
    late = refusal(
        "rate_limited",
        status=429,
        source=None,
        principal=principal(),
        message=call("search"),
        decision=ALLOWED,
        limit="1/second per user",
        duration_ms=0.1,
    )
    assert late["actor"]["sub"] == "alice"
    assert late["mcp"]["name"] == "search"
    assert late["limit"] == "1/second per user"
    assert late["http"] == {"status": 429}
    assert early["call"] != late["call"]


def test_the_same_call_sent_twice_is_two_calls() -> None:
    """Clients exist that send every message twice: the journal tells the truth about it."""
    message = call("search", {"q": "x"})
    first, second = (intent(message, principal(), ALLOWED, None) for _ in range(2))
    assert first["call"] != second["call"]
    assert first["args"] == second["args"]


def test_arguments_are_never_in_an_event() -> None:
    """Only an HMAC that tells equal ones apart from others, under a key of the process."""
    canary = "canary-77ab"
    message = call("search", {"q": canary, canary: [canary]})
    event = intent(message, principal(), ALLOWED, None)
    assert canary not in event.text
    assert canary not in outcome(event, "ok").text
    assert canary not in refusal("denied", status=403, source=None, message=message).text
    same = intent(call("search", {canary: [canary], "q": canary}), principal(), ALLOWED, None)
    other = intent(call("search", {"q": canary}), principal(), ALLOWED, None)
    elsewhere = intent(message, principal(), ALLOWED, None, describe=Description(key=KEY))
    assert event["args"] == same["args"]
    assert event["args"]["hmac"] not in (other["args"]["hmac"], elsewhere["args"]["hmac"])


def test_a_resource_is_named_without_what_may_be_secret_in_it() -> None:
    """Passwords stand before the host, tokens in the query."""
    uri = "db://user:hunter2@host/table?token=hunter2#hunter2"
    event = intent(read("resources/read", {"uri": uri}), principal(), ALLOWED, None)
    assert event["mcp"]["name"] == "db://host/table"
    assert event["mcp"]["shortened"] is True
    assert "hunter2" not in event.text


def test_many_targets_are_counted_and_a_few_named() -> None:
    """A line of the journal stays a line."""
    uris = [f"file:///{number}" for number in range(900)]
    message = read("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}}, version=MODERN)
    mcp = intent(message, principal(), ALLOWED, None)["mcp"]
    assert mcp["names"] == uris[:5]
    assert mcp["targets"] == 900


def test_the_client_s_own_name_is_told_where_the_message_has_it() -> None:
    """Unproven, and kept apart from `actor`."""
    params = modern_params({"name": "search"})
    params["_meta"][META_CLIENT] = {"name": "claude", "version": "1"}
    found = headers(MODERN, mcp_method="tools/call", mcp_name="search")
    event = intent(read_message(body("tools/call", params), found), principal(), ALLOWED, None)
    assert event["client"] == {"name": "claude", "version": "1"}
    assert outcome(event, "ok")["client"] == event["client"]
    params["_meta"][META_CLIENT] = {"version": "1"}
    event = intent(read_message(body("tools/call", params), found), principal(), ALLOWED, None)
    assert event["client"] == {"name": None, "version": "1"}


@pytest.mark.parametrize(
    ("method", "params", "kind"),
    [
        ("initialize", {}, "session.start"),
        ("tools/call", {"name": "t"}, "call"),
        ("tools/list", {}, "list"),
        ("prompts/get", {"name": "p"}, "prompt"),
        ("resources/read", {"uri": "file:///a"}, "read"),
        ("resources/subscribe", {"uri": "file:///a"}, "subscribe"),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}}, "complete"),
        ("tasks/get", {}, "task"),
        ("ping", {}, "ping"),
        ("unheard/of", {}, "unknown_method"),
    ],
)
def test_each_kind_of_call_has_its_type(method: str, params: dict[str, Any], kind: str) -> None:
    """So that a reader of the journal can filter without knowing the protocol."""
    assert intent(read(method, params), principal(), ALLOWED, None)["type"] == kind


def test_notifications_and_answers_have_their_types_too() -> None:
    """They run in the application like anything else."""
    note = read("notifications/cancelled", {"requestId": 1}, id=...)
    answer = read_message(b'{"jsonrpc":"2.0","id":"s1","result":{}}', headers())
    assert intent(note, principal(), ALLOWED, None)["type"] == "notification"
    event = intent(answer, principal(), ALLOWED, None)
    assert (event["type"], event["mcp"]["request_id"]) == ("response", "s1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_processes_that_forked_tell_no_two_calls_by_one_name() -> None:
    """The names are drawn many at a time: what the parent has left is not the child's."""
    forked = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=30, check=True
    )
    calls = re.findall(r'"call":"([0-9a-f]{32})"', forked.stdout)
    assert len(calls) == len(set(calls)) == 3


FORKED = """
import os
from mcpauth_middleware.audit.event import refusal

def tell():
    print(refusal("host", status=421, source=None).text, flush=True)

tell()
child = os.fork()
tell()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""
