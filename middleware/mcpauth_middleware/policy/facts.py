"""What a decision needs to know besides the rules: who asks, for what, from where, and when.

A fact that is unknown here (no address, a tool nobody has described) raises `Unevaluable`. A fact that
is known to be absent (a claim the token does not carry) raises `Missing`, which `has(...)` can ask about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from mcpauth_middleware.policy.client_host import client_host
from mcpauth_middleware.policy.errors import ArgumentsUnknown, Missing, NotKnown, PolicyError, Unevaluable
from mcpauth_middleware.policy.json_text import of_a_prompt
from mcpauth_middleware.policy.values import text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcpauth_middleware.message.request import Message
    from mcpauth_middleware.message.target import Target, TargetKind
    from mcpauth_middleware.principal import Principal

T = TypeVar("T")

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

# What MCP says of a tool that does not say it itself (ToolAnnotations).
DEFAULT_ANNOTATIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False, "openWorldHint": True}
)
_METHODS: Final[Mapping[TargetKind, str]] = MappingProxyType(
    {"tool": "tools/call", "prompt": "prompts/get", "resource": "resources/read"}
)


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """What the server says of one of its tools; None: it is not known what it says."""

    tags: frozenset[str] | None = None
    annotations: Mapping[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of a request besides its message and its principal; None: not known.

    Args:
        address: Where the request came from.
        now: The moment, in epoch seconds.
        tool: What the server says of the tool of this name; it answers None for one it does not know.
    """

    address: str | None = None
    now: float | None = None
    tool: Callable[[str], ToolFacts | None] | None = None


NOTHING_KNOWN: Final = Context()


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """The claims that hold groups and tenant: a name, or the way through nested objects.

    Raises:
        PolicyError: one is not a name or a list of names.
    """

    groups: tuple[str, ...] = ("groups",)
    tenant: tuple[str, ...] = ("tenant",)

    @classmethod
    def of(cls, table: Mapping[str, str | Sequence[str]]) -> ClaimNames:
        """The names as a file gives them: `{"groups": ["realm_access", "roles"]}`."""
        for key in table:
            if key not in ("groups", "tenant"):
                raise PolicyError(f"claims.{key}: unknown key; known are groups, tenant")
        return cls(**{key: _way(key, value) for key, value in table.items()})


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about one target of one message."""

    target: Target
    principal: Principal
    held: frozenset[str]
    """The scopes of the principal, and all that these imply."""
    context: Context
    claim_names: ClaimNames
    message: Message | None
    """None where none was sent yet: an entry of a list is judged."""
    listing: bool = False

    def with_uri(self, uri: str) -> Facts:
        """The same facts about a resource whose URI is read like this."""
        return replace(self, target=self.target._replace(name=uri))

    @property
    def method(self) -> str:
        """The JSON-RPC method; of an entry of a list the one by which it would be used."""
        if self.listing or self.message is None:
            return _METHODS.get(self.target.kind, self.target.name)
        if self.message.method is None:
            raise Missing("the message has no method")
        return self.message.method

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments of the call."""
        if self.listing or self.message is None:
            raise ArgumentsUnknown("nothing is called yet")
        if self.message.arguments is not None:
            arguments = self.message.arguments
            return of_a_prompt(arguments) if self.target.kind == "prompt" else arguments
        if self.message.method in ("tools/call", "prompts/get"):
            return {}
        raise Unevaluable("this message has no arguments")

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups the principal is in."""
        return self._names(self._claim(self.claim_names.groups))

    @property
    def tenant(self) -> str:
        """The tenant the principal belongs to."""
        return text(self._claim(self.claim_names.tenant))

    @property
    def client_id(self) -> str:
        """The client that acts for the principal."""
        return _there(self.principal.client_id, "the token names no client")

    @property
    def client_host(self) -> str | None:
        """The host that vouches for the client, None for a client without one."""
        return client_host(self.client_id)

    @property
    def client_name(self) -> str:
        """What the client calls itself. Nothing proves it, and older revisions tell it only once."""
        return _known(self.message.client[0] if self.message else None, "the client's name")

    @property
    def client_version(self) -> str:
        """What version the client says it is. Nothing proves it."""
        return _known(self.message.client[1] if self.message else None, "the client's version")

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the tool."""
        return tuple(sorted(_known(self._tool.tags, "which tags the tool has")))

    @property
    def annotations(self) -> Mapping[str, Any]:
        """The annotations of the tool, with what MCP says of those it leaves out."""
        return {**DEFAULT_ANNOTATIONS, **_known(self._tool.annotations, "how the tool is annotated")}

    @property
    def tool_name(self) -> str:
        """The name of the tool."""
        if self.target.kind != "tool":
            raise Unevaluable("this is no tool")
        return self.target.name

    @property
    def uri(self) -> str:
        """The URI of the resource."""
        if self.target.kind != "resource":
            raise Unevaluable("this is no resource")
        return self.target.name

    @property
    def now(self) -> float:
        """The moment, in epoch seconds."""
        return _known(self.context.now, "the time")

    @property
    def weekday(self) -> str:
        """The day of the week, in UTC."""
        return DAYS[datetime.fromtimestamp(self.now, UTC).weekday()]

    @property
    def address(self) -> str:
        """Where the request came from."""
        return _known(self.context.address, "the address")

    @property
    def protocol(self) -> str:
        """The revision of MCP that the message is of."""
        return _known(self.message.protocol_version if self.message else None, "the protocol")

    @property
    def _tool(self) -> ToolFacts:
        lookup = self.context.tool
        return _known(lookup(self.tool_name) if lookup is not None else None, "this tool")

    def _claim(self, way: tuple[str, ...]) -> object:
        found: object = self.principal.claims
        for name in way:
            if not isinstance(found, Mapping):
                raise Unevaluable(f"the claim {'.'.join(way)} is not inside of an object")
            members = cast("Mapping[str, object]", found)
            if name not in members:
                raise Missing(f"the token has no claim {'.'.join(way)}")
            found = members[name]
        return found

    def _names(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise Unevaluable("the claim that holds the groups is not a list of texts")
        return tuple(map(text, cast("list[object]", value)))


def _known(value: T | None, what: str) -> T:
    if value is None:
        raise NotKnown(f"{what} is not known")
    return value


def _there(value: str | None, problem: str) -> str:
    if value is None:
        raise Missing(problem)
    return value


def _way(key: str, value: object) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if isinstance(names, (list, tuple)) and names:
        way = cast("Sequence[object]", names)
        if all(isinstance(name, str) and name for name in way):
            return tuple(cast("Sequence[str]", way))
    raise PolicyError(f'claims.{key}: must be the name of a claim, or the way to it as in ["a", "b"]')
