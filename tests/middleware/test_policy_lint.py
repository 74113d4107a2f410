"""Lint: rules that can be read and still cannot mean what they say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mcpauth_middleware.policy import ClientMatch, Policy, Rule
from tests.middleware.policy_helpers import allow, deny, policy
from tests.middleware.work import calls

if TYPE_CHECKING:
    from collections.abc import Callable


def findings(*rules: Rule, scopes: dict[str, list[str]] | None = None) -> list[tuple[str, str, str | None]]:
    found = policy(*rules, scopes=scopes).lint()
    assert all(str(one).startswith(one.level) for one in found)
    return [(one.level, one.code, one.rule) for one in found]


@pytest.mark.parametrize(
    "rules",
    [
        (),
        (allow(),),
        (allow(), deny(tools=("u",))),
        (allow(tools=("read_*",)), deny(tools=("read_secret*",))),
        (allow("broad", "s", tools=("*",)), allow("narrow", "t", tools=("x",))),
        (allow("a", "s"), allow("b", "t")),
        (allow(tools=("*",)), deny(tools=("*",), when="args.x == 1")),
        (allow(tools=("*",)), deny(tools=("*",), mode="shadow")),
    ],
)
def test_what_makes_sense_is_not_complained_about(rules: tuple[Rule, ...]) -> None:
    """A narrower rule for more scopes, a deny with a condition, an empty policy that is being written."""
    assert findings(*rules) == []


@pytest.mark.parametrize(
    ("allowed", "denied"),
    [
        (("t",), ("t",)),
        (("t",), ("*",)),
        (("read_*",), ("re*",)),
        (("read_*_x",), ("read_*",)),
        (("a", "b"), ("a", "b", "c")),
        (("*a*",), ("*",)),
    ],
)
def test_an_allow_rule_that_is_always_denied_is_an_error(
    allowed: tuple[str, ...], denied: tuple[str, ...]
) -> None:
    """Every pattern of it is covered by a deny rule without conditions."""
    found = findings(allow(tools=allowed), deny(tools=denied), allow("else", tools=("zzz",)))
    assert ("error", "unreachable", "a") in found


def test_a_pattern_that_is_always_denied_is_a_warning() -> None:
    """The rest of the rule still means something."""
    assert findings(allow(tools=("a", "b")), deny(tools=("b",))) == [("warning", "unreachable", "a")]


@pytest.mark.parametrize(
    ("pattern", "cover", "covered"),
    [
        ("file:///srv/**", "file:///**", True),
        ("file:///srv/*", "file:///srv/**", True),
        ("file:///srv/**", "file:///srv/*", False),
        ("file:///srv/**/x", "file:///srv/**", True),
        ("file:///srv/**/x", "file:///srv/*/x", False),
        ("file:///srv/*/x", "file:///srv/**/x", True),
        ("file:///srv/a*", "file:///srv/*", True),
        ("https://h/a", "file:///**", False),
    ],
)
def test_resource_patterns_are_compared_by_what_they_match(pattern: str, cover: str, covered: bool) -> None:
    """`*` is one segment, `**` any number."""
    rules = (
        Rule(id="a", effect="allow", resources=(pattern,)),
        Rule(id="d", effect="deny", resources=(cover,)),
        allow("else"),
    )
    assert (("error", "unreachable", "a") in findings(*rules)) is covered


def test_a_rule_that_a_broader_one_makes_meaningless_is_a_warning() -> None:
    """Whoever lacks its scopes, or does not fit its conditions, is let in by the other."""
    assert findings(allow("all", tools=("*",)), allow("admin", "admin", tools=("drop_*",))) == [
        ("warning", "overridden", "admin")
    ]
    assert findings(allow("all", "s", tools=("*",)), allow("inside", "s", ip=("10.0.0.0/8",))) == [
        ("warning", "overridden", "inside")
    ]


def test_a_policy_that_enforces_nothing_is_an_error() -> None:
    """Everything would be denied, which is rarely meant by someone who writes rules."""
    assert findings(allow(mode="shadow"))[0] == ("error", "nothing-enforced", None)
    assert findings(deny())[0] == ("error", "nothing-enforced", None)


def test_the_same_rule_twice_is_a_warning() -> None:
    """Under another id."""
    assert findings(allow("a", "s", claims={"x": 1}), allow("b", "s", claims={"x": 1})) == [
        ("warning", "duplicate", "b")
    ]
    assert findings(allow("a", "s", claims={"x": 1}), allow("b", "s", claims={"x": 2})) == []


def test_a_pattern_that_another_of_its_rule_covers_is_a_warning() -> None:
    """The narrower one reads as if it were the limit."""
    assert findings(allow(tools=("*", "read_file"))) == [("warning", "redundant-pattern", "a")]
    assert findings(allow(tools=("read", "read"))) == [("warning", "redundant-pattern", "a")]


def test_a_scope_that_nothing_requires_is_a_warning() -> None:
    """A misspelt name in the hierarchy gives nobody anything."""
    assert findings(allow("a", "files:read"), scopes={"files:write": ["file:read"]}) == [
        ("warning", "unused-scope", None),
        ("warning", "unused-scope", None),
    ]
    assert findings(allow("a", "files:read"), scopes={"files:write": ["files:read"]}) == []


def test_a_client_s_own_word_is_a_warning() -> None:
    """Anyone can call itself anything."""
    assert findings(allow(client=ClientMatch(name=("claude",)))) == [("warning", "self-asserted", "a")]
    assert findings(allow(client=ClientMatch(host=("claude.ai",)))) == []


@pytest.mark.parametrize(
    ("wide", "narrow", "scopes"),
    [
        (
            allow("all", "files:read", tools=("files.*",)),
            allow("write", "files:write", tools=("files.write",)),
            {"files:write": ["files:read"]},
        ),
        (
            allow("all", "r", tools=("*",), groups=("staff",)),
            allow("write", "r", "w", tools=("write",), groups=("staff",), when="args.x == 1"),
            {},
        ),
    ],
)
def test_a_rule_for_which_a_weaker_scope_or_the_same_condition_is_enough_is_a_warning(
    wide: Rule, narrow: Rule, scopes: dict[str, list[str]]
) -> None:
    """Whoever reads it believes that writing needs the scope to write."""
    assert findings(wide, narrow, scopes=scopes) == [("warning", "overridden", "write")]
    assert findings(wide, replace(narrow, groups=("ops",))) == []
    assert findings(narrow, replace(wide, mode="shadow"), scopes=scopes) == []


def test_an_allow_rule_that_is_denied_under_its_own_conditions_is_an_error() -> None:
    """Both ask for the same group, so whoever fits the one is denied by the other."""
    contractors = allow("c", groups=("contractors",), when="args.x == 1")
    assert findings(
        contractors, deny(tools=("*",), groups=("contractors",)), allow("else", tools=("u",))
    ) == [
        ("error", "unreachable", "c"),
    ]
    assert findings(contractors, deny(tools=("*",), groups=("interns",))) == []


@pytest.mark.parametrize(
    ("rule", "code", "text"),
    [
        (allow(tools=("files.read ",)), "odd-pattern", "'files.read ': begins or ends with a space"),
        (Rule("a", "allow", prompts=(" greet",)), "odd-pattern", "' greet': begins or ends with a space"),
        (allow(tools=("read,write",)), "odd-pattern", "'read,write': no name of a tool has ',' in it"),
        (allow(tools=("read|write",)), "odd-pattern", "'read|write': no name of a tool has '|' in it"),
        (allow(tools=("^files$",)), "odd-pattern", "'^files$': no name of a tool has '^' in it"),
        (
            Rule("a", "allow", methods=("task/get",)),
            "odd-pattern",
            "'task/get': is no method of MCP; did you mean tasks/get?",
        ),
        (
            Rule("a", "deny", methods=("*",)),
            "odd-pattern",
            "'*': says nothing of tools/call and its like; name tools, prompts and resources for these",
        ),
        (
            Rule("a", "deny", resources=("*",)),
            "odd-pattern",
            "'*': is one segment, so no URI with a / in it;",
        ),
        (Rule("a", "deny", resources=("/srv/**",)), "odd-pattern", "'/srv/**': has no scheme, as URIs have;"),
        (
            Rule("a", "allow", resources=("notes://{name}",)),
            "odd-pattern",
            "'notes://{name}': {name} stands for itself, as in a list of templates; write * for a parameter",
        ),
        (allow(groups=("team-*",)), "literal-star", "groups: 'team-*' is compared as it stands; name each"),
        (deny("a", tags=("pii-*",)), "literal-star", "tags: 'pii-*' is compared as it stands; name each"),
        (
            allow(tenant=("acme-*",)),
            "literal-star",
            "tenant: 'acme-*' is compared as it stands; for a pattern write when = glob(principal",
        ),
        (
            allow(claims={"email": ("*@acme.com",)}),
            "literal-star",
            "claims.email: '*@acme.com' is compared as it stands; for a pattern write when = glob(",
        ),
        (
            allow(annotations={"destrutiveHint": True}),
            "unknown-annotation",
            "annotations.destrutiveHint: MCP has no such annotation; did you mean destructiveHint?",
        ),
        (
            allow(annotations={"readonly": True}),
            "unknown-annotation",
            "annotations.readonly: MCP has no such annotation; did you mean readOnlyHint?",
        ),
        (
            allow(protocol=("2025-06-17",)),
            "unknown-protocol",
            "protocol: '2025-06-17' is no known revision; known are 2024-11-05, 2025-03-26",
        ),
        (
            allow(when='startswith(resource.uri, "file:///srv/")'),
            "wrong-fact",
            "when: no tool has resource.uri; leave it out",
        ),
        (
            Rule("a", "allow", resources=("**",), when="args.path == 'x'"),
            "wrong-fact",
            "when: no resource has args.path; leave it out",
        ),
        (
            Rule("a", "deny", tools=("*",), resources=("**",), when="args['x'] == 1"),
            "wrong-fact",
            "when: no resource has args['x']; make a rule of its own for each resource",
        ),
    ],
)
def test_a_slip_of_the_pen_is_a_warning(rule: Rule, code: str, text: str) -> None:
    """It could be meant so, and hardly ever is: such a rule allows nothing, or denies nothing."""
    [found] = policy(rule, allow("else", tools=("u",))).lint()
    assert (found.level, found.code, found.rule) == ("warning", code, "a")
    assert found.text.startswith(text)


@pytest.mark.parametrize(
    "rule",
    [
        allow(tools=("a/b", "a:b", "files.read-1_x", "*")),
        Rule("a", "allow", prompts=("say hello, world",)),
        Rule("a", "allow", methods=("tasks/*", "acme/run")),
        Rule("a", "deny", tools=("*",), prompts=("*",), resources=("**",), methods=("*",)),
        Rule("a", "allow", resources=("**", "*/x", "mailto:*", "https://h/**", "*://h/x", "f*/**")),
        Rule("a", "allow", resources=("search://items", "search://items{?q}")),
        allow(claims={"level": (1, 2), "x": "y"}, annotations={"title": "x", "costly": True}),
        allow(protocol=("2026-*", "2025-11-25")),
        Rule("a", "deny", tools=("*",), resources=("**",), when="method == 'tools/call' and args.x == 1"),
        Rule("a", "allow", tools=("t",), prompts=("p",), when="args.x == 'a' and principal.sub == 'b'"),
    ],
)
def test_what_is_usual_is_no_slip(rule: Rule) -> None:
    """A warning that is mostly wrong is not read."""
    others = ("nothing-enforced", "unreachable", "redundant-pattern")
    assert [found for found in policy(rule).lint() if found.code not in others] == []


RULES = """
version = 1
[[rules]]
id = "all"
allow = { tools = ["files.delete", "files.read"] }
client = { name = ["c"], id = ["a-client"] }
[[rules]]
id = "gentle"
deny = { tools = ["files.delete"] }
annotations = { destructiveHint = true }
[[rules]]
id = "tried"
deny = { tools = ["files.read"] }
mode = "shadow"
ip = ["10.0.0.0/8"]
"""


@pytest.mark.parametrize(
    ("test", "found"),
    [
        (
            'call = { tool = "files.delete" }',
            "[0] is denied since how the tool is annotated is not known; tell",
        ),
        ('call = { tool = "files.delete", annotations = {} }', None),
        ('call = { tool = "files.read" }', "[0] is denied since the client's name is not known; tell it"),
        ('call = { tool = "files.read" }\nenv = { client = { name = "x" } }', None),
        ('call = { tool = "files.read" }\nas = { client_id = "x" }', None),
        (
            'call = { tool = "file.delete" }',
            "[0]: no rule is about the tool 'file.delete'; did you mean files.del",
        ),
        ('call = { tool = "admin" }', None),
        ('call = { prompt = "files.delet" }', None),
    ],
)
def test_a_test_that_passes_whatever_the_rules_say_is_a_warning(test: str, found: str | None) -> None:
    """It was denied, and the rule that it is about was never asked."""
    made = Policy.from_toml(f'{RULES}[[tests]]\n{test}\nexpect = "deny"\n', test=True)
    vague = [one for one in made.lint() if one.code == "vague-test"]
    assert [one.text.startswith(f"<policy>: tests{found}") for one in vague] == [True] * (found is not None)
    assert {one.level for one in vague} <= {"warning"}


def test_a_test_that_fails_is_not_called_vague() -> None:
    """Its failure tells more."""
    test = '[[tests]]\ncall = { tool = "files.read" }\nenv = { client = { name = "c" } }\nexpect = "deny"\n'
    made = Policy.from_toml(RULES + test)
    assert len(made.run_tests()) == 1
    assert "vague-test" not in {one.code for one in made.lint()}


def many_rules(count: int) -> Policy:
    made = Policy()
    for number in range(count):
        made.add(allow(f"a{number}", "s", tools=(f"tool{number}_*", f"x{number}")))
    return made


def many_patterns(count: int) -> Policy:
    return policy(allow("a", tools=tuple(f"tool{number}_*" for number in range(count))))


@pytest.mark.parametrize("made", [many_rules, many_patterns])
def test_twice_as_much_is_twice_the_work(made: Callable[[int], Policy]) -> None:
    """Reloading waits for it: of rules, and of the patterns in one."""
    small, large = made(100), made(200)
    assert calls(large.lint) <= 2.2 * calls(small.lint)
    assert large.lint() == []
