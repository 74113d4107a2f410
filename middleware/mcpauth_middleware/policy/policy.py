"""The policy of one protected server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mcpauth_middleware.integrations.registered import registered
from mcpauth_middleware.message.target import Target
from mcpauth_middleware.policy.decide import decide_all, decide_with_shadow, outcome_of
from mcpauth_middleware.policy.decorators import Requirement, marked_rules, tool_name
from mcpauth_middleware.policy.errors import PolicyError
from mcpauth_middleware.policy.explain import Explanation, explain_rule
from mcpauth_middleware.policy.export import to_toml
from mcpauth_middleware.policy.facts import NOTHING_KNOWN, ClaimNames, Facts
from mcpauth_middleware.policy.file import read_file, read_policy
from mcpauth_middleware.policy.index import RuleIndex
from mcpauth_middleware.policy.lint import lint
from mcpauth_middleware.policy.rules import MATCHERS
from mcpauth_middleware.policy.scopes import ScopeHierarchy
from mcpauth_middleware.policy.vague_tests import vague_tests

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from typing import Unpack

    from mcpauth_middleware.message.request import Message
    from mcpauth_middleware.message.target import TargetKind
    from mcpauth_middleware.policy.decide import Decision
    from mcpauth_middleware.policy.examples import Example
    from mcpauth_middleware.policy.facts import Context
    from mcpauth_middleware.policy.finding import Finding
    from mcpauth_middleware.policy.rule_table import Conditions
    from mcpauth_middleware.policy.rules import Rule
    from mcpauth_middleware.principal import Principal

F = TypeVar("F", bound=Any)


class Policy:
    """Rules, and the scope hierarchy they are read under. What no rule allows is denied.

    Args:
        scopes: Broader scopes and what they imply, as in `{"files:write": ["files:read"]}`.
        claims: The claims of the token that hold groups and tenant, as in
            `{"groups": ["realm_access", "roles"], "tenant": "tid"}`; default: `groups` and `tenant`.

    Raises:
        PolicyError: a scope implies itself, or is no scope.
    """

    def __init__(
        self,
        *,
        scopes: Mapping[str, Sequence[str]] | None = None,
        claims: Mapping[str, str | Sequence[str]] | ClaimNames | None = None,
    ) -> None:
        self._scopes = {scope: list(implied) for scope, implied in (scopes or {}).items()}
        self._hierarchy = ScopeHierarchy(scopes)
        self._claim_names = ClaimNames.of(claims) if isinstance(claims, Mapping) else claims
        self._rules: dict[str, Rule] = {}
        self._tests: list[Example] = []
        self._index = RuleIndex()
        self._bundle = ""

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *more: str | os.PathLike[str], test: bool = False
    ) -> Policy:
        """Read a policy from one or several TOML files; with `test`, run the tests that are in them.

        Raises:
            PolicyError: one cannot be read, or is wrong, or a test fails; the message names the key and
                the mend.
        """
        policies = [cls.from_toml(read_file(file), name=Path(file).name) for file in (path, *more)]
        policy = cls.merged(*policies) if more else policies[0]
        return policy.tested() if test else policy

    @classmethod
    def from_toml(cls, text: str, *, name: str = "<policy>", test: bool = False) -> Policy:
        """Read a policy from the text of a TOML file; `name` is what error messages call it.

        Raises:
            PolicyError: it is wrong; the message names the key and the mend.
        """
        document = read_policy(text, name=name)
        try:
            policy = cls(scopes=document.scopes, claims=document.claims)
        except PolicyError as error:
            raise PolicyError(f"{name}: {error}") from None
        for rule in document.rules:
            policy.add(rule)
        policy._tests.extend(example.in_file(name) for example in document.tests)
        return policy.tested() if test else policy

    @classmethod
    def from_server(
        cls,
        server: object,
        *,
        scopes: Mapping[str, Sequence[str]] | None = None,
        claims: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Policy:
        """The rules that `requires` wrote beside what an `mcp` or FastMCP server has registered so far.

        Raises:
            PolicyError: it is no such server, or what it has registered cannot be marked like this.
        """
        policy = cls(scopes=scopes, claims=claims)
        found = registered(server)
        if found is None:
            raise PolicyError("from_server: give a server of the mcp SDK (1.x, 2.x) or of FastMCP (3, 4)")
        for rule in marked_rules(found):
            policy.add(rule)
        return policy

    @classmethod
    def merged(cls, *policies: Policy) -> Policy:
        """One policy of several. No order of rules decides anything, so neither does that of policies.

        Raises:
            PolicyError: two have a rule of the same id, or hold groups or tenant in different claims, or
                a scope implies itself in the hierarchy they have together.
        """
        scopes: dict[str, list[str]] = {}
        for policy in policies:
            for scope, implied in policy.scopes.items():
                scopes[scope] = list(dict.fromkeys([*scopes.get(scope, ()), *implied]))
        named = {policy.declared_claims for policy in policies} - {None}
        if len(named) > 1:
            raise PolicyError("claims: the policies name different ones; declare them once")
        merged = cls(scopes=scopes, claims=named.pop() if named else None)
        for policy in policies:
            for rule in policy.rules:
                merged.add(rule)
            merged._tests.extend(policy.tests)
        return merged

    def requires(
        self, *scopes: str, tool: str | None = None, **conditions: Unpack[Conditions]
    ) -> Callable[[F], F]:
        """Allow the tool below to whoever holds all of `scopes` and fits the conditions; without any, to
        every authenticated principal.

        The rule has the tool's name for its id. The function itself is returned unchanged.

        Raises:
            PolicyError: the tool has no name to go by, or a rule of that name exists.
        """
        requirement = Requirement(scopes, dict(conditions))

        def allow(decorated: F) -> F:
            name = tool if tool is not None else tool_name(decorated)
            if "*" in name:
                raise PolicyError(f"requires: {name!r} must name one tool; patterns belong into a rule")
            self.add(requirement.rule(name, "tools", name))
            return decorated

        return allow

    def add(self, rule: Rule) -> None:
        """Add a rule.

        Raises:
            PolicyError: a rule with this id is there already.
        """
        if rule.id in self._rules:
            raise PolicyError(f'id: "{rule.id}" is already the id of another rule')
        self._rules[rule.id] = rule
        self._bundle = ""
        if rule.mode != "off":
            self._index.add(rule)

    def decide(self, message: Message, principal: Principal, context: Context = NOTHING_KNOWN) -> Decision:
        """Decide whether the principal may send the message."""
        held, targets = self._hierarchy.held(principal.scopes), message.targets
        if len(targets) == 1:
            return self._decide(targets[0], message, principal, held, context)
        decisions = [self._decide(target, message, principal, held, context) for target in targets]
        return decide_all(decisions, self.bundle)

    def sees(
        self,
        kind: str,
        name: str,
        principal: Principal,
        context: Context = NOTHING_KNOWN,
        message: Message | None = None,
    ) -> bool:
        """Whether the principal may use what is of this kind ("tool", "prompt", "resource") and name.

        It is the decision about using it, before there are any arguments: where it comes to reading
        `args`, the condition of an allow rule counts as held, and that of a deny rule as failed. `message`
        is the one that asked for the list.
        """
        if kind not in MATCHERS.values():
            return False
        target = Target(cast("TargetKind", kind), name)
        held = self._hierarchy.held(principal.scopes)
        return self._decide(target, message, principal, held, context, listing=True).effect == "allow"

    def explain(
        self, message: Message, principal: Principal, context: Context = NOTHING_KNOWN
    ) -> Explanation:
        """The decision, with every rule about the message and every condition of these."""
        held = self._hierarchy.held(principal.scopes)
        explained = [
            explain_rule(rule, Facts(target, principal, held, context, self.claim_names, message))
            for target in message.targets
            for rules in self._index.matching(target)
            for rule in rules
        ]
        return Explanation(self.decide(message, principal, context), tuple(explained))

    def take_events(self) -> Sequence[Mapping[str, Any]]:
        """What has happened to the policy since this was last asked, as audit events: here, nothing."""
        return ()

    def lint(self) -> list[Finding]:
        """What is wrong with the rules and their tests although they can be read."""
        return [*lint(self.rules, self._hierarchy), *vague_tests(self)]

    def run_tests(self) -> list[str]:
        """Run the tests that came with the policy, and say of each that fails how it does."""
        failures: list[str] = []
        for example in self._tests:
            decision = self.decide(example.message(), example.who(self.claim_names), example.context())
            problem = example.problem(decision)
            if problem is not None:
                failures.append(f"{example.where}: {problem}")
        return failures

    def tested(self) -> Policy:
        """The policy itself, once its own tests have passed.

        Raises:
            PolicyError: one did not.
        """
        failures = self.run_tests()
        if failures:
            raise PolicyError("; ".join(failures))
        return self

    def to_toml(self) -> str:
        """The policy as the text of a TOML file, which reads back to the same rules."""
        return to_toml(self._scopes, self.claim_names, self.rules, self.tests)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules, in the order in which they were added."""
        return tuple(self._rules.values())

    @property
    def tests(self) -> tuple[Example, ...]:
        """The tests that came with the policy."""
        return tuple(self._tests)

    @property
    def scopes(self) -> Mapping[str, Sequence[str]]:
        """The hierarchy, as it was declared."""
        return self._scopes

    @property
    def declared_claims(self) -> ClaimNames | None:
        """The claims that hold groups and tenant, None where nothing was said."""
        return self._claim_names

    @property
    def claim_names(self) -> ClaimNames:
        """The claims that hold groups and tenant."""
        return self._claim_names or ClaimNames()

    @property
    def known_scopes(self) -> frozenset[str]:
        """Every scope that a rule or the hierarchy names."""
        return self._hierarchy.names.union(*(rule.scopes for rule in self._rules.values()))

    @property
    def bundle(self) -> str:
        """A hash of all that decides: equal policies have equal ones."""
        if not self._bundle:
            text = to_toml(self._scopes, self.claim_names, self.rules, ())
            self._bundle = hashlib.sha256(text.encode()).hexdigest()
        return self._bundle

    def _decide(
        self,
        target: Target,
        message: Message | None,
        principal: Principal,
        held: frozenset[str],
        context: Context,
        *,
        listing: bool = False,
    ) -> Decision:
        bundle = self._bundle or self.bundle
        decision = self._index.decision(target, held, bundle)
        if decision is not None:
            return decision
        allows, denies = self._index.matching(target)
        facts = Facts(target, principal, held, context, self.claim_names, message, listing)
        return decide_with_shadow(allows, denies, held, partial(outcome_of, facts=facts), bundle)
