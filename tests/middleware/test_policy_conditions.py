"""The expression language of `when`: what it says, what it refuses to say, and what it is not made of."""

from __future__ import annotations

import ast
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpauth_middleware.policy import Context, PolicyError, ToolFacts
from mcpauth_middleware.policy.conditions import MAX_LENGTH, MAX_PART_LENGTH, compile_condition
from mcpauth_middleware.policy.errors import ArgumentsUnknown, Unevaluable
from mcpauth_middleware.policy.expression import FUNCTIONS
from mcpauth_middleware.policy.syntax import MAX_DEPTH, SYNTAX, refuse_unlisted
from mcpauth_middleware.policy.vocabulary import FACTS
from tests.middleware.gate_helpers import MODERN, call, read
from tests.middleware.policy_helpers import NOW, answer, deny, facts, someone
from tests.middleware.work import calls

if TYPE_CHECKING:
    from collections.abc import Callable

ARGUMENTS: dict[str, Any] = {
    "path": "/srv/share/a.txt",
    "n": 3,
    "f": 2.5,
    "yes": True,
    "none": None,
    "list": ["a", "b"],
    "numbers": [1, 2.5],
    "object": {"a": {"b": "c"}},
    "mixed": ["a", 1],
    "two words": "x",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('args.path == "/srv/share/a.txt"', True),
        ('args["two words"] != "x"', False),
        ('args.object.a.b == "c"', True),
        ('args.object["a"].b == "c"', True),
        ('args.list[1] == "b"', True),
        ("args.n == 3.0", True),
        ("args.n > 2.5 and args.f < 3", True),
        ("1 < args.n <= 3", True),
        ("3 < args.n <= 2", False),
        ("args.n - 5 == -2", True),
        ("args.n + args.f == 5.5", True),
        ("-args.n == -3", True),
        ("args.yes", True),
        ("not args.yes or args.n == 3", True),
        ("args.yes == True", True),
        ("args.none == None", True),
        ('"a" in args.list', True),
        ('"z" not in args.list', True),
        ('args.path in ["/a", "/b"]', False),
        ("2.5 in args.numbers", True),
        ('"share" in args.path', True),
        ('"path" in args', True),
        ('"Z" in args', False),
        ("len(args.list) == 2", True),
        ("len(args.path) > 5 and len(args.numbers) == 2", True),
        ("len(args) == 10", True),
        ('glob(args.path, "/srv/*.txt")', True),
        ('glob(args.path, "*.TXT")', False),
        ('startswith(args.path, "/srv/")', True),
        ('endswith(args.path, ".txt")', True),
        ('lower(args.path) == "/srv/share/a.txt"', True),
        ('any_of(args.list, ["x", "b"])', True),
        ('any_of(args.list, ["x"])', False),
        ("has(args.n)", True),
        ("has(args.none)", True),
        ("has(args.zz)", False),
        ("has(args.zz.deeper)", False),
        ("has(args.object.a.b)", True),
        ("has(args.object.a.z)", False),
        ('has(args["two words"])', True),
        ("has(args.list[5])", False),
        ('(args.n == 3\n  and args.path == "/srv/share/a.txt")', True),
        ('args.yes or args.zz == "short"', True),
        ('args.n == 4 and args.zz == "short"', False),
    ],
)
def test_it_reads_like_python(text: str, expected: bool) -> None:
    """`and` and `or` ask from left to right and stop where the answer is known."""
    assert answer(text, ARGUMENTS) is expected


@pytest.mark.parametrize(
    "text",
    [
        "args.yes == 1",
        "args.n == True",
        'args.n == "3"',
        "args.none == 0",
        'args.none == ""',
        'args.path == ["/srv/share/a.txt"]',
        "args.list == args.list",
        "args.object == args.object",
        "args.yes < True",
        'args.n < "4"',
        "args.none < 1",
        "args.n",
        "args.path",
        "args.none",
        "not args.n",
        "args.n and args.yes",
        "args.yes and args.n",
        "args.yes + 1 == 2",
        'args.path + 1 == "x"',
        "-args.yes == -1",
        "args.zz",
        "args.zz == 1",
        "args.object.z == 1",
        'args.path.upper == "x"',
        "args.list.a == 1",
        'args.list["a"] == 1',
        "args.list[-1] == 1",
        "args.list[True] == 1",
        'args.list[5] == "x"',
        "args.object[0] == 1",
        "args.path[0] == 1",
        "1 in args.list",
        '"a" in args.mixed',
        '"z" in args.mixed',
        '["a"] in args.list',
        "1 in args.path",
        '"a" in args.n',
        '"a" in args.object',
        "len(args.n) == 1",
        "len(args.none) == 1",
        "len(args.object) == 1",
        "len(args.mixed) == 2",
        'startswith(args.list, "a")',
        'lower(args.n) == "3"',
        'glob(args.list, "*")',
        'any_of(args.path, ["a"])',
        'any_of(args.mixed, ["a"])',
        "any_of(args.list, [1])",
        "has(args.path.deeper)",
        "has(args.list.a)",
        "has(args.none.a)",
        'cidr(args.path, "10.0.0.0/8")',
        'path_under(args.n, "/srv")',
        'path_under("x", args.path) or args.yes',
    ],
)
def test_what_python_would_take_for_an_answer_is_an_error(text: str) -> None:
    """Strict types: 1 is not True, nothing is converted, what is missing is not empty."""
    assert isinstance(answer(text, ARGUMENTS), str)


def test_numbers_stay_finite() -> None:
    """NaN compares false with everything, so that it would pass every upper limit."""
    for value in (float("nan"), float("inf")):
        with pytest.raises(Unevaluable):
            compile_condition("principal.claims.n > 1000").holds(facts(who=someone(n=value)))
    assert answer("args.x + args.x > 0", {"x": 1.7e308}) == "a value is nothing that JSON can hold"
    assert answer("args.x + args.f > 0", {"x": 10**90, "f": 0.5}) is True
    assert isinstance(answer("principal.claims.n + 0.5 > 0", who=someone(n=10**400)), str)


def test_the_facts() -> None:
    """Every name that there is."""
    who = someone(
        "files:read", client_id="https://claude.ai/client.json", groups=["ops"], tenant="acme", level=3
    )
    context = Context(
        address="10.1.2.3",
        now=NOW,
        tool=lambda name: ToolFacts(frozenset({"x"}), {"readOnlyHint": True}) if name == "t" else None,
    )
    for text in (
        'principal.sub == "alice" and principal.iss == "https://as"',
        'principal.client_id == client.id and client.host == "claude.ai" and client.verified',
        'principal.tenant == "acme" and "ops" in principal.groups',
        '"files:read" in principal.scopes and principal.claims.level == 3',
        'tool.name == "t" and "x" in tool.tags',
        "tool.annotations.readOnlyHint and tool.annotations.destructiveHint",
        'method == "tools/call" and env.protocol == "2025-11-25"',
        'env.weekday == "mon" and env.time > 1700000000 and cidr(env.ip, "10.0.0.0/8")',
    ):
        assert answer(text, who=who, context=context) is True, text
    resource = read("resources/read", {"uri": "file:///a"}, version=MODERN)
    assert answer('resource.uri == "file:///a"', message=resource) is True


@pytest.mark.parametrize(
    "text",
    [
        'env.ip == "10.1.2.3"',
        "env.time > 0",
        'env.weekday == "mon"',
        '"x" in tool.tags',
        "tool.annotations.readOnlyHint",
        "has(tool.annotations.title)",
        'client.name == "x"',
        'client.version == "x"',
        'resource.uri == "x"',
        'principal.tenant == "x"',
        '"x" in principal.groups',
        'client.host == "x"',
        "principal.claims.x",
    ],
)
def test_what_is_not_known_has_no_answer(text: str) -> None:
    """No address, no clock, a tool that nobody has described, a claim the token does not carry."""
    assert isinstance(answer(text), str)


def test_has_tells_what_is_absent_from_what_is_unknown() -> None:
    """A claim that is not there can be asked about; a tool nobody has described cannot."""
    assert answer("has(principal.tenant)") is False
    assert answer("has(client.host)") is False
    assert answer("has(principal.claims.x)") is False
    assert isinstance(answer("has(tool.tags)"), str)
    assert isinstance(answer("has(env.ip)"), str)


def test_groups_of_another_type_have_no_answer() -> None:
    """A token whose groups are a text, or hold numbers."""
    for groups in ("ops", {"ops": True}, ["ops", 1], None, 7):
        assert isinstance(answer('"ops" in principal.groups', who=someone(groups=groups)), str)


def test_groups_may_be_inside_of_a_claim() -> None:
    """Keycloak: `realm_access.roles`."""
    names = {"groups": ["realm_access", "roles"], "tenant": "tid"}
    who = someone(realm_access={"roles": ["ops"]}, tid="acme")
    text = '"ops" in principal.groups and principal.tenant == "acme"'
    assert answer(text, who=who, claims=names) is True
    assert isinstance(answer(text, who=someone(realm_access=["ops"], tid="acme"), claims=names), str)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/share", True),
        ("/srv/share/", True),
        ("/srv/share/a/b", True),
        ("/srv//share/./a", True),
        ("/srv/shared", False),
        ("/srv", False),
        ("/", False),
        ("/srv/share/100%25", True),
    ],
)
def test_a_path_is_under_a_folder(path: str, expected: bool) -> None:
    """The folder itself is."""
    assert answer('path_under(args.p, "/srv/share")', {"p": path}) is expected


@pytest.mark.parametrize(
    "path",
    [
        "/srv/share/../hr",
        "/srv/x/../share/a",
        "/srv/share/%2e%2e/hr",
        "/srv/share/%252e%252e/hr",
        "/srv%2fshare/a",
        "/srv/%73hare/a",
        "/SRV/share/a",
        "/srv/Share",
        "/srv/share\\..\\hr",
        "/srv/ｓhare/a",
        "/srv/sharе/a",
        "/srv/sh\u200bare/a",
        "/srv/share./a",
        "/srv/share /a",
        "//srv/share/a",
        "/srv/share/a\x00.txt",
        "srv/share/a",
        "./srv/share",
        "~/share",
        "",
        "C:/srv/share",
        "file:///srv/share/a",
    ],
)
def test_a_path_that_servers_read_differently_is_under_nothing_and_beside_nothing(path: str) -> None:
    """Neither an allow nor a deny rule can be talked around with another spelling."""
    assert isinstance(answer('path_under(args.p, "/srv/share")', {"p": path}), str)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.0.0.1", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
    ],
)
def test_an_address_lies_in_a_network(address: str, expected: bool) -> None:
    """IPv4 inside of IPv6 is IPv4."""
    assert answer('cidr(args.ip, ["10.0.0.0/8", "2001:db8::/32"])', {"ip": address}) is expected


@pytest.mark.parametrize(
    "address", ["localhost", "010.1.2.3", "0xa.1.2.3", "167837955", "10.1", "10.1.2.3 ", ""]
)
def test_what_only_some_read_as_an_address_is_none(address: str) -> None:
    """Octal, hexadecimal and short forms."""
    assert isinstance(answer('cidr(args.ip, "10.0.0.0/8")', {"ip": address}), str)


@pytest.mark.parametrize("network", ["::ffff:10.0.0.0/104", "::ffff:0:0/96", "::ffff:a00:1/128"])
def test_a_network_in_which_no_address_lies_is_refused(network: str) -> None:
    """An IPv4 address that is mapped into IPv6 is judged as the IPv4 address: the rule would never hold."""
    with pytest.raises(PolicyError, match="write the IPv4 network"):
        compile_condition(f'cidr(env.ip, "{network}")')
    with pytest.raises(PolicyError, match=r"ip\[0\]: .*write the IPv4 network"):
        deny(ip=(network,))


@pytest.mark.parametrize("text", [" admin", "admin\n", "\tadmin ", "admin\u00a0", "ａdmin\u3000"])
def test_a_text_with_space_around_it_is_not_another_text(text: str) -> None:
    """Servers strip what people type."""
    for when in ('args.x == "admin"', 'args.x != "admin"', 'args.x in ["admin", "root"]'):
        assert isinstance(answer(when, {"x": text}), str)
    assert answer('args.x == "adm in"', {"x": text}) is False


@pytest.mark.parametrize(
    "lookalike", ["ａｄｍｉｎ", "аԁміп", "a\u200bd\u200bm\u200bi\u200bn", "𝐚𝐝𝐦𝐢𝐧", "ad\u00admin\ufe0f"]
)
@pytest.mark.parametrize(
    "text",
    [
        'args.x == "admin"',
        'args.x != "admin"',
        'args.x in ["admin", "root"]',
        'startswith(args.x, "adm")',
        'endswith(args.x, "dmin")',
        'glob(args.x, "ad*in")',
        '"admin" in args.x',
        'any_of(args.list, ["admin"])',
        '"admin" in args.list',
    ],
)
def test_a_text_that_looks_like_another_has_no_answer(text: str, lookalike: str) -> None:
    """Full width, Cyrillic, invisible and mathematical characters."""
    assert isinstance(answer(text, {"x": lookalike, "list": [lookalike]}), str)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ('"/etc/passwd" in args.x', '["/etc/passwd"]', True),
        ('"/etc/passwd" in args.x', r'["\u002fetc/passwd"]', None),
        ('"ok" in args.x', '["not ok"]', None),
        ('"ok" in args.x', '["no", "yes"]', False),
        ('"ok" in args.x', '[1, "ok"]', None),
        ('"secret" in args.x', '{"a": "no"}', False),
        ('"secret" in args.x', '{"a": "the secret"}', True),
        ('"secret" in args.x', r'{"a": "\u0073ecret"}', None),
        ('"secret" in args.x', "null", None),
        ('"secret" in args.x', "nullify", False),
        ('"secret" in args.x', '["a', False),
        ("len(args.x) < 3", '["a"]', None),
        ("len(args.x) < 100", '["a"]', True),
        ("len(args.x) < 100", '{"a": 1}', True),
        ("len(args.x) < 2", '{"a": 1}', None),
        ("len(args.x) < 100", "null", None),
        ('args.x == "a"', '["a"]', None),
        ('args.x == "a"', ' \r\n\t["a"] ', None),
        ('args.x == "a"', "null", None),
        ('args.x != "a"', "null", None),
        ('args.x == "a"', "[a]", False),
        ('args.x == "null"', "null", True),
        ('args.x in ["a", "b"]', '["a"]', None),
        ('args.x in ["[]"]', "[]", True),
        ('args.x > "Z"', '["a"]', None),
        ('startswith(args.x, "[")', '["a"]', None),
        ('endswith(args.x, "]")', '["a"]', None),
        ('glob(args.x, "*")', '["a"]', None),
        ('any_of(args.x, ["[]"])', ["[]"], True),
        ('args.x == "a"', "[" * 60_000, False),
    ],
)
def test_a_text_that_the_sdk_reads_as_a_list_is_judged_as_both(
    text: str, value: object, expected: bool | None
) -> None:
    """Where the two readings differ there is no answer."""
    found = answer(text, {"x": value})
    assert (None if isinstance(found, str) else found) is expected


def test_other_scripts_are_texts_like_any_other() -> None:
    """Only what looks like something else is refused."""
    assert answer('args.x == "Привет"', {"x": "Привет"}) is True
    assert answer('args.x == "Привет"', {"x": "Пока, мир"}) is False
    assert answer('startswith(args.x, "東京")', {"x": "東京都"}) is True
    assert answer('args.x == "x"', {"x": "naïve café"}) is False


# A mark of class 230 after each of class 220; the half-width mark only becomes one when it is decomposed.
MARKS = ["\u0300\u0316" * 30_000, "\u0316\uff9e" * 30_000, "\U0001e94a\u0316" * 30_000]


@pytest.mark.parametrize("marks", MARKS)
@pytest.mark.parametrize(
    "text",
    [
        'args.x == "a"',
        'args.x > "a"',
        '"a" in args.x',
        'glob(args.x, "a*")',
        'startswith(args.x, "a")',
        'lower(args.x) == "a"',
        "len(args.x) > 10",
        'path_under(args.x, "/a")',
        '"a" in args.list',
        'any_of(args.list, ["a"])',
        "has(args.object.b)",
    ],
)
def test_a_text_that_takes_long_to_normalize_has_no_answer(text: str, marks: str) -> None:
    """UAX 15 §13: marks are sorted in quadratic time, 60,000 of them in ten seconds."""
    value = {"x": f"/a{marks}", "list": [f"a{marks}"], "object": {f"a{marks}": 1, "c": 2}}
    assert isinstance(answer(text, value), str)


def test_as_many_marks_as_any_text_has_are_no_matter() -> None:
    """Thirty in a row, and as many rows as there may be."""
    row = "a" + "\u0300\u0316" * 15
    assert answer('args.x == "b"', {"x": row * 2_000}) is False
    assert isinstance(answer('args.x == "b"', {"x": row + "\u0300"}), str)


@pytest.mark.parametrize("key", ["Force", "FORCE", "fo_rce", "ｆorce", "fоrce"])
def test_another_spelling_of_a_member_is_not_an_absent_member(key: str) -> None:
    """Go reads `Force` as `force`; pydantic's aliases read `for_ce`."""
    assert isinstance(answer("has(args.force)", {key: True}), str)
    assert isinstance(answer('"force" in args', {key: True}), str)


@pytest.mark.parametrize("other", ["Force", "FORCE", "fo_rce", "ｆorce", "fоrce"])
def test_a_member_in_two_spellings_has_no_value(other: str) -> None:
    """Whichever comes first: Go takes the last of them, pydantic the alias of a field before its name."""
    for options in ({"force": False, other: True}, {other: True, "force": False}):
        assert isinstance(answer("args.force", options), str)
        assert isinstance(answer("args.options.force", {"options": options}), str)
        assert isinstance(answer("has(args.force)", options), str)
    assert answer("args.force", {"force": False, "forced": True, "for": True}) is False


def test_a_member_is_not_looked_for_among_too_many() -> None:
    """Another spelling could be anywhere."""
    many = {f"k{number}": True for number in range(1_001)}
    assert isinstance(answer("args.k1", many), str)


def test_wrapping_a_value_does_not_hide_what_is_in_it() -> None:
    """Lists of one item and objects of one member are what a text or an object is wrapped in."""
    assert isinstance(answer("has(args.o.force)", {"o": {"x": {"force": 1}}}), str)
    assert isinstance(answer("has(args.l[3])", {"l": [[[1, 2, 3, 4]]]}), str)
    # The arguments themselves are what they are.
    assert answer("has(args.force)", {"x": {"force": 1}}) is False
    assert isinstance(answer('"DROP" in args.sql', {"sql": ["DROP TABLE x"]}), str)
    assert isinstance(answer("len(args.text) > 10", {"text": ["x" * 100]}), str)
    assert isinstance(answer("len(args.text) > 10", {"text": {"x": ["x" * 100]}}), str)
    assert isinstance(answer('"DROP" in args.sql', {"sql": list("DROP TABLE x")}), str)
    assert answer("len(args.ids) > 10", {"ids": ["abc"]}) is False
    assert answer("10 < len(args.ids)", {"ids": ["abc"]}) is False
    assert isinstance(answer("len(args.text) + 1 > 10", {"text": ["x" * 100]}), str)


def test_the_resource_is_judged_in_each_reading_of_its_uri() -> None:
    """Servers may decode percent escapes before they look a resource up."""
    condition = compile_condition('startswith(resource.uri, "file:///srv/")')

    def judged(uri: str) -> bool:
        return condition.holds(facts(message=read("resources/read", {"uri": uri})))

    assert judged("file:///srv/a%20b")
    assert not judged("file:///etc/a%20b")
    for uri in ("file:///sr%76/a", "file:///%73rv/a"):
        with pytest.raises(Unevaluable):
            judged(uri)


@pytest.mark.parametrize(
    ("condition", "uri", "expected"),
    [
        ('endswith(resource.uri, ".key")', "file:///a.key", True),
        ('endswith(resource.uri, ".key")', "file:///a.key?x", None),
        ('endswith(resource.uri, ".key")', "file:///a.key#x", None),
        ('endswith(resource.uri, ".key")', "file:///a?x.key", None),
        ('startswith(resource.uri, "file:///a")', "file:///a?x#y", True),
        ('startswith(resource.uri, "search://items?q=")', "search://items?q=a", True),
        ('startswith(resource.uri, "search://items?q=")', "search://items?q=a#b", True),
        ('resource.uri == "search://items?q=a"', "search://items?q=a#b", None),
        ('resource.uri == "notes://a#b"', "notes://a#b", True),
        ('endswith(resource.uri, ".key")  # is it one?', "file:///a.key", True),
        ('endswith(resource.uri, ".key")  # is it one?', "file:///a?x.key", None),
        ('endswith(resource.uri, ".key")  # is it one?', "file:///a#x.key", None),
    ],
)
def test_the_resource_is_judged_without_the_query_and_fragment_that_a_condition_does_not_speak_of(
    condition: str, uri: str, expected: bool | None
) -> None:
    """Some servers read no more of a URI than what is before them."""
    compiled, told = compile_condition(condition), facts(message=read("resources/read", {"uri": uri}))
    if expected is None:
        with pytest.raises(Unevaluable):
            compiled.holds(told)
    else:
        assert compiled.holds(told) is expected


def test_arguments_are_of_calls() -> None:
    """A call without arguments has none of them; other messages have none to speak of."""
    assert answer("has(args.x)", message=read("tools/call", {"name": "t"})) is False
    assert answer("has(args.x)", message=read("prompts/get", {"name": "t"})) is False
    assert isinstance(answer("has(args.x)", message=read("resources/read", {"uri": "file:///a"})), str)
    with pytest.raises(ArgumentsUnknown):
        compile_condition("has(args.x)").holds(facts(listing=True))


# Iterating over `vars` warns of none of the deprecated ones; asking the module for them would.
NODES = [node for node in vars(ast).values() if isinstance(node, type) and issubclass(node, ast.AST)]


def test_the_list_of_syntax_is_short() -> None:
    """Whoever adds to it must look here."""
    assert {node.__name__ for node in SYNTAX} == {
        *("BoolOp", "And", "Or", "UnaryOp", "Not", "Compare", "Eq", "NotEq", "Lt", "LtE", "Gt", "GtE", "In"),
        *(
            "NotIn",
            "USub",
            "BinOp",
            "Add",
            "Sub",
            "Constant",
            "List",
            "Name",
            "Load",
            "Attribute",
            "Subscript",
        ),
        "Call",
    }


@pytest.mark.parametrize(
    "node", [node for node in NODES if node not in SYNTAX], ids=lambda node: node.__name__
)
def test_every_other_kind_of_syntax_is_refused(node: type[ast.AST]) -> None:
    """Iterating over `ast`, so that what a new Python adds is refused too."""
    # Some are old names that build another kind when they are called.
    one = ast.AST.__new__(node)
    with pytest.raises(PolicyError):
        refuse_unlisted(one, "")
    inside = ast.parse("args.x == 1", mode="eval").body
    assert isinstance(inside, ast.Compare)
    inside.comparators = [one]  # type: ignore[list-item]  # what the parser would never build
    with pytest.raises(PolicyError):
        refuse_unlisted(inside, "args.x == 1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("args.x is None", "column 1: is compares identities; write =="),
        ("args.x == 1 and args.y ** 2 == 4", "column 17: Pow is no part of conditions"),
        ("args.x * 2 == 4", "column 1: there is no multiplication"),
        ('"ab" * 1000000 == args.x', "column 1: there is no multiplication"),
        ("[x for x in args.l] == 1", "column 1: there are no loops"),
        ("(x for x in args.l)", "column 1: there are no loops"),
        ("lambda: True", "column 1: functions cannot be written"),
        ('f"{args}" == "x"', "column 1: there are no f-strings"),
        ("(x := 1) == 1", "column 2: nothing can be assigned"),
        ("args.x if args.y else args.z", "column 1: there is no if"),
        ("len(*args.x) == 1", "column 5: write the values one by one"),
        ("startswith(args.x, prefix='a')", "column 20: functions take their values in order"),
        ("args.l[1:] == 1", "column 8: there are no slices"),
        ("(1, 2) == args.x", "column 1: write a list"),
        ("{1: 2} == args.x", "column 1: Dict is no part of conditions"),
        ("await args.x", "column 1: Await is no part"),
        ("args.x == b'a'", "column 11: write a text"),
        ("args.x == 1j", "column 11: write a text"),
        ("args.x == ...", "column 11: write a text"),
        ("args.x < 1e999", "column 10: write a text, a finite number"),
        ("args.x == '\\ud800'", "column 11: write a text"),
        ("args.x == '\\d'", "column 12: write \\\\ for a backslash"),
        ("__import__('os').system('x')", "column 1: no such function"),
        ("args.x.__class__()", "column 1: no such function"),
        ("eval('1')", "column 1: no such function"),
        ("getattr(args, 'x') == 1", "column 1: no such function"),
        ("start_with(args.x, 'a')", "column 1: no such function; did you mean startswith?"),
        ("arg.x == 1", "column 1: no such name; did you mean args?"),
        ("args.x == true", "column 11: write True"),
        ("args.x == null", "column 11: write None"),
        ("principal.subject == 'a'", "column 1: no such name; did you mean principal.sub?"),
        ("'é' in args.l and prinicpal.sub == 'a'", "column 19: no such name; did you mean principal?"),
        ("principal == 1", "column 1: name one of its members: principal.claims"),
        ("has(args)", "column 5: is always there; ask for a member, as in has(args.x)"),
        ("has(args[args.x])", "column 10: has asks for a member by its name"),
        ("has('x')", "column 5: name a fact, as in has(args.x)"),
        ("len() == 1", "column 1: len takes 1 value"),
        ("glob(args.x)", "column 1: glob takes 2 values"),
        ("glob(args.x, args.y)", "column 14: the second value of glob must be written here, in quotes"),
        ("glob(args.x, 'a?')", "column 14: 'a?': ? has no meaning"),
        ("cidr(args.x, '10.0.0.1/8')", "column 14: '10.0.0.1/8' is no network; write 10.0.0.0/8"),
        ("cidr(args.x, ['10.0.0.0/8', 'x'])", "column 14: 'x' is no network"),
        ("path_under(args.x, 'srv')", "column 20: a path is not absolute; write the folder as /srv/share"),
        (
            "path_under(args.x, '/srv/..')",
            "column 20: a path can be read as different ones; write the folder",
        ),
        ("5", "column 1: is neither true nor false"),
        ("len(args.x)", "column 1: is neither true nor false"),
        ("args.x and 'a'", "column 12: is neither true nor false"),
        ("not -1", "column 5: is neither true nor false"),
        ("1 == 1", "column 1: compares two constants"),
        ("args.x in ['a', 1]", "column 11: the items of a list must be all texts"),
        ("args.x ==", "not an expression"),
        ("args.x == = 1", "column 11: not an expression"),
        ("", "not an expression"),
        (" args.x", "column 1: begins with a space; remove it"),
        ("args.x\x00", "not an expression"),
        ("(args.x ==\n 1 and\n args.y is 2)", "line 3, column 2: is compares identities"),
    ],
)
def test_what_is_no_condition_is_refused_with_the_column_and_the_mend(text: str, message: str) -> None:
    """At load, not at the first call."""
    with pytest.raises(PolicyError) as refused:
        compile_condition(text)
    assert str(refused.value).startswith(message)


def test_length_and_depth_are_bounded() -> None:
    """So is the work of every evaluation."""
    with pytest.raises(PolicyError, match="longer than 100000"):
        compile_condition("args.x == 1" + " " * MAX_LENGTH)
    with pytest.raises(PolicyError, match="longer than 2000"):
        compile_condition(f'args.y and args.x == "{"x" * MAX_PART_LENGTH}"')
    compile_condition(" and ".join(f'args.x != "{number}"' for number in range(500)))
    for deep in ("not " * MAX_DEPTH + "args.x", "-" * 500 + "args.x == 1", "args" + ".x" * 100 + " == 1"):
        with pytest.raises(PolicyError, match="nested deeper"):
            compile_condition(deep)
    for parenthesised in ("(" * 900 + "args.x" + ")" * 900, "[" * 900 + "]" * 900):
        with pytest.raises(PolicyError):
            compile_condition(parenthesised)


OfSize: TypeAlias = "Callable[[int], object]"

LONG_TEXTS: list[tuple[str, OfSize]] = [
    (" or ".join(f'glob(args.x, "*{n}*b*c*d*e")' for n in range(50)), lambda size: "a" * size),
    ('"a" in args.x', lambda size: "b" * size),
    ('"a" in args.x', lambda size: "é" * size),
    ('args.x == "a"', lambda size: "[" * size),
    ('path_under(args.x, "/srv")', lambda size: "/" * size),
]


@pytest.mark.parametrize(("text", "of_size"), LONG_TEXTS)
def test_a_long_text_is_no_more_work_than_a_short_one(text: str, of_size: OfSize) -> None:
    """As far as work is calls: what is done to the text is done by functions that take linear time."""
    short, long = work_of(text, of_size(6_000)), work_of(text, of_size(60_000))
    assert short == long


TOO_LARGE: list[tuple[str, OfSize]] = [
    ('"a" in args.x', lambda size: "b" * size),
    ('"a" in args.x', lambda size: ["b"] * size),
    ("has(args.x.y)", lambda size: {f"k{n}": 1 for n in range(size)}),
    ("args.x.k1", lambda size: {f"k{n}": 1 for n in range(size)}),
    ("any_of(args.x, args.x)", lambda size: ["b"] * size),
    ('lower(args.x) == "a"', lambda size: "b" * size),
]


@pytest.mark.parametrize(("text", "of_size"), TOO_LARGE)
def test_what_is_too_large_is_not_looked_at(text: str, of_size: OfSize) -> None:
    """It has no answer, and is no more work the larger it is."""
    assert isinstance(answer(text, {"x": of_size(70_000)}), str)
    some, more = work_of(text, of_size(70_000)), work_of(text, of_size(140_000))
    assert some == more < 200


def work_of(text: str, value: object) -> int:
    """How many calls it takes to judge a value, when all that is made only once is made."""
    condition, judged = compile_condition(text), facts({"x": value})

    def judge() -> None:
        with suppress(Unevaluable):
            condition.holds(judged)

    judge()
    return calls(judge)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
CONDITIONS = [
    'args.x == "a"',
    "args.x < 5",
    "args.x",
    "not args.x",
    '"a" in args.x',
    'args.x in ["a"]',
    "len(args.x) > 2",
    'startswith(args.x, "a") or endswith(args.x, "b")',
    'glob(args.x, "a*")',
    'lower(args.x) == "a"',
    'path_under(args.x, "/srv")',
    'cidr(args.x, "10.0.0.0/8")',
    'any_of(args.x, ["a"])',
    "has(args.x.y)",
    'args.x.y == "a" or args.x[0] == "a"',
    "args.x + 1 > args.x - 1",
    "-args.x < 1",
]


@given(text=st.sampled_from(CONDITIONS), value=JSON)
def test_every_value_gives_true_false_or_no_answer(text: str, value: object) -> None:
    """Nothing that a client sends raises anything else."""
    assert isinstance(answer(text, {"x": value}), bool | str)


@given(st.text(alphabet="args.x ()[]'\"=<>!+-*andornti0123é\n#:,@{}\\", max_size=60))
def test_every_text_compiles_or_is_refused(text: str) -> None:
    """Nothing that is written in a file raises anything else."""
    with suppress(PolicyError):
        compile_condition(text)


def test_every_function_and_fact_is_documented() -> None:
    """The page is what a user has."""
    page = (Path(__file__).parents[2] / "docs/policy.md").read_text()
    for name in (*FUNCTIONS, *FACTS):
        root, _, member = name.partition(".")
        assert f"`{name}" in page or (f"`{root}.{{" in page and member in page), name


def test_a_call_is_unchanged_by_being_judged() -> None:
    """The application receives what was judged."""
    arguments = {"x": {"y": ["a"]}}
    message = call("t", arguments)
    compile_condition('has(args.x.y) and "a" in args.x.y').holds(facts(message=message))
    assert message.arguments == arguments
