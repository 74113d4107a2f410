"""Policies in TOML: what is read, and that everything else is refused with the key and the mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcpauth_middleware.policy import Policy, PolicyError, Rule

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """
version = 1
[scopes]
"files:write" = ["files:read"]          # write implies read
[[rules]]
id = "readers"
allow = { tools = ["read_file", "list_*"], prompts = [], resources = ["file:///srv/share/**"], methods = [] }
scopes = ["files:read"]
[[rules]]
id = "never"
deny = { tools = ["drop_*"] }
"""


def test_a_file_is_read_into_rules(tmp_path: Path) -> None:
    """The example of the documentation."""
    file = tmp_path / "policy.toml"
    file.write_text(POLICY)
    policy = Policy.from_file(file)
    assert policy.rules == (
        Rule(
            id="readers",
            effect="allow",
            tools=("read_file", "list_*"),
            resources=("file:///srv/share/**",),
            scopes=("files:read",),
        ),
        Rule(id="never", effect="deny", tools=("drop_*",)),
    )
    assert policy.known_scopes == {"files:read", "files:write"}


def test_a_decorator_and_a_file_give_the_same_rules() -> None:
    """One internal form."""
    policy = Policy()

    @policy.requires("files:write", "files:read")
    def write_file() -> None: ...

    @policy.requires()
    def ping() -> None: ...

    text = """
    version = 1
    [[rules]]
    id = "write_file"
    allow = { tools = ["write_file"] }
    scopes = ["files:write", "files:read"]
    [[rules]]
    id = "ping"
    allow = { tools = ["ping"] }
    """
    assert policy.rules == Policy.from_toml(text).rules
    assert (write_file(), ping()) == (None, None)


@pytest.mark.parametrize("text", ["version = 1", "version = 1\n[scopes]", "version = 1\nrules = []"])
def test_a_policy_may_have_no_rules(text: str) -> None:
    """It denies everything."""
    assert Policy.from_toml(text).rules == ()


RULE = 'version = 1\n[[rules]]\nid = "a"\n'
OK = 'allow = { tools = ["t"] }\n'

WRONG = [
    ("", "policy.toml: version: missing; write version = 1"),
    ("version = 2", "policy.toml: version: 2 is not known; write version = 1"),
    ("version = true", "policy.toml: version: True is not known; write version = 1"),
    ("version = 1.0", "policy.toml: version: 1.0 is not known; write version = 1"),
    ('version = "1"', "policy.toml: version: '1' is not known; write version = 1"),
    ("version = 1\nrule = []", 'policy.toml: rule: unknown key; did you mean "rules"?'),
    ("version = 1\nscope = {}", 'policy.toml: scope: unknown key; did you mean "scopes"?'),
    ("version = 1\ndefault = 'allow'", "policy.toml: default: unknown key; known are version, mode, scopes"),
    ("version = 1\nscopes = []", "policy.toml: scopes: must be a table"),
    (
        "version = 1\nscopes = { a = 'b' }",
        'policy.toml: scopes.a: must be a list of scopes, as in ["a:read"]',
    ),
    ("version = 1\nscopes = { a = ['b c'] }", "policy.toml: scopes.a[0]: is not a scope"),
    (
        "version = 1\nscopes = { a = ['b'], b = ['a'] }",
        "policy.toml: scopes: a scope cannot imply itself: a -> b -> a",
    ),
    ("version = 1\n[rules]\nid = 'a'", "policy.toml: rules: must be written as [[rules]]"),
    ("version = 1\nrules = ['a']", "policy.toml: rules[0]: must be a table"),
    ("version = 1\n[[rules]]\n" + OK, "policy.toml: rules[0].id: missing"),
    ("version = 1\n[[rules]]\nid = 7\n" + OK, "policy.toml: rules[0].id: must be a name"),
    ("version = 1\n[[rules]]\nid = ''\n" + OK, "policy.toml: rules[0].id: must be a name"),
    (RULE, "policy.toml: rules[0]: must have either allow or deny"),
    (RULE + OK + "deny = { tools = ['u'] }", "policy.toml: rules[0]: must have either allow or deny"),
    (
        RULE + OK + "quota = []",
        "policy.toml: rules[0].quota: unknown key; known are id, allow, deny, scopes",
    ),
    (
        RULE + OK + "when = 'true'",
        "policy.toml: rules[0].when: column 1: write True",
    ),
    (RULE + OK + "scope = ['a']", 'policy.toml: rules[0].scope: unknown key; did you mean "scopes"?'),
    (RULE + OK + "scopes = 'a'", "policy.toml: rules[0].scopes: must be a list of scopes"),
    (RULE + OK + "scopes = ['a b']", "policy.toml: rules[0].scopes[0]: is not a scope"),
    (RULE + OK + "scopes = ['a', 1]", "policy.toml: rules[0].scopes[1]: is not a scope"),
    (RULE + "allow = ['t']", "policy.toml: rules[0].allow: must be a table"),
    (RULE + "allow = {}", "policy.toml: rules[0].allow: names nothing; give it one of tools, prompts"),
    (RULE + "allow = { tools = [] }", "policy.toml: rules[0].allow: names nothing"),
    (
        RULE + "allow = { tool = ['t'] }",
        'policy.toml: rules[0].allow.tool: unknown key; did you mean "tools"?',
    ),
    (
        RULE + "deny = { Tools = ['t'] }",
        'policy.toml: rules[0].deny.Tools: unknown key; did you mean "tools"?',
    ),
    (RULE + "allow = { tools = 't' }", "policy.toml: rules[0].allow.tools: must be a list of patterns"),
    (RULE + "allow = { tools = [1] }", "policy.toml: rules[0].allow.tools[0]: 1: must be a string"),
    (
        RULE + "allow = { tools = ['t', 'x?'] }",
        "policy.toml: rules[0].allow.tools[1]: 'x?': ? has no meaning",
    ),
    (RULE + "allow = { resources = ['file:///a/**b'] }", "policy.toml: rules[0].allow.resources[0]: "),
    (
        RULE + "deny = { methods = ['tasks/*', 'tools/call'] }",
        "policy.toml: rules[0].deny.methods[1]: 'tools/call': is decided by what it asks for",
    ),
    (
        RULE + OK + "annotations = { destructiveHint = 'true' }",
        "policy.toml: rules[0].annotations.destructiveHint: must be true or false",
    ),
    (
        RULE + OK + "annotations = { readOnlyHint = 1 }",
        "policy.toml: rules[0].annotations.readOnlyHint: must be true or false",
    ),
    (
        RULE + OK + "client = { host = ['*.acme.com:443'] }",
        "policy.toml: rules[0].client.host[0]: '*.acme.com:443': leave out :443, the port of https",
    ),
    (RULE + "deny = { tools = ['t'] }\nscopes = ['a']", "policy.toml: rules[0].scopes: a deny rule denies"),
    (
        RULE + OK + '[[rules]]\nid = "b"\n' + OK + '[[rules]]\nid = "a"\n' + OK,
        'policy.toml: rules[2].id: "a" is already the id of rules[0]',
    ),
    ("version = 1\nversion = 1", "policy.toml: not valid TOML: "),
    ("version = ", "policy.toml: not valid TOML: "),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_whatever_is_wrong_refuses_to_load_and_says_where(text: str, message: str) -> None:
    """A key that is silently ignored is a rule that silently does not hold."""
    with pytest.raises(PolicyError) as refused:
        Policy.from_toml(text, name="policy.toml")
    assert str(refused.value).startswith(message)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """At start-up, not at the first call."""
    with pytest.raises(PolicyError, match=r"missing\.toml: cannot be read: No such file"):
        Policy.from_file(tmp_path / "missing.toml")
    with pytest.raises(PolicyError, match="cannot be read"):
        Policy.from_file(tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# \xe9\nversion = 1")
    with pytest.raises(PolicyError, match="not UTF-8"):
        Policy.from_file(latin)


def test_a_wrong_rule_in_code_is_refused_alike() -> None:
    """The same checks in the same words, without the path."""
    with pytest.raises(PolicyError, match=r"^allow\.tools\[0\]: 'x\?': "):
        Rule(id="a", effect="allow", tools=("x?",))
    with pytest.raises(PolicyError, match=r"^allow\.tools: must be a list"):
        Rule(id="a", effect="allow", tools="search")  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match=r'^effect: must be "allow" or "deny"'):
        Rule(id="a", effect="permit", tools=("t",))  # type: ignore[arg-type]


def test_two_rules_of_one_id_are_refused_also_from_two_sources() -> None:
    """A file, and a decorator beside the tool: which of them holds must be a decision of a person."""
    policy = Policy.from_toml(RULE + OK)
    with pytest.raises(PolicyError, match='"a" is already the id of another rule'):
        policy.add(Rule(id="a", effect="allow", tools=("u",)))
    with pytest.raises(PolicyError, match="already"):
        policy.requires("x", tool="a")(print)
    assert [rule.id for rule in policy.rules] == ["a"]
