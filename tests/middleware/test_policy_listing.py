"""What is listed: the same decision, before there are any arguments."""

from __future__ import annotations

import pytest

from mcpauth_middleware.policy import ClientMatch, Context, ToolFacts
from tests.middleware.gate_helpers import read
from tests.middleware.policy_helpers import NOW, allow, deny, policy, someone


@pytest.mark.parametrize(
    ("when", "listed"),
    [
        ("args.x == 1", True),
        ("has(args.x)", True),
        ('principal.sub == "alice" and args.x == 1', True),
        ('principal.sub == "bob" and args.x == 1', False),
        ('principal.sub == "bob"', False),
        ('args.x == 1 and principal.sub == "bob"', True),
        ('principal.sub == "alice" or args.x == 1', True),
        ('principal.claims.zz == "x"', False),
    ],
)
def test_an_allow_that_comes_to_reading_arguments_counts_as_held(when: str, listed: bool) -> None:
    """What could be allowed is shown; what is surely not is not. Conditions are read from left to right."""
    assert policy(allow(when=when)).sees("tool", "t", someone()) is listed


@pytest.mark.parametrize(
    ("when", "listed"),
    [
        ("args.x == 1", True),
        ('principal.sub == "alice" and args.x == 1', True),
        ('principal.sub == "alice"', False),
        ('principal.sub == "alice" or args.x == 1', False),
        ('principal.claims.zz == "x"', False),
    ],
)
def test_a_deny_that_comes_to_reading_arguments_hides_nothing(when: str, listed: bool) -> None:
    """A deny that holds for every call hides; so does one that cannot be evaluated for another reason."""
    assert policy(allow(), deny(when=when)).sees("tool", "t", someone()) is listed


def test_the_other_conditions_count_as_in_a_call() -> None:
    """Groups, address, time, tags: what they say does not depend on the arguments."""
    inside, outside = Context(address="10.0.0.1", now=NOW), Context(address="9.9.9.9", now=NOW)
    rules = policy(allow(ip=("10.0.0.0/8",), when="args.x == 1"))
    assert rules.sees("tool", "t", someone(), inside)
    assert not rules.sees("tool", "t", someone(), outside)
    assert not rules.sees("tool", "t", someone())
    rules = policy(allow(), deny(tags=("private",)))
    public = Context(tool=lambda _: ToolFacts(frozenset()))
    private = Context(tool=lambda _: ToolFacts(frozenset({"private"})))
    assert rules.sees("tool", "t", someone(), public)
    assert not rules.sees("tool", "t", someone(), private)
    assert not rules.sees("tool", "t", someone())


def test_the_message_that_asked_for_the_list_tells_protocol_and_client() -> None:
    """And the method is the one by which the entry would be used."""
    listing = read("tools/list", {}, version="2025-11-25")
    rules = policy(allow(protocol=("2025-11-25",), when='method == "tools/call"'))
    assert rules.sees("tool", "t", someone(), message=listing)
    assert not rules.sees("tool", "t", someone())
    rules = policy(allow(client=ClientMatch(name=("x",))))
    assert not rules.sees("tool", "t", someone(), message=listing)


def test_what_needs_more_scopes_is_not_listed() -> None:
    """Also where its condition could hold."""
    rules = policy(allow("a", "s", when="args.x == 1"))
    assert not rules.sees("tool", "t", someone())
    assert rules.sees("tool", "t", someone("s"))


def test_shadow_rules_hide_nothing() -> None:
    """They change no decision."""
    assert policy(allow(), deny(mode="shadow")).sees("tool", "t", someone())
    assert not policy(allow(mode="shadow")).sees("tool", "t", someone())
