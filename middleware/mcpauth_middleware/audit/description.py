"""How an event tells who, what and why: enough to decide again later, and no value that nobody chose to keep.

Of the arguments there is an HMAC under a key that only this process knows, so that equal calls can be told
without anyone being able to guess the values.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from typing import TYPE_CHECKING, Any, Final

from mcpauth_middleware.audit.options import AuditOptions
from mcpauth_middleware.membership import membership
from mcpauth_middleware.policy.errors import Missing, Unevaluable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpauth_middleware.message.request import Message
    from mcpauth_middleware.message.target import Target
    from mcpauth_middleware.policy import Policy
    from mcpauth_middleware.policy.decide import Decision
    from mcpauth_middleware.policy.facts import ToolFacts
    from mcpauth_middleware.principal import Principal

Members = dict[str, Any]

PROCESS_KEY: Final = secrets.token_bytes(32)
# A subscription can name a thousand resources.
MAX_NAMES: Final = 5

_SORTED: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_USER_INFORMATION = re.compile(r"(?<=//)[^/?#@]*@")
_QUERY_OR_FRAGMENT = re.compile(r"[?#].*", re.DOTALL)


class Description:
    """Describes the requests of one server.

    Args:
        options: What is kept as it is.
        policy: Whose groups and tenants are told, if its rules go by them.
        key: Of the HMACs.
    """

    def __init__(
        self,
        options: AuditOptions | None = None,
        *,
        policy: Policy | None = None,
        key: bytes = PROCESS_KEY,
    ) -> None:
        self._options = AuditOptions() if options is None else options
        self._policy = policy
        self._keyed = hmac.new(key, digestmod="sha256")
        self._asked_for: tuple[str, bool] = ("", False)

    def actor(self, principal: Principal) -> Members:
        """Who asks, and what speaks for them."""
        actor = identity(principal)
        actor["scopes"] = sorted(principal.scopes)
        if self._policy is not None and self._goes_by_groups(self._policy):
            actor |= _membership(principal, self._policy)
        if kept := [name for name in self._options.claims if name in principal.claims]:
            actor["claims"] = {name: principal.claims[name] for name in kept}
        return actor

    def arguments(self, message: Message) -> Members:
        """The arguments of a call, as far as they may be told."""
        if message.arguments is None:
            return {}
        # Sorted: two spellings of the same arguments are the same arguments.
        document = _SORTED.encode(message.arguments).encode()
        members: Members = {"hmac": self._hmac(document), "bytes": len(document)}
        if self._options.keep and message.method == "tools/call" and message.targets:
            members |= self._options.kept(message.targets[0].name, message.arguments)
        return members

    def session(self, session_id: str) -> str:
        """A name for a session that does not give it away: whoever knows its id could speak in it."""
        return self._hmac(session_id.encode())[:16]

    def _goes_by_groups(self, policy: Policy) -> bool:
        bundle = policy.bundle
        if self._asked_for[0] != bundle:
            self._asked_for = (bundle, policy.declared_claims is not None or _mentions_groups(policy))
        return self._asked_for[1]

    def _hmac(self, document: bytes) -> str:
        # A copy costs less than to begin anew with the key.
        code = self._keyed.copy()
        code.update(document)
        return code.hexdigest()


def identity(principal: Principal) -> Members:
    """Who asks."""
    return {"iss": principal.issuer, "sub": principal.subject, "client_id": principal.client_id}


def mcp(message: Message) -> Members:
    """What is asked, in the words of MCP."""
    members: Members = {"method": message.method, "protocol": message.protocol_version}
    named = [target for target in message.targets if target.kind != "method"][:MAX_NAMES]
    names = [shown(target) for target in named]
    if len(message.targets) > 1:
        members["names"] = names
        members["targets"] = len(message.targets)
    elif names:
        members["name"] = names[0]
        members["kind"] = named[0].kind
    if [target.name for target in named] != names:
        members["shortened"] = True
    if message.id is not None:
        members["request_id"] = message.id
    return members


def shown(target: Target) -> str:
    """The name of a target, without the parts of a URI in which passwords and tokens travel."""
    if target.kind != "resource":
        return target.name
    return _USER_INFORMATION.sub("", _QUERY_OR_FRAGMENT.sub("", target.name))


def tool(facts: ToolFacts) -> Members:
    """What the server says of the tool, as far as it is known."""
    tags = {} if facts.tags is None else {"tags": sorted(facts.tags)}
    annotations = {} if facts.annotations is None else {"annotations": dict(facts.annotations)}
    return {**tags, **annotations}


def decision(decided: Decision) -> Members:
    """What was decided, under which policy, and what would be decided with the rules in shadow mode."""
    members = _verdict(decided)
    if decided.errors:
        members["errors"] = list(decided.errors)
    if decided.shadow is not None:
        members["shadow"] = _verdict(decided.shadow)
    if decided.bundle:
        members["bundle"] = decided.bundle
    return members


def _verdict(decided: Decision) -> Members:
    return {
        "effect": decided.effect,
        "rule": decided.rule,
        "reason": decided.reason,
        "scopes": list(decided.scopes),
    }


def _membership(principal: Principal, policy: Policy) -> Mapping[str, Any]:
    facts = membership(principal, policy)
    return {**_claimed("groups", lambda: list(facts.groups)), **_claimed("tenant", lambda: facts.tenant)}


def _claimed(name: str, claim: Callable[[], object]) -> Members:
    """What the token says; None where it says nothing. What it says oddly no rule can go by either."""
    try:
        return {name: claim()}
    except Missing:
        return {name: None}
    except Unevaluable:
        return {}


def _mentions_groups(policy: Policy) -> bool:
    return any(
        rule.groups or rule.tenant or (rule.when is not None and "principal." in rule.when)
        for rule in policy.rules
    )
