"""The server's events in the form of the audit journal."""

from __future__ import annotations

import json

import pytest

from mcpauth.audit import audit_event
from mcpauth.events import ConsentGiven, Event, GrantRevoked, SignInFailed, TokenIssued
from mcpauth_middleware.audit import event as middleware_event

TOKEN = TokenIssued("c", "u", "g", "https://notes.example", ("notes:read",), "t", refresh_token=True)


def test_an_event_has_the_envelope_of_the_middlewares_journal() -> None:
    assert audit_event(TOKEN) == {
        "v": middleware_event.VERSION,
        "type": "token_issued",
        "phase": "outcome",
        "outcome": "ok",
        "actor": {"sub": "u", "client_id": "c"},
        "details": {
            "grant_id": "g",
            "resource": "https://notes.example",
            "scopes": ("notes:read",),
            "token_id": "t",
            "refresh_token": True,
        },
    }
    json.dumps(audit_event(TOKEN))


def test_what_is_not_known_is_not_there() -> None:
    assert audit_event(SignInFailed("ada", "wrong password"))["actor"] == {}
    assert audit_event(GrantRevoked("g", "c", None, "client"))["actor"] == {"client_id": "c"}
    assert audit_event(ConsentGiven("u", "c", {"r": ("s",)}, "g"))["actor"] == {"sub": "u", "client_id": "c"}


# A dataclass with slots is a second class of the same name.
KINDS = {kind.__name__: kind for kind in Event.__subclasses__()}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_what_somebody_asked_in_vain_is_a_refusal(name: str) -> None:
    """The name tells; the journal must not tell otherwise."""
    if name.endswith(("Failed", "Denied", "Refused", "Reused")):
        assert KINDS[name].refused
    if name.endswith(("Issued", "Given", "Registered", "Refreshed", "Exchanged")):
        assert not KINDS[name].refused
