"""What a rate limit says, and what it is about."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mcpauth_middleware.limits import Debits, RateLimit
from mcpauth_middleware.limits.gcra import Gcra
from tests.middleware.gate_helpers import REVISIONS, call, principal, read

if TYPE_CHECKING:
    from mcpauth_middleware.limits.rate_limit import Dimension
    from mcpauth_middleware.message import Message
    from mcpauth_middleware.principal import Principal


@pytest.mark.parametrize(
    ("rate", "burst", "expected"),
    [
        ("60/minute", None, Gcra(1_000_000, 60)),
        ("5/second", None, Gcra(200_000, 5)),
        ("1000/hour", 10, Gcra(3_600_000, 10)),
        ("1/day", None, Gcra(86_400_000_000, 1)),
        ("3/second", None, Gcra(333_334, 3)),
        ("7/second", 1, Gcra(142_858, 1)),
    ],
)
def test_a_rate_is_an_interval_and_a_burst(rate: str, burst: int | None, expected: Gcra) -> None:
    """Rounded so that never more is admitted than was promised."""
    assert RateLimit(rate, burst=burst).gcra == expected


@pytest.mark.parametrize(
    "rate",
    [
        "",
        "60",
        "60/min",
        "60/minutes",
        "60 / minute",
        "0/minute",
        "-1/second",
        "1.5/second",
        "60/Minute",
        "60/minute ",
        "\u0661/minute",
        "99999999/second",
    ],
)
def test_a_rate_that_is_none_is_refused_with_the_mend(rate: str) -> None:
    """At start-up, not at the first call."""
    with pytest.raises(ValueError, match=r'^rate: must be like "60/minute"'):
        RateLimit(rate)


@pytest.mark.parametrize(
    ("members", "mend"),
    [
        ({"burst": 0}, "burst: must be at least 1"),
        ({"burst": -5}, "burst: must be at least 1"),
        ({"burst": True}, "burst: must be at least 1"),
        ({"burst": 1.5}, "burst: must be at least 1"),
        ({"by": "user"}, "by: must be a tuple of user, client, tool, address"),
        ({"by": ("users",)}, "by: must be a tuple of user"),
        ({"by": ["user"]}, "by: must be a tuple of user"),
        ({"tools": "delete_*"}, "tools: must be a tuple of patterns"),
        ({"tools": ()}, "tools: must be a tuple of patterns"),
        ({"tools": ("x?",)}, "tools: 'x\\?': \\? has no meaning"),
        ({"tools": (1,)}, "tools: 1: must be a string"),
    ],
)
def test_other_mistakes_are_refused_with_the_mend(members: dict[str, Any], mend: str) -> None:
    """A limit that counts the wrong thing is no limit."""
    with pytest.raises(ValueError, match=f"^{mend}"):
        RateLimit("60/minute", **members)


def test_a_limit_has_a_name_to_be_told_by() -> None:
    """In the journal and in answers."""
    assert RateLimit("60/minute").label == "60/minute per user"
    assert RateLimit("5/second", by=("user", "tool")).label == "5/second per user and tool"
    assert RateLimit("5/second", by=()).label == "5/second per server"
    assert RateLimit("5/second", name="burst").label == "burst"


def keys(
    limit: RateLimit,
    who: Principal | None = None,
    message: Message | None = None,
    address: str | None = "10.0.0.1",
) -> list[str]:
    charge = Debits([limit]).of(message or call("search"), who or principal(), address)
    return [] if charge is None else [debit.key for debit in charge.debits]


@pytest.mark.parametrize("version", REVISIONS)
def test_a_limit_counts_every_request_unless_it_is_about_tools(version: str) -> None:
    """Requests, not notifications and answers: those have nobody to tell."""
    general, by_tool, one_tool = (
        RateLimit("1/second"),
        RateLimit("1/second", by=("user", "tool")),
        RateLimit("1/second", tools=("delete_*",)),
    )
    messages = {
        "delete": call("delete_it", version=version),
        "search": call("search", version=version),
        "list": read("tools/list", version=version),
        "read": read("resources/read", {"uri": "file:///delete_it"}, version=version),
        "note": read("notifications/cancelled", {"requestId": 1}, version=version, id=...),
    }
    counted = {
        name: [bool(keys(limit, message=message)) for limit in (general, by_tool, one_tool)]
        for name, message in messages.items()
    }
    assert counted == {
        "delete": [True, True, True],
        "search": [True, True, False],
        "list": [True, False, False],
        "read": [True, False, False],
        "note": [False, False, False],
    }


@pytest.mark.parametrize(
    ("by", "apart"),
    [
        ((), set[str]()),
        (("user",), {"subject", "issuer"}),
        (("client",), {"client", "issuer"}),
        (("tool",), {"tool"}),
        (("address",), {"address"}),
        (("user", "tool"), {"subject", "issuer", "tool"}),
        (("user", "client", "tool", "address"), {"subject", "issuer", "client", "tool", "address"}),
    ],
)
def test_calls_are_counted_apart_by_what_the_limit_says(by: tuple[Dimension, ...], apart: set[str]) -> None:
    """And together in every other respect: scopes and arguments never matter."""
    limit = RateLimit("1/second", by=by)
    usual = keys(limit)
    others = {
        "subject": keys(limit, principal(subject="bob")),
        "issuer": keys(limit, principal(issuer="https://other")),
        "client": keys(limit, principal(client_id="other")),
        "tool": keys(limit, message=call("other")),
        "address": keys(limit, address="10.0.0.2"),
        "scopes": keys(limit, principal("a", "b")),
        "arguments": keys(limit, message=call("search", {"q": 1})),
    }
    assert {name for name, key in others.items() if key != usual} == apart


def test_two_users_cannot_share_a_key_by_choosing_their_names() -> None:
    """The parts of a key are kept apart."""
    limit = RateLimit("1/second", by=("user", "client"))
    one = principal(subject="a', 'b", client_id="c")
    other = principal(subject="a", client_id="b', 'c")
    nobody, none = principal(client_id=None), principal(client_id="None")
    assert keys(limit, one) != keys(limit, other)
    assert keys(limit, nobody) != keys(limit, none)


def test_a_key_holds_no_name_of_a_person() -> None:
    """It may end up in Redis, in its logs and dumps."""
    limit = RateLimit("1/second", by=("user", "client", "tool", "address"))
    (key,) = keys(limit, principal(subject="alice@example.com"))
    assert len(key) == 64
    assert all(part not in key for part in ("alice", "client", "search", "10.0"))


def test_equal_limits_count_a_call_once() -> None:
    """Two of the same would otherwise each take half."""
    limit = RateLimit("1/second")
    charge = Debits([limit, RateLimit("1/second"), RateLimit("2/second")]).of(call("t"), principal(), None)
    assert charge is not None
    assert [debit.name for debit in charge.debits] == ["1/second per user", "2/second per user"]


def test_whoever_was_counted_before_is_counted_under_the_same_keys_and_nobody_else_is() -> None:
    """Keys that are at hand are those that would be made anew."""
    limits = [RateLimit("1/second", by=("user", "tool")), RateLimit("1/second", by=("address",))]
    people = [principal(), replace(principal(), subject="another")]
    places = ["192.0.2.1", "192.0.2.2", None]
    used, seen = Debits(limits), dict[tuple[str, ...], tuple[str, str, str | None]]()
    for _ in range(2):
        for who, tool, place in itertools.product(people, ["a", "b"], places):
            charge, made_anew = (each.of(call(tool), who, place) for each in (used, Debits(limits)))
            assert charge is not None
            assert made_anew is not None
            assert charge.debits == made_anew.debits
            keys = tuple(debit.key for debit in charge.debits)
            assert seen.setdefault(keys, (who.subject, tool, place)) == (who.subject, tool, place)
    assert len(seen) == 12


@pytest.mark.parametrize("name", ["__0123456789ab_delete_all", "0123456789ab_delete_all"])
def test_a_limit_of_a_tool_also_counts_calls_by_the_name_that_fastmcp_makes_for_it(name: str) -> None:
    """FastMCP 3 and 4 run a tool of an app under `<hash>_<name>` too, which anybody can compute."""
    limit = RateLimit("1/hour", by=("user",), tools=("delete_*",))
    assert limit.concerns("delete_all")
    assert limit.concerns(name)


def test_a_tool_is_counted_under_one_key_by_whichever_of_its_names_it_is_called() -> None:
    """Else each name would have a count of its own."""
    limit = RateLimit("1/hour", by=("user", "tool"))
    assert keys(limit, message=call("__0123456789ab_delete_all")) == keys(limit, message=call("delete_all"))
    assert keys(limit, message=call("delete_all")) != keys(limit, message=call("delete_some"))
