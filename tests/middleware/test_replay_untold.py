"""What a journal does not hold is never taken for what was not there, nor for an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcpauth_middleware import AuditOptions, Policy
from mcpauth_middleware.audit.description import Description
from mcpauth_middleware.audit.event import intent
from mcpauth_middleware.policy import ClientMatch, Context
from mcpauth_middleware.replay import replay
from tests.middleware.gate_helpers import MODERN, call
from tests.middleware.gate_helpers import read as ask
from tests.middleware.policy_helpers import allow, deny, policy, someone
from tests.middleware.replay_helpers import event, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth_middleware.message import Message
    from mcpauth_middleware.principal import Principal
    from mcpauth_middleware.replay.verdict import Verdict

ACTOR: dict[str, Any] = {"iss": "i", "sub": "s", "client_id": "c", "scopes": []}
BOTH = {"department": "hr", "level": 3}


def verdict(new: Policy, told: Mapping[str, Any]) -> Verdict:
    """What is decided about the call of an event."""
    (one,) = replay(new, read([told]))
    return one.new


def bounds(found: Verdict) -> tuple[str, str]:
    return (found.least, found.most)


def live_and_replayed(
    message: Message, who: Principal, new: Policy, options: AuditOptions | None = None
) -> tuple[str, Verdict]:
    """What a policy decides about a call, and what about the event of that call."""
    was = Policy.from_toml("version = 1")
    context = Context(now=1.0)
    told = intent(
        message, who, was.decide(message, who, context), None, describe=Description(options, policy=new)
    )
    return new.decide(message, who, context).effect, verdict(new, {**told, "ts": "1970-01-01T00:00:01Z"})


@pytest.mark.parametrize(
    "odd", [{"department": {"hr": 1}}, {"department": "hr", "level": "3"}, {"level": True}]
)
def test_an_odd_claim_does_not_hide_one_that_was_not_kept(odd: dict[str, Any]) -> None:
    """The other could be one with which the deny rule does not match, so nobody can tell."""
    told = event(actor={**ACTOR, "claims": odd})
    rules = policy(allow(), deny(claims={**BOTH, "country": "fr"}))
    found = verdict(rules, told)
    assert bounds(found) == ("deny", "allow")
    assert "the journal does not hold principal.claims.country" in found.unknown


def test_an_odd_claim_is_enough_to_know_that_nothing_is_allowed() -> None:
    """An allow rule that cannot be evaluated allows as little as one that does not match."""
    told = event(actor={**ACTOR, "claims": {"department": {"hr": 1}}})
    found = verdict(policy(allow(claims=BOTH)), told)
    assert (bounds(found), found.unknown) == (("deny", "deny"), ())


def test_a_claim_that_surely_differs_is_enough_too() -> None:
    """Then the rule does not match, whatever the others are."""
    told = event(actor={**ACTOR, "claims": {"department": "it"}})
    assert bounds(verdict(policy(allow(), deny(claims=BOTH)), told)) == ("allow", "allow")


def test_everything_that_the_journal_would_have_to_hold_is_named() -> None:
    """Not one thing after the other, each with another journal."""
    found = verdict(policy(allow(claims=BOTH, when="args.x == 1")), event(args={"hmac": "0", "bytes": 9}))
    assert found.unknown == (
        "the journal does not hold args.x",
        "the journal does not hold principal.claims.department",
        "the journal does not hold principal.claims.level",
    )


@pytest.mark.parametrize("when", ['"mode" in args', '"mode" in(args)', 'not ("mode" not in args)'])
def test_an_argument_that_was_not_there_is_no_unknown_one(when: str) -> None:
    """The journal tells that it kept nothing because nothing was there, however a condition asks."""
    options = AuditOptions(keep={"*": ["mode"]})
    actual, found = live_and_replayed(
        call("t", {"x": 1}), someone(), policy(allow(), deny(when=when)), options
    )
    assert actual == "allow"
    assert (bounds(found), found.unknown) == (("allow", "allow"), ())


@pytest.mark.parametrize("claim", ["https://acme.example/roles", "a.b", "..."])
def test_the_name_of_a_claim_may_have_dots(claim: str) -> None:
    """As those have that some authorization servers put into a namespace; they lead into nothing."""
    actual, found = live_and_replayed(
        call("t"),
        someone(**{claim: "admin"}),
        policy(allow(claims={claim: "admin"}), deny(when='has(principal.claims["https://acme"])')),
        AuditOptions(claims=[claim]),
    )
    assert actual == "allow"
    assert bounds(found) == ("deny", "allow")
    assert found.unknown == ("the journal does not hold principal.claims.https://acme",)


@pytest.mark.parametrize("way", ["groups", ["realm_access", "roles"], ["https://acme.example/groups"]])
@pytest.mark.parametrize("groups", [None, ["staff"], ["guests"]])
def test_groups_are_told_exactly_wherever_the_token_has_them(
    way: str | list[str], groups: list[str] | None
) -> None:
    """And so is that it has none: of which a rule about groups has no answer, and `has` one."""
    steps = [way] if isinstance(way, str) else way
    claims: Any = {} if groups is None else groups
    for step in reversed(steps if groups is not None else ()):
        claims = {step: claims}
    rules = policy(
        allow("staff", groups=("staff",)),
        allow("none", when="not has(principal.groups)"),
        claims={"groups": way},
    )
    actual, found = live_and_replayed(call("t"), someone(**claims), rules)
    assert bounds(found) == (actual, actual)
    assert actual == ("deny" if groups == ["guests"] else "allow")


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (None, ("deny", "allow")),
        ({"groups": "roles", "tenant": "tid"}, ("allow", "allow")),
        ({"groups": ["realm_access", "roles"], "tenant": "tid"}, ("deny", "allow")),
    ],
)
def test_groups_that_were_in_another_claim_are_not_those_of_a_policy(
    new: dict[str, Any] | None, expected: tuple[str, str]
) -> None:
    """The token may have others where the new policy looks; what is there, the journal does not hold."""
    was = policy(allow("staff", groups=("staff",)), claims={"groups": "roles", "tenant": "tid"})
    who = someone(roles=["staff"], tid="a", groups=["guests"], realm_access={"roles": []})
    decision = was.decide(call("t"), who, Context(now=1.0))
    told = intent(call("t"), who, decision, None, describe=Description(policy=was))
    assert told["actor"]["found_in"] == {"groups": ["roles"], "tenant": ["tid"]}
    found = verdict(
        policy(allow("all", groups=("staff",), when='principal.tenant == "a"'), claims=new),
        {**told, "ts": "1970-01-01T00:00:01Z"},
    )
    assert bounds(found) == expected


def test_a_client_may_tell_its_version_and_no_name() -> None:
    """What it says of itself is in the journal as far as it says it."""
    message = call("t")._replace(client=(None, "1.0"))
    actual, found = live_and_replayed(message, someone(), policy(allow(client=ClientMatch(version=("1.*",)))))
    assert actual == "allow"
    assert bounds(found) == ("allow", "allow")


def test_a_journal_without_times_does_not_tell_when_it_was() -> None:
    """A logger may have written the events."""
    rules = policy(allow(), deny(when="env.time < 7"))
    found = verdict(rules, event(ts=None))
    assert bounds(found) == ("deny", "allow")
    assert found.unknown == ("the journal does not hold when it was",)


def test_the_policy_that_decided_need_not_decide_again() -> None:
    """Whatever the journal does not hold: scopes, a name in full."""
    rules = policy(allow())
    journal = read(
        [
            event(decision={"effect": "deny", "rule": None, "bundle": rules.bundle}, **incomplete)
            for incomplete in (
                {"actor": {"iss": "i", "sub": "s", "client_id": None}},
                {"mcp": {"method": "resources/read", "protocol": "x", "name": "a", "shortened": True}},
            )
        ]
    )
    assert [one.change for one in replay(rules, journal)] == ["same", "same"]
    assert not journal.incomplete


def test_a_subscription_to_tasks_is_not_one_to_nothing() -> None:
    """The journal tells that there was a target, and not that `tasks/get` decides about it."""
    message, was = (
        ask("subscriptions/listen", {"notifications": {"taskIds": ["1"]}}, version=MODERN),
        policy(),
    )
    decision = was.decide(message, someone(), Context(now=1.0))
    assert decision.effect == "deny"

    told = intent(message, someone(), decision, None, describe=Description(None, policy=was))
    journal = read([{**told, "ts": "1970-01-01T00:00:01Z"}])
    assert not list(replay(policy(allow()), journal))
    assert [missing for _, missing in journal.incomplete] == ["every name in full"]


def test_a_subscription_to_nothing_is_about_nothing() -> None:
    """Anybody may send it, and the journal has no name of it."""
    told = event(mcp={"method": "subscriptions/listen", "protocol": "2026-07-28"})
    assert bounds(verdict(policy(), told)) == ("allow", "allow")
