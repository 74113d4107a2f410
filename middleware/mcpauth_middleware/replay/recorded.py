"""One decision of a journal, turned back into what was decided on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from mcpauth_middleware.policy.facts import Context, ToolFacts
from mcpauth_middleware.replay.actor import Actor
from mcpauth_middleware.replay.asked import Asked
from mcpauth_middleware.replay.errors import NotKept
from mcpauth_middleware.replay.members import Members

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Effect = Literal["allow", "step_up", "deny"]

_EFFECTS: Final[tuple[Effect, ...]] = get_args(Effect)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message that was decided on, as far as the journal tells."""

    event: Mapping[str, Any]
    effect: Effect
    rule: str | None
    bundle: str | None
    """The hash of the policy that decided."""
    actor: Actor
    asked: Asked
    context: Context

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Recorded:
        """Read an event that holds a decision.

        Raises:
            NotAnEvent: it is not as the middleware writes it.
        """
        event = Members(found)
        decision = event.members("decision")
        return cls(
            event=event.all,
            effect=decision.word("effect", _EFFECTS),
            rule=decision.text_or_none("rule"),
            bundle=decision.text_or_none("bundle"),
            actor=Actor.of(event),
            asked=Asked.of(event),
            context=Context(
                address=event.members_if_any("source").text_or_none("ip"),
                now=_moment(event),
                tool=_tool(event),
            ),
        )

    def __str__(self) -> str:
        return f"{self.event.get('ts', '-')} {self.actor} {self.asked}"


def _tool(event: Members) -> Callable[[str], ToolFacts | None]:
    if "tool" not in event:
        return _not_told
    told = event.members("tool")
    tags = told.texts_or_none("tags")
    annotations = told.members("annotations").all if "annotations" in told else None
    facts = ToolFacts(None if tags is None else frozenset(tags), annotations)
    return lambda _name: facts


def _not_told(_name: str) -> ToolFacts | None:
    raise NotKept("what the server says of the tool")


def _moment(event: Members) -> float | None:
    """When it was; None in a journal that does not tell, as one that a logger wrote."""
    if "ts" not in event:
        return None
    text = event.text("ts")
    try:
        # Without the letter it would be a moment of wherever this runs.
        if text.endswith("Z"):
            return datetime.fromisoformat(text).timestamp()
    except ValueError:
        pass
    return event.refuse("ts", "a moment, as in 2026-11-22T17:44:53.590Z")
