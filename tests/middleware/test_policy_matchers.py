"""What a rule can ask for besides its target: held, not held, and not to be told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from mcpauth_middleware.message import read_message
from mcpauth_middleware.policy import ClientMatch, Context, PolicyError, Rule, TimeWindow, ToolFacts
from mcpauth_middleware.policy.client_host import client_host
from mcpauth_middleware.policy.decide import Outcome, outcome_of
from mcpauth_middleware.policy.errors import Unevaluable
from tests.middleware.gate_helpers import MODERN, body, headers, modern_params
from tests.middleware.policy_helpers import NOW, allow, deny, facts, policy, someone

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth_middleware.policy.facts import Facts

MATCH, NO, ERROR = Outcome.MATCH, Outcome.NO, Outcome.ERROR


def outcome(known: Facts, **conditions: Any) -> Outcome:
    """What an allow and a deny rule with these conditions say: the same."""
    outcomes = {outcome_of(rule, known) for rule in (allow(**conditions), deny(**conditions))}
    assert len(outcomes) == 1
    return outcomes.pop()


@pytest.mark.parametrize(
    ("groups", "expected"),
    [(["ops", "x"], MATCH), (["x"], NO), ([], NO), ("ops", ERROR), (["ops", 1], ERROR), (None, ERROR)],
)
def test_groups(groups: object, expected: Outcome) -> None:
    """One of them; a token with anything but a list of texts tells nothing."""
    assert outcome(facts(who=someone(groups=groups)), groups=("ops", "admins")) is expected


def test_a_token_without_the_claim_does_not_say_that_there_are_no_groups() -> None:
    """Entra leaves `groups` out when there are too many: the deny rule for a group must not lapse."""
    assert outcome(facts(who=someone()), groups=("contractors",)) is ERROR
    assert outcome(facts(who=someone()), tenant=("acme",)) is ERROR


@pytest.mark.parametrize(
    ("tenant", "expected"),
    [("acme", MATCH), ("other", NO), (["acme"], ERROR), (7, ERROR)],
)
def test_tenant(tenant: object, expected: Outcome) -> None:
    """Which claim holds it is declared once."""
    assert outcome(facts(who=someone(tid=tenant), claims={"tenant": "tid"}), tenant=("acme",)) is expected


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"department": "hr", "level": 3}, MATCH),
        ({"department": ["it", "hr"], "level": 2}, MATCH),
        ({"department": "it", "level": 3}, NO),
        ({"department": "hr", "level": 4}, NO),
        ({"department": "hr", "level": "3"}, ERROR),
        ({"department": "hr", "level": True}, ERROR),
        ({"department": {"hr": 1}, "level": 3}, ERROR),
        ({"department": "hr"}, ERROR),
        ({"department": "it"}, NO),
        ({}, ERROR),
    ],
)
def test_claims(claims: dict[str, Any], expected: Outcome) -> None:
    """Each is, or holds, one of the values; of another type or absent it tells nothing."""
    wanted = {"department": "hr", "level": (2, 3)}
    assert outcome(facts(who=someone(**claims)), claims=wanted) is expected


CIMD = "https://app.claude.ai/oauth/client.json"


@pytest.mark.parametrize(
    ("client_id", "expected"),
    [
        (CIMD, MATCH),
        ("https://claude.ai/c", MATCH),
        ("https://claude.ai:443/c", MATCH),
        ("https://claude.ai:8443/c", NO),
        ("https://evilclaude.ai/c", NO),
        ("https://claude.ai.evil.com/c", NO),
        ("https://evil.com/https://claude.ai/", NO),
        ("http://claude.ai/c", NO),
        ("claude.ai", NO),
        ("some-registered-client", NO),
        ("HTTPS://claude.ai/c", ERROR),
        ("https://CLAUDE.ai/c", ERROR),
        ("https://claude.ai./c", ERROR),
        ("https://user@claude.ai/c", ERROR),
        ("https://claude.ai\\@evil.com/c", ERROR),
        ("https://claude.ai", ERROR),
        ("https:///c", ERROR),
        ("https://clаude.ai/c", ERROR),
        ("https://claude.ai/c#x", ERROR),
        (None, ERROR),
    ],
)
def test_the_host_of_a_client_is_that_of_its_https_id(client_id: str | None, expected: Outcome) -> None:
    """A Client ID Metadata Document; no other client has a host, and a crooked URL has none that is sure."""
    who = someone(client_id=client_id)
    assert outcome(facts(who=who), client=ClientMatch(host=("claude.ai", "*.claude.ai"))) is expected


def test_the_host_names_its_port_unless_it_is_that_of_https() -> None:
    """Two services of one host are two."""
    assert client_host("https://a.example:8443/c") == "a.example:8443"
    assert client_host("https://a.example:443/c") == "a.example"
    assert client_host("x") is None


def test_the_client_by_id_name_and_version() -> None:
    """The name and version are what the client says in this message."""
    info = {"name": "inspector", "version": "2.1"}
    meta = {**modern_params()["_meta"], "io.modelcontextprotocol/clientInfo": info}
    message = read_message(
        body("tools/call", {"name": "t", "_meta": meta}),
        headers(MODERN, mcp_method="tools/call", mcp_name="t"),
    )
    found = facts(message=message, who=someone(client_id="c1"))
    assert outcome(found, client=ClientMatch(id=("c*",), name=("insp*",), version=("2.*",))) is MATCH
    assert outcome(found, client=ClientMatch(name=("other",))) is NO
    silent = facts(who=someone(client_id="c1"))
    assert outcome(silent, client=ClientMatch(name=("insp*",))) is ERROR
    # One key that fails settles it, whatever is not known of the other.
    assert outcome(silent, client=ClientMatch(id=("d*",), name=("insp*",))) is NO
    assert outcome(silent, client=ClientMatch(name=("insp*",), id=("d*",))) is NO


def describing(tool: ToolFacts | None) -> Context:
    return Context(tool=lambda name: tool if name == "t" else None)


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (ToolFacts(frozenset({"private", "x"})), MATCH),
        (ToolFacts(frozenset({"x"})), NO),
        (ToolFacts(frozenset()), NO),
        (ToolFacts(), ERROR),
        (None, ERROR),
    ],
)
def test_tags(tool: ToolFacts | None, expected: Outcome) -> None:
    """Of a tool that nobody has described nobody can tell."""
    assert outcome(facts(context=describing(tool)), tags=("private",)) is expected
    assert outcome(facts(), tags=("private",)) is ERROR


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({"destructiveHint": True}, MATCH),
        ({"destructiveHint": False}, NO),
        ({"readOnlyHint": True}, MATCH),
        ({}, MATCH),
        ({"destructiveHint": "true"}, ERROR),
        ({"destructiveHint": 1}, ERROR),
        (None, ERROR),
    ],
)
def test_annotations(annotations: dict[str, Any] | None, expected: Outcome) -> None:
    """What a tool does not say is as MCP says: it may be destructive."""
    context = describing(ToolFacts(frozenset(), annotations))
    assert outcome(facts(context=context), annotations={"destructiveHint": True}) is expected
    if annotations == {}:
        assert outcome(facts(context=context), annotations={"readOnlyHint": False}) is MATCH
        assert outcome(facts(context=context), annotations={"title": "x"}) is ERROR


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.9.9.9", MATCH),
        ("::ffff:10.9.9.9", MATCH),
        ("fd00::1", MATCH),
        ("9.9.9.9", NO),
        ("client", ERROR),
        (None, ERROR),
    ],
)
def test_addresses(address: str | None, expected: Outcome) -> None:
    """A server on a socket has no addresses."""
    assert outcome(facts(context=Context(address=address)), ip=("10.0.0.0/8", "fd00::/8")) is expected


def test_protocol() -> None:
    """Patterns of revisions."""
    assert outcome(facts(), protocol=("2025-*",)) is MATCH
    assert outcome(facts(), protocol=("2026-07-28",)) is NO


def at(moment: str) -> Context:
    return Context(now=datetime.fromisoformat(moment).timestamp())


@pytest.mark.parametrize(
    ("window", "moment", "expected"),
    [
        (TimeWindow("Europe/Paris", "mon-fri", "08:00-19:00"), "2025-11-24T07:00:00+00:00", MATCH),
        (TimeWindow("Europe/Paris", "mon-fri", "08:00-19:00"), "2025-11-24T06:59:59+00:00", NO),
        (TimeWindow("Europe/Paris", "mon-fri", "08:00-19:00"), "2025-11-24T18:00:00+00:00", NO),
        (TimeWindow("Europe/Paris", "mon-fri", "08:00-19:00"), "2025-11-23T10:00:00+00:00", NO),
        # In summer Paris is two hours ahead.
        (TimeWindow("Europe/Paris", "mon-fri", "08:00-19:00"), "2025-07-21T06:00:00+00:00", MATCH),
        # Over midnight: the hours after it belong to the day before.
        (TimeWindow("UTC", "fri", "22:00-06:00"), "2025-11-21T23:00:00+00:00", MATCH),
        (TimeWindow("UTC", "fri", "22:00-06:00"), "2025-11-22T05:59:00+00:00", MATCH),
        (TimeWindow("UTC", "fri", "22:00-06:00"), "2025-11-21T05:59:00+00:00", NO),
        (TimeWindow("UTC", "fri", "22:00-06:00"), "2025-11-22T06:00:00+00:00", NO),
        (TimeWindow("UTC", "sat-mon,wed"), "2025-11-23T12:00:00+00:00", MATCH),
        (TimeWindow("UTC", "sat-mon,wed"), "2025-11-26T12:00:00+00:00", MATCH),
        (TimeWindow("UTC", "sat-mon,wed"), "2025-11-25T12:00:00+00:00", NO),
        (TimeWindow(), "2025-11-25T12:00:00+00:00", MATCH),
    ],
)
def test_time(window: TimeWindow, moment: str, expected: Outcome) -> None:
    """Days and hours in a time zone, with its summer time; the end is not part of it."""
    assert outcome(facts(context=at(moment)), time=window) is expected


def test_without_a_clock_nobody_knows_the_time() -> None:
    """And a moment that no calendar has is none."""
    assert outcome(facts(), time=TimeWindow()) is ERROR
    assert outcome(facts(context=Context(now=1e300)), time=TimeWindow()) is ERROR
    assert ZoneInfo("UTC").utcoffset(datetime.fromtimestamp(NOW, UTC)) is not None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"groups": ("",)}, r"groups\[0\]: must be a printable text"),
    ({"groups": "ops"}, "groups: must be a list of texts"),
    ({"groups": (1,)}, r"groups\[0\]: must be"),
    ({"tags": ("a\nb",)}, r"tags\[0\]: must be"),
    ({"claims": {"a": ()}}, "claims.a: is empty"),
    ({"claims": {"a": None}}, "claims.a: must be a text, a number or a boolean"),
    ({"claims": {"a": float("nan")}}, "claims.a: must be"),
    ({"claims": {"a": ("x", 1)}}, "claims.a: the items of a list"),
    ({"claims": {"a": {"b": 1}}}, "claims.a: must be"),
    ({"claims": ["a"]}, "claims: must be a table"),
    ({"annotations": {"readOnlyHint": ("x",)}}, "annotations.readOnlyHint: must be"),
    ({"client": {"host": ["a"]}}, "client: must be a table"),
    ({"time": "08:00-19:00"}, "time: must be a table"),
    ({"ip": ("10.0.0.1/8",)}, r"ip\[0\]: '10.0.0.1/8' is no network; write 10.0.0.0/8"),
    ({"ip": ("localhost",)}, r"ip\[0\]: 'localhost' is no network; write one such as"),
    ({"protocol": ("2025-[0-9]",)}, r"protocol\[0\]: .* only \* is special"),
    ({"when": 7}, "when: must be a text"),
    ({"when": "args.x is 1"}, "when: column 1: is compares identities"),
    ({"mode": "audit"}, 'mode: must be "enforce", "shadow" or "off"'),
    ({"tags": ("x",), "prompts": ("p",)}, "tags: only tools have them"),
    ({"annotations": {"a": 1}, "resources": ("file:///a",)}, "annotations: only tools have them"),
]


@pytest.mark.parametrize(("members", "message"), WRONG)
def test_a_wrong_condition_is_refused_with_its_key(members: dict[str, Any], message: str) -> None:
    """When the rule is made."""
    with pytest.raises(PolicyError, match=f"^{message}"):
        Rule(id="a", effect="allow", tools=("t",), **members)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClientMatch(), "client: names nothing"),
        (
            lambda: ClientMatch(host=("*acme.com",)),
            r"client.host\[0\]: '\*acme.com': write a host",
        ),
        (lambda: ClientMatch(host=("https://acme.com",)), r"client.host\[0\]"),
        (lambda: ClientMatch(host=("Acme.com",)), r"client.host\[0\]"),
        (lambda: ClientMatch(id=("a?",)), r"client.id\[0\]"),
        (
            lambda: TimeWindow(zone="Mars/Base"),
            "time.zone: 'Mars/Base' is not known; name",
        ),
        (lambda: TimeWindow(zone="../etc/passwd"), "time.zone"),
        (lambda: TimeWindow(zone=""), "time.zone"),
        (lambda: TimeWindow(days="monday"), "time.days: 'monday': write days as"),
        (lambda: TimeWindow(days=""), "time.days"),
        (lambda: TimeWindow(hours="8-19"), "time.hours: '8-19': write hours as"),
        (lambda: TimeWindow(hours="08:00-08:00"), "time.hours"),
        (lambda: TimeWindow(hours="24:00-25:00"), "time.hours"),
        (lambda: TimeWindow(hours="08:60-09:00"), "time.hours"),
    ],
)
def test_clients_and_times_are_checked_too(make: Callable[[], object], message: str) -> None:
    """A host pattern that ends in the middle of a label would let in whoever registers such a name."""
    with pytest.raises(PolicyError, match=f"^{message}"):
        make()


def test_the_members_of_a_rule_cannot_be_changed_behind_its_back() -> None:
    """What was checked is what is decided by."""
    wanted = {"department": "hr"}
    rule = allow(claims=wanted)
    wanted["department"] = "it"
    assert policy(rule).decide(facts().message, someone(department="hr")).effect == "allow"  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        rule.claims["department"] = "it"  # type: ignore[index]


def test_all_conditions_of_a_rule_must_hold() -> None:
    """Together, not one of them."""
    rule = allow(groups=("ops",), ip=("10.0.0.0/8",), when="args.n < 5")
    who, inside = someone(groups=["ops"]), Context(address="10.0.0.1")
    assert outcome_of(rule, facts({"n": 1}, who=who, context=inside)) is MATCH
    assert outcome_of(rule, facts({"n": 9}, who=who, context=inside)) is NO
    assert outcome_of(rule, facts({"n": 1}, who=who, context=Context(address="9.9.9.9"))) is NO
    assert outcome_of(rule, facts({"n": 1}, who=someone(groups=[]), context=inside)) is NO
    assert outcome_of(rule, facts({"n": 1}, who=who)) is ERROR


def test_an_unclear_host_is_told_as_such() -> None:
    """The text says what is wrong, without the id."""
    with pytest.raises(Unevaluable, match="not a plain https URL"):
        client_host("https://a@b/")


def test_rules_that_ask_for_true_and_for_1_are_two_rules() -> None:
    """They are equal in Python; what compares policies would tell that nothing has changed."""
    one, other = allow(claims={"level": 1}), allow(claims={"level": True})
    assert one != other
    assert one == allow(claims={"level": 1.0})
    assert one == allow(claims={"level": (1,)})
    assert allow(claims={"a": 1, "b": 2}) == allow(claims={"b": 2, "a": 1})
    assert allow(annotations={"x": 0}) != allow(annotations={"x": False})
    assert len({one, other, allow(claims={"level": 1})}) == 2
    assert policy(one, replace(other, id="b")).lint() == []
