"""Policies as files: several in one, the tests inside, and what is written out reads back the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpauth_middleware.policy import ClientMatch, Policy, PolicyError, Rule, TimeWindow
from mcpauth_middleware.policy.rules import MATCHERS, MODES
from tests.middleware.gate_helpers import call
from tests.middleware.policy_helpers import allow, policy, someone

if TYPE_CHECKING:
    from pathlib import Path

    from mcpauth_middleware.policy.rules import Effect

WHOLE = """
version = 1

[scopes]
"files:write" = ["files:read"]

[claims]
groups = ["realm_access", "roles"]
tenant = "tid"

[[rules]]
id = "readers"
allow = { tools = ["files.read", "files.list"], resources = ["file:///srv/share/**"] }
scopes = ["files:read"]

[[rules]]
id = "own tenant"
allow = { tools = ["files.fetch"] }
when = 'path_under(args.path, "/srv/share") and principal.tenant == args.tenant'

[[rules]]
id = "writers in office hours"
allow = { tools = ["files.write"] }
scopes = ["files:write"]
groups = ["ops"]
claims = { level = [1, 2], "https://acme.example/vip" = true }
client = { host = ["claude.ai", "*.acme.com"] }
tenant = ["acme"]
ip = ["10.0.0.0/8"]
time = { zone = "Europe/Paris", days = "mon-fri", hours = "08:00-19:00" }
protocol = ["2026-07-28"]

[[rules]]
id = "destructive"
deny = { tools = ["*"] }
tags = ["open_world"]
annotations = { destructiveHint = true }
mode = "shadow"

[[tests]]
call = { tool = "files.read", args = { path = "/srv/share/a" } }
as = { scopes = ["files:write"] }
expect = "allow"

[[tests]]
call = { tool = "files.read" }
expect = "step_up"
scopes = ["files:read"]
rule = "readers"

[[tests]]
call = { tool = "files.fetch", args = { path = "/srv/share/../hr", tenant = "a" } }
as = { tenant = "a" }
expect = "deny"

[[tests]]
call = { tool = "files.write" }
env = { ip = "10.1.1.1", time = 2025-11-24T09:00:00Z }
expect = "allow"
[tests.as]
scopes = ["files:write"]
groups = ["ops"]
tenant = "acme"
client_id = "https://claude.ai/c"
claims = { level = 2, "https://acme.example/vip" = true }

[[tests]]
call = { tool = "files.write" }
env = { ip = "10.1.1.1", time = 2025-11-24T20:00:00Z }
expect = "deny"
[tests.as]
scopes = ["files:write"]
groups = ["ops"]
tenant = "acme"
client_id = "https://claude.ai/c"
claims = { level = 2, "https://acme.example/vip" = true }

[[tests]]
call = { resource = "file:///srv/share/a/b" }
as = { scopes = ["files:read"], sub = "bob" }
expect = "allow"

[[tests]]
call = { method = "tasks/get" }
expect = "deny"

[[tests]]
call = { prompt = "greet", args = { name = "x" } }
env = { protocol = "2025-06-18", client = { name = "inspector", version = "1" } }
expect = "deny"
"""


def test_the_tests_inside_a_file_pass(tmp_path: Path) -> None:
    """The file of the documentation."""
    file = tmp_path / "policy.toml"
    file.write_text(WHOLE)
    loaded = Policy.from_file(file, test=True)
    assert loaded.run_tests() == []
    assert len(loaded.tests) == 8
    assert Policy.from_toml(loaded.to_toml(), test=True).rules == loaded.rules
    assert Policy.from_toml(loaded.to_toml()).bundle == loaded.bundle
    assert Policy.from_toml(loaded.to_toml()).tests == loaded.tests


RULE = 'version = 1\n[[rules]]\nid = "a"\nallow = { tools = ["t"] }\nscopes = ["s"]\n[[tests]]\n'


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        ('call = { tool = "t" }\nexpect = "allow"', 'expected allow, got step_up (scope) by rule "a"'),
        ('call = { tool = "u" }\nexpect = "allow"', "expected allow, got deny (no_rule)"),
        (
            'call = { tool = "t" }\nexpect = "step_up"\nscopes = ["s", "x"]',
            'expected the scopes [s, x], got [s] by rule "a"',
        ),
        (
            'call = { tool = "t" }\nas = { scopes = ["s"] }\nexpect = "allow"\nrule = "b"',
            'expected rule "b" to decide, got allow by rule "a"',
        ),
        (
            'call = { tool = "u" }\nexpect = "deny"\nrule = "b"',
            'expected rule "b" to decide, got deny by no rule',
        ),
    ],
)
def test_a_test_that_fails_says_how(test: str, problem: str) -> None:
    """And a policy that is loaded with its tests is not loaded."""
    assert Policy.from_toml(RULE + test).run_tests() == [f"<policy>: tests[0]: {problem}"]
    with pytest.raises(PolicyError) as refused:
        Policy.from_toml(RULE + test, test=True)
    assert str(refused.value) == f"<policy>: tests[0]: {problem}"


def test_a_test_that_fails_only_since_rules_are_in_shadow_mode_says_so() -> None:
    """Whoever tries a policy out has not got it wrong."""
    test = 'call = { tool = "t" }\nas = { scopes = ["s"] }\nexpect = "allow"'
    shadow = RULE.replace("version = 1", 'version = 1\nmode = "shadow"')
    assert Policy.from_toml(shadow + test).run_tests() == [
        "<policy>: tests[0]: expected allow, got deny (no_rule); it would be so with the rules in shadow mode"
    ]


T, DENY = 'call = { tool = "t" }\n', '\nexpect = "deny"'


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ('expect = "allow"', ".call: must be a table"),
        ("call = {}" + DENY, ".call: must name one of tool, prompt, resource, method"),
        (
            'call = { tool = "t", prompt = "p" }' + DENY,
            ".call: must name one of tool, prompt, resource, method",
        ),
        (T, '.expect: must be "allow", "deny" or "step_up", not None'),
        (T + 'expect = "ok"', ".expect: must be"),
        ('call = { tool = "" }' + DENY, ".call.tool: must be a text"),
        ('call = { tool = "t", arg = {} }' + DENY, '.call.arg: unknown key; did you mean "args"?'),
        ('call = { tool = "t", args = [] }' + DENY, ".call.args: must be a table"),
        ('call = { tool = "t", args = { a = nan } }' + DENY, ".call.args.a: must be what JSON"),
        ('call = { tool = "t", args = { a = [1979-05-27] } }' + DENY, ".call.args.a[0]: must be"),
        ('call = { resource = "file:///a/../b" }' + DENY, ".call: no client can send this"),
        (T + 'as = { scope = ["s"] }' + DENY, ".as.scope: unknown key"),
        (T + 'as = { scopes = "s" }' + DENY, ".as.scopes: must be a list"),
        (T + "as = { sub = 7 }" + DENY, ".as.sub: must be a text"),
        (T + "env = { time = 2025-01-01T00:00:00 }" + DENY, ".env.time: must be"),
        (T + 'env = { client = { nam = "x" } }' + DENY, ".env.client.nam"),
        (T + 'env = { ip = "10.0.0.0/8" }' + DENY, ".env.ip: '10.0.0.0/8' is no address; write one such"),
        (T + 'as = { scopes = ["a b"] }' + DENY, ".as.scopes[0]: is not a scope"),
        (
            'call = { resource = "file:///a", args = { x = 1 } }' + DENY,
            ".call.args: only tools and prompts have them",
        ),
        ('call = { method = "tasks/get", args = { x = 1 } }' + DENY, ".call.args: only tools and"),
        ('call = { prompt = "p", tags = ["x"] }' + DENY, ".call.tags: only tools have them"),
        ('call = { prompt = "p", annotations = {} }' + DENY, ".call.annotations: only tools have them"),
        (T + 'why = "x"' + DENY, ".why: unknown key"),
    ],
)
def test_a_test_that_is_no_test_refuses_to_load(test: str, message: str) -> None:
    """Like everything else in the file."""
    with pytest.raises(PolicyError) as refused:
        Policy.from_toml(RULE + test, name="p")
    assert str(refused.value).startswith(f"p: tests[0]{message}")


def test_tests_are_a_list_of_tables() -> None:
    """As rules are."""
    for text in ("version = 1\ntests = 1", "version = 1\ntests = [1]", "version = 1\n[tests]\na = 1"):
        with pytest.raises(PolicyError, match=r"^<policy>: tests"):
            Policy.from_toml(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[claims]\ngroup = 'x'", "claims.group: unknown key; known are groups, tenant"),
        ("[claims]\ngroups = []", "claims.groups: must be the name of a claim"),
        ("[claims]\ngroups = ['a', 1]", "claims.groups: must be"),
        ("claims = 'groups'", "claims: must be a table"),
        ("mode = 'on'", 'mode: must be "enforce", "shadow" or "off"'),
    ],
)
def test_what_is_wrong_at_the_top_of_a_file_is_refused(text: str, message: str) -> None:
    """With the key and the mend."""
    with pytest.raises(PolicyError) as refused:
        Policy.from_toml("version = 1\n" + text, name="p")
    assert str(refused.value).startswith(f"p: {message}")


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("groups = []", "groups: is empty"),
        ("claims = {}", "claims: is empty"),
        ("client = {}", "client: is empty; give it"),
        ("client = { hosts = ['a'] }", 'client.hosts: unknown key; did you mean "host"?'),
        ("time = { hour = 1 }", "time.hour: unknown key"),
        ("time = { hours = 8 }", "time.hours: 8: write"),
        ("when = 'args.x is 1'", "when: column 1: is"),
        ("claims = { a = 1979-05-27 }", "claims.a: must be"),
        ("claims = { a = inf }", "claims.a: must be"),
    ],
)
def test_a_wrong_condition_in_a_file_is_refused_with_its_path(condition: str, message: str) -> None:
    """The words are those of rules in code."""
    with pytest.raises(PolicyError) as refused:
        Policy.from_toml(file_of("a", condition), name="p")
    assert str(refused.value).startswith(f"p: rules[0].{message}")


TESTED = '[[tests]]\ncall = { tool = "b" }\nexpect = "allow"'


def file_of(rule_id: str, more: str = "", top: str = "") -> str:
    return f'version = 1\n{top}\n[[rules]]\nid = "{rule_id}"\nallow = {{ tools = ["{rule_id}"] }}\n{more}'


def test_the_mode_of_a_file_is_the_most_its_rules_can_do() -> None:
    """A file that is tried out enforces nothing, whatever its rules say."""
    for of_file in MODES:
        for of_rule in MODES:
            loaded = Policy.from_toml(file_of("a", f'mode = "{of_rule}"', f'mode = "{of_file}"'))
            assert loaded.rules[0].mode == min(of_file, of_rule, key=MODES.index)


def test_several_files_are_one_policy(tmp_path: Path) -> None:
    """Their rules, tests and hierarchies together; the order of files changes no decision."""
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text(file_of("a", top='scopes = { w = ["r"] }') + TESTED)
    two.write_text(file_of("b", top='scopes = { w = ["x"], admin = ["w"] }\nclaims = { tenant = "tid" }'))
    for files in ((one, two), (two, one)):
        merged = Policy.from_file(*files, test=True)
        assert {rule.id for rule in merged.rules} == {"a", "b"}
        assert merged.known_scopes == {"w", "r", "x", "admin"}
        assert merged.claim_names.tenant == ("tid",)
    with pytest.raises(PolicyError, match="expected allow, got deny"):
        Policy.from_file(one, test=True)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (file_of("a"), 'id: "a" is already the id of another rule'),
        (file_of("b", top='claims = { tenant = "other" }'), "claims: the policies name different ones"),
        (file_of("b", top='scopes = { r = ["w"] }'), "a scope cannot imply itself: "),
    ],
)
def test_files_that_contradict_each_other_are_refused(tmp_path: Path, second: str, message: str) -> None:
    """Which of them holds must be a decision of a person."""
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text(file_of("a", top='scopes = { w = ["r"] }\nclaims = { tenant = "tid" }'))
    two.write_text(second)
    with pytest.raises(PolicyError, match=message):
        Policy.from_file(one, two)


def test_code_and_file_are_merged_too() -> None:
    """Decorators beside the tools, and a file of the operator."""
    merged = Policy.merged(policy(allow("code")), Policy.from_toml(file_of("file")))
    assert [rule.id for rule in merged.rules] == ["code", "file"]
    assert merged.decide(call("t"), someone()).rule == "code"


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """Memory is not the operator's only limit."""
    file = tmp_path / "large.toml"
    file.write_bytes(b"#" * (5 * 1024 * 1024))
    with pytest.raises(PolicyError, match="larger than"):
        Policy.from_file(file)
    with pytest.raises(PolicyError, match="nested too deeply"):
        Policy.from_toml("version = 1\na = " + "[" * 100_000)


PRINTABLE = st.characters(
    codec="utf-8",
    exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cn", "Co", "Cf", "Zs"],
    exclude_characters="*?[]{}",
)
TEXT = st.text(PRINTABLE, min_size=1, max_size=8)
NAMES = st.lists(TEXT, min_size=1, max_size=3).map(tuple)
NUMBER = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALAR = TEXT | st.booleans() | NUMBER
CLAIM = TEXT | st.booleans() | st.integers(-9, 9) | st.lists(TEXT, min_size=1, max_size=2).map(tuple)
WHENS = [
    "args.x == 1",
    'args.x == "\\"é\\\\" or has(args.y)',
    "(args.x < 5\n and not args.y)",
    "args['a\\tb'] == 1",
]


EFFECTS: tuple[Effect, ...] = ("allow", "deny")
SCOPE = st.from_regex(r"[!#-\[\]-~]{1,5}", fullmatch=True)
ID = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)

# An IPv4 address that is mapped into IPv6 is no network of a rule.
ADDRESS = st.ip_addresses().map(str).filter(lambda address: not address.startswith("::ffff:"))


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    effect: Effect = draw(st.sampled_from(EFFECTS))
    members: dict[str, Any] = {"tools": draw(NAMES)}
    if draw(st.booleans()):
        members["methods"] = draw(NAMES)
    elif draw(st.booleans()):
        members["tags"] = draw(NAMES)
        members["annotations"] = draw(st.dictionaries(TEXT, SCALAR, max_size=2))
    if effect == "allow":
        members["scopes"] = tuple(draw(st.lists(SCOPE, max_size=2)))
    for key, strategy in {
        "groups": NAMES,
        "tenant": NAMES,
        "protocol": NAMES,
        "claims": st.dictionaries(TEXT, CLAIM, max_size=3),
        "client": st.builds(ClientMatch, id=NAMES, name=NAMES),
        "ip": ADDRESS.map(lambda address: (address,)),
        "time": st.builds(TimeWindow, days=st.sampled_from(["mon", "tue-sat"]), hours=st.just("08:00-09:30")),
        "when": st.sampled_from(WHENS),
        "mode": st.sampled_from(MODES),
    }.items():
        if draw(st.booleans()):
            members[key] = draw(strategy)
    return Rule(id=draw(ID), effect=effect, **members)


@given(st.lists(rules(), max_size=4, unique_by=lambda rule: rule.id))
def test_what_is_written_out_reads_back_to_the_same_rules(made: list[Rule]) -> None:
    """Code to TOML to code, whatever characters there are in it."""
    written = Policy(scopes={"w": ["r"]}, claims={"groups": ["a b", "ü"]})
    for rule in made:
        written.add(rule)
    read = Policy.from_toml(written.to_toml())
    assert read.rules == written.rules
    assert (read.bundle, read.scopes, read.claim_names) == (
        written.bundle,
        written.scopes,
        written.claim_names,
    )
    assert set(MATCHERS) == {"tools", "prompts", "resources", "methods"}


def test_a_bundle_says_what_decides_and_not_how_it_is_tested() -> None:
    """Tests and comments do not change it; every rule and the hierarchy do."""
    plain = Policy.from_toml(file_of("a"))
    assert Policy.from_toml("# a comment\n" + file_of("a")).bundle == plain.bundle
    assert Policy.from_toml(file_of("a") + TESTED).bundle == plain.bundle
    others = [
        file_of("a", "groups = ['x']"),
        file_of("a", "mode = 'shadow'"),
        file_of("b"),
        file_of("a", top='scopes = { w = ["r"] }'),
        file_of("a", top='claims = { tenant = "tid" }'),
    ]
    assert len({plain.bundle, *(Policy.from_toml(text).bundle for text in others)}) == 6
