"""Who made a recorded call, as far as the journal tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcpauth_middleware.policy.facts import ClaimNames
from mcpauth_middleware.principal import Principal
from mcpauth_middleware.replay.errors import NotReplayable
from mcpauth_middleware.replay.partial import Partial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth_middleware.replay.members import Members


@dataclass(frozen=True, slots=True)
class Actor:
    """The `actor` of an event."""

    issuer: str
    subject: str
    client_id: str | None
    scopes: tuple[str, ...] | None
    """None in a journal that does not tell them."""
    membership: Mapping[str, object]
    """`groups` and `tenant`, as far as they are told; None: the token had none."""
    found_in: ClaimNames
    """The claims in which the policy of that time looked for them."""
    claims: Mapping[str, Any]
    """Those claims of the token that were kept."""

    @classmethod
    def of(cls, event: Members) -> Actor:
        """Read it.

        Raises:
            NotAnEvent: it is not as the middleware writes it.
        """
        actor = event.members("actor")
        told = {"groups": _groups(actor), "tenant": actor.text_or_none("tenant")}
        return cls(
            issuer=actor.text("iss"),
            subject=actor.text("sub"),
            client_id=actor.text_or_none("client_id"),
            scopes=actor.texts_or_none("scopes"),
            membership={name: value for name, value in told.items() if name in actor},
            found_in=_found_in(actor),
            claims=actor.members_if_any("claims").all,
        )

    def principal(self) -> Principal:
        """The caller, for a decision.

        Raises:
            NotReplayable: the journal does not hold the scopes.
        """
        if self.scopes is None:
            raise NotReplayable("the scopes of the caller")
        return Principal(
            issuer=self.issuer,
            subject=self.subject,
            client_id=self.client_id,
            scopes=frozenset(self.scopes),
            resource="",
            expires_at=0,
            claims=Partial("principal.claims", self.claims),
        )

    def __str__(self) -> str:
        return f"{self.subject} ({self.client_id or '-'})"


def _found_in(actor: Members) -> ClaimNames:
    told = actor.members_if_any("found_in")
    ways = {name: told.texts_or_none(name) for name in ("groups", "tenant")}
    return ClaimNames(**{name: way for name, way in ways.items() if way})


def _groups(actor: Members) -> list[str] | None:
    groups = None if actor.all.get("groups") is None else actor.texts_or_none("groups")
    return None if groups is None else list(groups)
