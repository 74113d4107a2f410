"""Type confusion: no other type, spelling or wrapping of an argument makes a decision more permissive."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from mcpauth_middleware.policy import Policy
from tests.middleware.gate_helpers import call
from tests.middleware.policy_helpers import allow, deny, policy, someone

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

PERMISSIVENESS = {"deny": 0, "step_up": 1, "allow": 2}
LIKE = {"a": "а", "c": "с", "e": "е", "o": "о", "p": "р", "x": "х", "/": "∕", "1": "１", "t": "ｔ", "D": "Ｄ"}

# A condition, and arguments that it denies.
DENIED: list[tuple[str, dict[str, Any]]] = [
    ('args.path == "/etc/passwd"', {"path": "/etc/passwd"}),
    ('args.mode != "dry"', {"mode": "execute"}),
    ('path_under(args.path, "/etc")', {"path": "/etc/passwd"}),
    ('not path_under(args.path, "/srv")', {"path": "/etc/passwd"}),
    ('startswith(args.path, "/etc/")', {"path": "/etc/passwd"}),
    ('not startswith(args.path, "/srv/")', {"path": "/etc/passwd"}),
    ('endswith(args.path, "passwd")', {"path": "/etc/passwd"}),
    ('glob(args.path, "/etc/*")', {"path": "/etc/passwd"}),
    ('"DROP" in args.sql', {"sql": "DROP TABLE x"}),
    ('"drop" in lower(args.sql)', {"sql": "DROP TABLE x"}),
    ('lower(args.name) == "executor"', {"name": "Executor"}),
    ("args.amount > 1000", {"amount": 5000}),
    ("args.amount > 1000", {"amount": 5000.5}),
    ("args.amount + args.fee >= 1000", {"amount": 999, "fee": 1}),
    ("not args.amount < 10", {"amount": 11}),
    ("args.amount == 0", {"amount": 0}),
    ("args.amount != 1", {"amount": 0}),
    ("args.force", {"force": True}),
    ("not args.dry_run", {"dry_run": False}),
    ("args.force == True", {"force": True}),
    ("args.owner == None", {"owner": None}),
    ('args.mode in ["execute", "expect"]', {"mode": "execute"}),
    ('args.mode not in ["dry"]', {"mode": "execute"}),
    ('"secret" in args.tags', {"tags": ["secret", "b"]}),
    ('"secret" in args.tags', {"tags": ["secret"]}),
    ('"approved" not in args.tags', {"tags": ["b"]}),
    ('any_of(args.tags, ["secret", "private"])', {"tags": ["x", "private"]}),
    ('not any_of(args.tags, ["approved"])', {"tags": ["x"]}),
    ("len(args.text) > 10", {"text": "a text that is too long"}),
    ("len(args.ids) > 2", {"ids": ["a", "b", "c"]}),
    ("len(args.ids) > 2", {"ids": [1, 2, 3]}),
    ("len(args) > 1", {"a": 1, "b": 2}),
    ("has(args.force)", {"force": False}),
    ("has(args.options.force)", {"options": {"force": 1, "x": 2}}),
    ("has(args.options.force)", {"options": {"force": 1}}),
    ('args.options.mode == "execute"', {"options": {"mode": "execute"}}),
    ('args.paths[0] == "/etc/passwd"', {"paths": ["/etc/passwd"]}),
    ("has(args.paths[1])", {"paths": ["/etc/passwd", "b"]}),
    ('cidr(args.host, "10.0.0.0/8")', {"host": "10.0.0.1"}),
    ('not cidr(args.host, "192.168.0.0/16")', {"host": "10.0.0.1"}),
    ('args.path > "/e"', {"path": "/etc/passwd"}),
    ('args.path == "/etc/passwd" or args.mode == "execute"', {"path": "/etc/passwd", "mode": "dry"}),
    ('args.mode == "execute" and args.amount > 10', {"mode": "execute", "amount": 11}),
    ("args.a == args.b", {"a": "x", "b": "x"}),
]


def written_out(value: JsonValue) -> list[str]:
    """The value in JSON, as it is and with every character escaped; the SDK reads either as the value."""
    text = json.dumps(value)
    return [text, f" {text}\n", escaped(value)]


def escaped(value: JsonValue) -> str:
    if isinstance(value, str):
        return '"' + "".join(f"\\u{ord(character):04x}" for character in value) + '"'
    if isinstance(value, list):
        return f"[{','.join(map(escaped, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{escaped(key)}:{escaped(item)}' for key, item in value.items())}}}"
    return json.dumps(value)


def mutations(value: JsonValue) -> list[Any]:
    """The same value as another type, in another spelling, or wrapped."""
    wrapped = [
        [value],
        [[value]],
        {"x": value},
        {"": [value]},
        [value, None],
        [None, value],
        [value, {"x": 1}],
    ]
    found: list[Any] = [None, True, False, 0, 1, 3.5, *wrapped]
    if isinstance(value, bool):
        found += [int(value), str(value).lower(), [str(value)]]
    elif isinstance(value, str):
        found += [list(value), dict.fromkeys(value, 1), *confusable(value), *written_out([value])]
        found += [*written_out({"x": value}), "null"]
    elif isinstance(value, (int, float)):
        found += [str(value), float(value), [str(value)], str(value).replace("1", "١")]
    elif isinstance(value, list):
        found += of_list(value)
    elif isinstance(value, dict):
        found += of_object(value)
    else:
        found += ["null", ""]
    return [mutant for mutant in found if not is_another_call(value, mutant)]


def of_list(value: list[JsonValue]) -> list[Any]:
    """As an object, with each item wrapped, and written out."""
    objects = [dict.fromkeys(map(str, value), 1), {str(place): item for place, item in enumerate(value)}]
    inside: list[Any] = [[*value, []], [[item] for item in value], [{"x": item} for item in value]]
    return [*objects, *inside, *written_out(value), ",".join(map(str, value))]


def of_object(value: dict[str, JsonValue]) -> list[Any]:
    """As lists, in other letters, and written out."""
    lists = [list(value), list(value.values()), [list(pair) for pair in value.items()]]
    return [*lists, {key.upper(): item for key, item in value.items()}, *written_out(value)]


def is_another_call(value: object, mutant: object) -> bool:
    """A plain value of the same kind is no confusion: the rule may well say something else of it."""
    if isinstance(value, bool) or isinstance(mutant, bool):
        return type(value) is type(mutant)
    if isinstance(value, (int, float)) and isinstance(mutant, (int, float)):
        return value != mutant
    return value is None and mutant is None


def confusable(text: str) -> list[str]:
    """Texts that look like this one."""
    one_by_one = [text.replace(character, like) for character, like in LIKE.items() if character in text]
    return [*one_by_one, "".join(LIKE.get(c, c) for c in text), text[:1] + "\u200b" + text[1:]]


def decided(rules: Policy, arguments: dict[str, Any]) -> int:
    return PERMISSIVENESS[rules.decide(call("t", arguments), someone()).effect]


@pytest.mark.parametrize(("when", "arguments"), DENIED, ids=[f"{when}-{a}" for when, a in DENIED])
def test_no_mutation_of_an_argument_switches_a_deny_rule_off(when: str, arguments: dict[str, Any]) -> None:
    """Beside a rule that allows everything, so that a deny that is skipped would show."""
    rules = policy(allow("everything", tools=("*",)), deny(when=when))
    assert decided(rules, arguments) == 0
    for name, value in arguments.items():
        for mutant in mutations(value):
            changed = {**arguments, name: mutant}
            assert decided(rules, changed) == 0, changed


@pytest.mark.parametrize(("when", "arguments"), DENIED, ids=[f"{when}-{a}" for when, a in DENIED])
def test_nor_does_it_make_an_allow_rule_allow(when: str, arguments: dict[str, Any]) -> None:
    """An allow rule for what is not this: it does not allow, and no other type of it is allowed."""
    rules = policy(allow("others", when=f"not ({when})"))
    assert decided(rules, arguments) == 0
    for name, value in arguments.items():
        for mutant in mutations(value):
            assert decided(rules, {**arguments, name: mutant}) == 0, mutant


def test_an_engine_that_skips_what_it_cannot_evaluate_would_allow() -> None:
    """The same call without the deny rule, which is what skipping it comes to."""
    everything, never = allow("everything"), deny(when='path_under(args.path, "/etc")')
    decision = policy(everything, never).decide(call("t", {"path": ["/etc/passwd"]}), someone())
    assert (decision.effect, decision.reason) == ("deny", "deny_error")
    assert policy(everything).decide(call("t", {"path": ["/etc/passwd"]}), someone()).effect == "allow"


POOL: list[Any] = [
    *(None, True, False, 0, 2, -1.5, "", "a", "ab", "b", "/etc/x", "/srv/x"),
    *([], ["a"], ["b", "a"], [2, 3], ["ab", "b", "c"], {"a": "a"}, {"a": 1, "b": 2}, {}),
]
TESTED = ["x", "y"]
ATOMS = [
    'args.{0} == "a"',
    'args.{0} != "a"',
    "args.{0} > 0",
    "args.{0}",
    'args.{0} in ["a", "b"]',
    '"a" in args.{0}',
    '"a" not in args.{0}',
    "len(args.{0}) > 1",
    "len(args.{0}) < 3",
    'startswith(args.{0}, "a")',
    'path_under(args.{0}, "/etc")',
    'any_of(args.{0}, ["a"])',
    'args.{0}.a == "a"',
    "args.{0}[0] > 1",
]


@st.composite
def conditions(draw: st.DrawFn) -> str:
    atoms = [draw(st.sampled_from(ATOMS)).format(draw(st.sampled_from(TESTED))) for _ in range(2)]
    negated = [f"not ({atom})" if draw(st.booleans()) else atom for atom in atoms]
    return f" {draw(st.sampled_from(['and', 'or']))} ".join(negated)


# How long a list is when it is written out with commas is another question than how many items it has.
MUTATIONS = [
    [
        mutant
        for mutant in mutations(value)
        if not (isinstance(value, list) and isinstance(mutant, str)) or mutant.strip().startswith("[")
    ]
    for value in POOL
]
MESSAGE, ALICE = call("t", {}), someone()


def effect(rules: Policy, x: object, y: object) -> str:
    return rules.decide(MESSAGE._replace(arguments={"x": x, "y": y}), ALICE).reason


@settings(max_examples=60)
@given(conditions())
def test_no_generated_deny_rule_lets_a_mutation_of_what_it_denies_through(when: str) -> None:
    """For each pair of arguments that the rule matches, and each mutation of either."""
    rules = policy(allow("everything", tools=("*",)), deny(when=when))
    for (at_x, x), (at_y, y) in itertools.product(enumerate(POOL), enumerate(POOL)):
        if effect(rules, x, y) == "denied":
            for mutant in MUTATIONS[at_x]:
                assert effect(rules, mutant, y) in ("denied", "deny_error"), (mutant, y)
            for mutant in MUTATIONS[at_y]:
                assert effect(rules, x, mutant) in ("denied", "deny_error"), (x, mutant)
