"""What a recorded message asked for, as far as the journal tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mcpauth_middleware.message import targets
from mcpauth_middleware.message.request import Message
from mcpauth_middleware.message.resource_uri import MAX_URI_LENGTH
from mcpauth_middleware.message.revisions import METHODS
from mcpauth_middleware.message.strict_json import MAX_DEPTH
from mcpauth_middleware.message.target import Target
from mcpauth_middleware.replay.errors import NotReplayable
from mcpauth_middleware.replay.partial import Partial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth_middleware.message.revisions import TargetsOf
    from mcpauth_middleware.message.target import TargetKind
    from mcpauth_middleware.replay.members import Members

_KIND_OF: Final[Mapping[TargetsOf, TargetKind]] = {
    targets.tool: "tool",
    targets.prompt: "prompt",
    targets.resource: "resource",
    targets.subscriptions: "resource",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The members `mcp`, `args` and `client` of an event."""

    method: str | None
    name: str | None
    """The only one, for whoever reads the report."""
    targets: tuple[Target, ...] | None
    """None: the journal has not all their names in full."""
    arguments: Mapping[str, Any] | None
    protocol: str
    client: tuple[str | None, str | None]
    is_notification: bool

    @classmethod
    def of(cls, event: Members) -> Asked:
        """Read it.

        Raises:
            NotAnEvent: it is not as the middleware writes it.
        """
        mcp, client = event.members("mcp"), event.members_if_any("client")
        return cls(
            method=mcp.text_or_none("method"),
            name=mcp.text_or_none("name"),
            targets=_targets(mcp),
            arguments=_arguments(event),
            protocol=mcp.text("protocol"),
            client=(client.text_or_none("name"), client.text_or_none("version")),
            is_notification=event.text("type") == "notification",
        )

    def message(self) -> Message:
        """The message, for a decision.

        Raises:
            NotReplayable: the journal does not hold what it was about.
        """
        if self.targets is None:
            raise NotReplayable("every name in full")
        return Message(
            kind="notification" if self.is_notification else "request",
            method=self.method,
            id=None,
            params={},
            arguments=self.arguments,
            targets=self.targets,
            lists=None,
            protocol_version=self.protocol,
            client=self.client,
        )

    def __str__(self) -> str:
        return " ".join(part for part in (self.method, self.name) if part)


def _targets(mcp: Members) -> tuple[Target, ...] | None:
    method = mcp.text_or_none("method")
    if method is None:
        return ()
    row = METHODS.get(method)
    if row is None or row.targets is None:
        return (Target("method", method),)
    if row.targets is targets.no_target:
        return ()
    names = _names(mcp, row.targets)
    kind = _kind(mcp, row.targets)
    return None if names is None or mcp.flag("shortened") else tuple(Target(kind, name) for name in names)


def _names(mcp: Members, targets_of: TargetsOf) -> tuple[str, ...] | None:
    # Only a subscription can be to several resources, or to none.
    if targets_of is not targets.subscriptions or "name" in mcp:
        return (_possible(mcp, "name", mcp.text("name")),)
    names = mcp.texts_or_none("names")
    if names is None:
        return ()
    count = mcp.number("targets")
    if count < 1 or (names and count < 2):
        mcp.refuse("targets", "2 or more")
    return tuple(_possible(mcp, "names", name) for name in names) if count == len(names) else None


def _possible(mcp: Members, member: str, name: str) -> str:
    # No message has a longer one, and for some patterns the time grows faster than the name.
    return name if len(name) <= MAX_URI_LENGTH else mcp.refuse(member, "no longer than a name can be")


def _kind(mcp: Members, targets_of: TargetsOf) -> TargetKind:
    known = _KIND_OF.get(targets_of)
    # Of several targets, which are of one kind, it is not told.
    if known is not None and "kind" not in mcp:
        return known
    return mcp.word("kind", ("prompt", "resource") if known is None else (known,))


def _arguments(event: Members) -> Mapping[str, Any] | None:
    if "args" not in event:
        return None
    args = event.members("args")
    kept, absent = args.members_if_any("kept").all, args.texts_or_none("absent") or ()
    for member, names in (("kept", kept), ("absent", absent)):
        if any(name.count(".") >= MAX_DEPTH for name in names):
            args.refuse(member, f"of names with fewer than {MAX_DEPTH} dots")
    if args.number("bytes") == len("{}"):
        return {}
    return Partial.of("args", kept, absent)
