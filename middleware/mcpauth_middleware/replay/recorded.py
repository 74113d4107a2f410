"""One decision of a journal, turned back into what was decided on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from mcpauth_middleware.message.request import Message
from mcpauth_middleware.message.revisions import METHODS
from mcpauth_middleware.message.target import Target, TargetKind
from mcpauth_middleware.message.targets import no_target
from mcpauth_middleware.policy.facts import Context, ToolFacts
from mcpauth_middleware.principal import Principal
from mcpauth_middleware.replay.partial import NotKept, Partial

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth_middleware.policy.facts import ClaimNames

Effect = Literal["allow", "step_up", "deny"]

_KINDS: Final[tuple[TargetKind, ...]] = get_args(TargetKind)
_EFFECTS: Final[tuple[Effect, ...]] = get_args(Effect)
_OF_METHOD: Final[Mapping[str, TargetKind]] = {"tools/call": "tool", "prompts/get": "prompt"}


class NotReplayable(Exception):
    """The journal does not say enough to decide again; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message that was decided on, as far as the journal tells."""

    event: Mapping[str, Any]
    effect: Effect
    rule: str | None
    message: Message

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Recorded:
        """Read an event that holds a decision.

        Raises:
            NotReplayable: it is not whole.
        """
        decision, mcp = _table(event, "decision"), _table(event, "mcp")
        effect = decision.get("effect")
        if effect not in _EFFECTS:
            raise NotReplayable("the decision")
        message = Message(
            kind="notification" if event.get("type") == "notification" else "request",
            method=cast("str | None", mcp.get("method")),
            id=None,
            params={},
            arguments=_arguments(event),
            targets=_targets(mcp),
            lists=None,
            protocol_version=str(mcp.get("protocol", "")),
            client=_client(event),
        )
        return cls(event, effect, cast("str | None", decision.get("rule")), message)

    @property
    def bundle(self) -> str | None:
        """The hash of the policy that decided."""
        return cast("str | None", _table(self.event, "decision").get("bundle"))

    def principal(self, names: ClaimNames) -> Principal:
        """Who asked; `names` are the claims in which a policy looks for groups and tenant.

        Raises:
            NotReplayable: the journal does not hold the scopes, as one of an earlier version.
        """
        actor = _table(self.event, "actor")
        scopes = actor.get("scopes")
        if not isinstance(scopes, list):
            raise NotReplayable("the scopes of the caller")
        return Principal(
            issuer=str(actor.get("iss")),
            subject=str(actor.get("sub")),
            client_id=cast("str | None", actor.get("client_id")),
            scopes=frozenset(cast("list[str]", scopes)),
            resource="",
            expires_at=0,
            claims=_claims(actor, names),
        )

    def context(self) -> Context:
        """What was known besides."""
        source: object = self.event.get("source")
        address = cast("dict[str, Any]", source).get("ip") if isinstance(source, dict) else None
        return Context(address=address, now=_moment(self.event.get("ts")), tool=_tool(self.event))

    def __str__(self) -> str:
        mcp, actor = _table(self.event, "mcp"), cast("dict[str, Any]", self.event.get("actor") or {})
        what = " ".join(str(part) for part in (mcp.get("method"), mcp.get("name")) if part)
        return f"{self.event.get('ts', '-')} {actor.get('sub', '-')} ({actor.get('client_id', '-')}) {what}"


def _table(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value: object = event.get(name)
    if not isinstance(value, Mapping):
        raise NotReplayable(name)
    return cast("Mapping[str, Any]", value)


def _targets(mcp: Mapping[str, Any]) -> tuple[Target, ...]:
    method = str(mcp.get("method"))
    row = METHODS.get(method)
    if mcp.get("method") is not None and (row is None or row.targets is None):
        return (Target("method", method),)
    if mcp.get("method") is None or row is None or row.targets is no_target:
        return ()
    names: list[object] = mcp["names"] if isinstance(mcp.get("names"), list) else [mcp.get("name")]
    if mcp.get("shortened") or mcp.get("targets", len(names)) != len(names):
        raise NotReplayable("every name in full")
    if names == [None]:
        return ()
    kind = mcp.get("kind", _OF_METHOD.get(method, "resource" if method.startswith("resources/") else None))
    if method == "subscriptions/listen":
        kind = "resource"
    if kind not in _KINDS:
        raise NotReplayable("whether it was about a prompt or a resource")
    return tuple(Target(kind, str(name)) for name in names)


def _arguments(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if "args" not in event:
        return None
    args = _table(event, "args")
    if args.get("bytes") == len("{}"):
        return {}
    return Partial.of("args", args.get("kept", {}), tuple(args.get("absent", ())))


def _client(event: Mapping[str, Any]) -> tuple[str | None, str | None]:
    client: Mapping[str, Any] = event.get("client") or {}
    return (client.get("name"), client.get("version"))


def _claims(actor: Mapping[str, Any], names: ClaimNames) -> Partial:
    known: dict[str, Any] = dict(actor.get("claims", {}))
    absent: list[str] = []
    for member, way in (("groups", names.groups), ("tenant", names.tenant)):
        name = ".".join(way)
        if member in actor and actor[member] is None:
            absent.append(name)
        elif member in actor:
            known[name] = actor[member]
    return Partial.of("principal.claims", known, tuple(absent))


def _tool(event: Mapping[str, Any]) -> Callable[[str], ToolFacts | None]:
    told: object = event.get("tool")

    def lookup(_name: str) -> ToolFacts | None:
        if not isinstance(told, dict):
            raise NotKept("what the server says of the tool")
        members = cast("dict[str, Any]", told)
        tags = members.get("tags")
        return ToolFacts(None if tags is None else frozenset(tags), members.get("annotations"))

    return lookup


def _moment(ts: object) -> float | None:
    try:
        return datetime.fromisoformat(str(ts)).timestamp()
    except ValueError:
        return None
