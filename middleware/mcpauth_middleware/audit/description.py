"""How an event tells who, what and why: enough to decide again later, and no value that nobody chose to keep.

Of the arguments there is an HMAC under a key that only this process knows, so that equal calls can be told
without anyone being able to guess the values.
"""

from __future__ import annotations

import hmac
import re
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from mcpauth_middleware.audit.options import AuditOptions
from mcpauth_middleware.audit.text import members_of, sorted_value, string, string_or_null, strings, value
from mcpauth_middleware.membership import membership
from mcpauth_middleware.policy.errors import Missing, Unevaluable
from mcpauth_middleware.policy.facts import ClaimNames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
REMEMBERED: Final = 1024
"""So many callers, calls and decisions are told without being spelt anew."""
LONGEST_REMEMBERED: Final = 512
"""Names come from callers, so what is kept about them is bounded."""

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

    def actor(self, principal: Principal) -> str:
        """Who asks, and what speaks for them."""
        scopes = frozenset(principal.scopes)
        told = _caller(principal.issuer, principal.subject, principal.client_id, scopes)
        if self._policy is not None and self._goes_by_groups(self._policy):
            told += _following(_membership(principal, self._policy))
        wanted, claims = self._options.claims, principal.claims
        if wanted and (kept := [name for name in wanted if name in claims]):
            told += _following({"claims": {name: claims[name] for name in kept}})
        return f"{{{told}}}"

    def arguments(self, message: Message, arguments: Mapping[str, Any]) -> str:
        """The arguments of a call, as far as they may be told."""
        # Sorted: two spellings of the same arguments are the same arguments.
        document = sorted_value(arguments).encode()
        told = f'"hmac":"{self._hmac(document)}","bytes":{len(document)}'
        if self._options.keep and message.method == "tools/call" and message.targets:
            told += _following(self._options.kept(message.targets[0].name, arguments))
        return f"{{{told}}}"

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


def identity(principal: Principal) -> str:
    """Who asks."""
    return f"{{{_identity(principal.issuer, principal.subject, principal.client_id)}}}"


def asked(message: Message) -> str:
    """What is asked, in the words of MCP, and by which program."""
    targets, number = message.targets, message.id
    target = targets[0] if len(targets) == 1 else None
    is_short = target is None or len(target.name) <= LONGEST_REMEMBERED
    tell = _asked if is_short else _asked.__wrapped__
    told = tell(message.method, message.protocol_version, target, message.client)
    if len(targets) > 1 or (target is not None and target.kind == "method" and target.name != message.method):
        told += _several(targets)
    if number is None:
        return f"{told}}}"
    return f'{told},"request_id":{string(number) if isinstance(number, str) else number}}}'


@lru_cache(REMEMBERED)
def _asked(
    method: str | None, protocol: str, target: Target | None, client: tuple[str | None, str | None]
) -> str:
    """The same without what ends it: further members of `mcp`, and a brace."""
    name, version = client
    # What the client says of itself: nothing proves it.
    told = ""
    if name is not None or version is not None:
        told = f',"client":{{"name":{string_or_null(name)},"version":{string_or_null(version)}}}'
    told += f',"mcp":{{"method":{string_or_null(method)},"protocol":{string(protocol)}'
    if target is None or target.kind == "method":
        return told
    name = shown(target)
    told += f',"name":{string(name)},"kind":"{target.kind}"'
    return told if name == target.name else f'{told},"shortened":true'


def _several(targets: Sequence[Target]) -> str:
    named = [target for target in targets if target.kind != "method"][:MAX_NAMES]
    names = [shown(target) for target in named]
    told = f',"names":{strings(names)},"targets":{len(targets)}'
    return told if [target.name for target in named] == names else f'{told},"shortened":true'


def shown(target: Target) -> str:
    """The name of a target, without the parts of a URI in which passwords and tokens travel."""
    if target.kind != "resource":
        return target.name
    return _USER_INFORMATION.sub("", _QUERY_OR_FRAGMENT.sub("", target.name))


def tool(facts: ToolFacts) -> str:
    """What the server says of the tool, as far as it is known."""
    tags = {} if facts.tags is None else {"tags": sorted(facts.tags)}
    annotations = {} if facts.annotations is None else {"annotations": dict(facts.annotations)}
    return value({**tags, **annotations})


def decision(decided: Decision) -> str:
    """What was decided, under which policy, and what would be decided with the rules in shadow mode."""
    # Equal decisions may be of different policies.
    return _decision(decided, decided.bundle)


@lru_cache(REMEMBERED)
def _decision(decided: Decision, bundle: str) -> str:
    told = _verdict(decided)
    if decided.errors:
        told += f',"errors":{strings(decided.errors)}'
    if decided.shadow is not None:
        told += f',"shadow":{{{_verdict(decided.shadow)}}}'
    if bundle:
        told += f',"bundle":{string(bundle)}'
    return f"{{{told}}}"


def _verdict(decided: Decision) -> str:
    rule, scopes = string_or_null(decided.rule), strings(decided.scopes)
    return f'"effect":"{decided.effect}","rule":{rule},"reason":"{decided.reason}","scopes":{scopes}'


@lru_cache(REMEMBERED)
def _identity(issuer: str, subject: str, client_id: str | None) -> str:
    return f'"iss":{string(issuer)},"sub":{string(subject)},"client_id":{string_or_null(client_id)}'


@lru_cache(REMEMBERED)
def _caller(issuer: str, subject: str, client_id: str | None, scopes: frozenset[str]) -> str:
    return f'{_identity(issuer, subject, client_id)},"scopes":{strings(sorted(scopes))}'


def _following(members: Mapping[str, Any]) -> str:
    """Further members of an object that has some already."""
    return f",{members_of(members)}" if members else ""


def _membership(principal: Principal, policy: Policy) -> Mapping[str, Any]:
    facts, names = membership(principal, policy), policy.claim_names
    told = {**_claimed("groups", lambda: list(facts.groups)), **_claimed("tenant", lambda: facts.tenant)}
    # A later policy may look for them elsewhere in a token.
    found_in = {"groups": list(names.groups), "tenant": list(names.tenant)}
    return told if names == ClaimNames() else {**told, "found_in": found_in}


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
