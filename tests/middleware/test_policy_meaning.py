"""Conditions that could be evaluated and cannot mean what they say are refused when they are loaded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcpauth_middleware.message import Target
from mcpauth_middleware.policy import Context, Policy, PolicyError, ToolFacts
from mcpauth_middleware.policy.conditions import compile_condition
from mcpauth_middleware.policy.values import kind_of
from mcpauth_middleware.policy.vocabulary import FACTS, KINDS
from tests.middleware.gate_helpers import call
from tests.middleware.policy_helpers import NOW, facts, someone


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # A list is not one of its items.
        (
            'principal.groups == "admins"',
            'column 1: lists are not compared as a whole; write "admins" in principal.groups',
        ),
        ('"files:read" == principal.scopes', "column 17: lists are not compared as a whole"),
        (
            'principal.groups in ["admins", "staff"]',
            'column 1: is no item of a list; write any_of(principal.groups, ["admins", "staff"])',
        ),
        ('args.tags == ["a"]', "column 14: lists are not compared as a whole; write any_of(args"),
        ('["a"] != principal.groups', "column 1: lists are not compared as a whole; write any_of"),
        ('principal.claims == "x"', "column 1: objects are not compared as a whole; compare a member"),
        ("args.a and tool.annotations", "column 12: is neither true nor false"),
        ("not principal.tenant", "column 5: is neither true nor false"),
        ("principal.groups", "column 1: is neither true nor false"),
        # A text is not what is in it.
        (
            'principal.tenant in "acme"',
            'column 21: in would look for a part of this text; write == "acme", or a list',
        ),
        ('principal.tenant not in ("acme")', "column 26: in would look for a part of this text"),
        # Two kinds are never equal, and have no order.
        ('client.verified == "true"', 'column 1: client.verified is a boolean and "true" is a text'),
        ('env.time > "2026-01-01"', 'column 1: env.time is a number and "2026-01-01" is a text'),
        ('len(args.ids) > "10"', 'column 1: len(args.ids) is a number and "10" is a text'),
        ("1 in principal.groups", "column 1: principal.groups holds texts; look for a text in it"),
        (
            "env.time in [1, 2] or principal.sub in [1]",
            "column 23: principal.sub is a text and 1 is a number",
        ),
        ('cidr(env.ip, "10.0.0.0/8") == "yes"', "column 1: cidr(env.ip"),
        ("client.verified < True", "column 1: has no order"),
        ("args.x in env.time", "column 11: has nothing in it"),
        (
            "principal.tenant == None",
            "column 1: principal.tenant is never None; write has(principal.tenant)",
        ),
        ("None != client.host", "column 1: client.host is never None; write has(client.host)"),
        # Functions take values of a kind.
        (
            'glob(principal.groups, "team-*")',
            'column 6: is a list, and glob takes a text; ask for an item, as in "x" in principal.groups',
        ),
        ('any_of(principal.tenant, ["a"])', "column 8: is a text, and any_of takes a list; write a list"),
        (
            "len(client.verified) > 1",
            "column 5: is a boolean, and len takes a text or a list or an object; name",
        ),
        ("lower(env.time) == 'a'", "column 7: is a number, and lower takes a text"),
        ('startswith("/srv/share", args.path)', "column 12: startswith looks into its first value"),
        ('path_under("/srv/share", args.path)', "column 12: path_under looks into its first value"),
        ('path_under(args.path, "/srv/*/in")', "column 23: * stands for nothing here; write the folder"),
        # What lower gives is in lower case.
        (
            '"DROP" in lower(args.sql)',
            'column 1: is not in lower case, so never in what lower gives; write "drop"',
        ),
        ('lower(args.sql) == "DROP"', "column 20: is not in lower case"),
        ('"A" != lower(args.x)', "column 1: is not in lower case"),
        ('lower(args.sql) not in ["select", "Insert"]', "column 35: is not in lower case, so never"),
        ('startswith(lower(args.sql), "DROP")', "column 29: is not in lower case"),
        ('glob(lower(args.sql), "DROP *")', "column 23: is not in lower case"),
        # Facts of which all values are known.
        ('env.weekday == "Monday"', "column 16: is no weekday; write one of mon, tue"),
        ('env.weekday in ["sat", "sunday"]', "column 24: is no weekday"),
        ('env.ip == "10.0.0.0/8"', 'column 11: is no address; write cidr(env.ip, "10.0.0.0/8")'),
        ('"10.0.*" != env.ip', "column 1: is no address"),
        # Python reads each comparison of a row on its own.
        ('args.mode in ["ro", "rw"] == False', "column 1: comparisons in a row hold each on its own"),
        ('"a" in principal.groups == True', "column 1: comparisons in a row"),
        ("args.a == args.b == False", "column 1: comparisons in a row"),
        ("args.a != args.b != args.c", "column 1: comparisons in a row"),
        ("1 < args.x > 5", "column 1: comparisons in a row"),
        # Two texts without a comma are one for Python; a list without items holds nothing.
        ('principal.tenant in ["acme" "beta"]', "column 22: two texts side by side are one; write a comma"),
        (
            'principal.tenant in ["acme",\n  "beta"  # ours\n  "gamma"]',
            "line 2, column 3: two texts side by side",
        ),
        ("args.x in []", "column 11: is an empty list; name what is in it"),
        ('"a" in ["a"]', "column 1: compares two constants"),
    ],
)
def test_what_cannot_mean_what_it_says_is_refused(text: str, message: str) -> None:
    """It can be evaluated, and would silently match nothing, or everything."""
    with pytest.raises(PolicyError) as refused:
        compile_condition(text)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        '"admins" in principal.groups',
        'any_of(principal.groups, ["a", "b"]) and not any_of(["c"], principal.groups)',
        'principal.tenant in ["acme", "beta"] or principal.tenant == args.tenant',
        '"x" in args.path and args.path in args.allowed and "dev" in principal.sub',
        "args.x == None or args.y != 1.5 or args.z == True",
        "len(principal.groups) < 100 and len(args) <= 2 and len(principal.claims) > 0",
        "1 <= args.x <= 5 and 5 > args.y >= 1 and args.a == args.b == args.c",
        'lower(args.x) == "a" and "É" in args.x and "drop" in lower(args.sql) and lower(args.b) == args.c',
        'env.weekday in ["sat", "sun"] and env.weekday != "mon" and env.weekday == args.day',
        'env.ip == "10.0.0.1" or env.ip in ["::1"] or cidr(env.ip, ["10.0.0.0/8", "::/8"])',
        'client.verified == True and not client.verified and env.protocol >= "2025-11-25"',
        '"x" in tool.annotations and tool.annotations.destructiveHint and "pii" in tool.tags',
        'args["a"] == \'it\' and args.b == "say \\"hi\\"" and args.c == "" and args.d == \'\'',
        "args.x == '''a\"\"b'''",
        "-args.x < 1 and args.x + 1 > 2 and len(args.a) + 1 > len(args.b)",
        'method == "resources/read" or args.x == 1',
    ],
)
def test_what_can_mean_something_is_not_refused(text: str) -> None:
    """What is known beforehand says nothing against it."""
    assert compile_condition(text).text == text


def test_a_name_that_is_not_known_is_told_first() -> None:
    """Whoever mistypes a name needs that name."""
    with pytest.raises(PolicyError, match=r"column 1: no such name; did you mean principal.groups\?"):
        compile_condition('principal.group == "admins"')


def test_the_key_of_the_rule_is_told() -> None:
    """A file has many rules."""
    text = 'version = 1\n[[rules]]\nid = "r"\nallow = { tools = ["t"] }\nwhen = \'principal.groups == "a"\'\n'
    with pytest.raises(PolicyError, match=r"^policy.toml: rules\[0\].when: column 1: lists are not"):
        Policy.from_toml(text, name="policy.toml")


def test_each_fact_is_of_the_kind_that_is_said_of_it() -> None:
    """What is refused beforehand is what could not be evaluated."""
    assert KINDS.keys() == FACTS.keys()
    who = someone("s", client_id="https://a.example/c", groups=["g"], tenant="t")
    tool = ToolFacts(frozenset({"x"}), {})
    context = Context(address="10.0.0.1", now=NOW, tool=lambda _name: tool)
    message = call("t", {})._replace(client=("a", "1"))
    known = facts(who=who, context=context, message=message)
    for name, fact in FACTS.items():
        target = Target("resource", "file:///a") if name == "resource.uri" else known.target
        assert kind_of(fact(replace(known, target=target))) == KINDS[name], name
