"""What only an operator gives a client, and no client can register for itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpauth.oauth.store import Record


@dataclass(frozen=True, slots=True)
class OperatorTerms:
    """Rights beyond those that a user can grant. All are empty for a client that registered itself.

    `serves` are the resources whose server the client is: it may introspect their tokens (RFC 7662 §2.1) and
    exchange them (RFC 8693). `resources` and `scopes` are the most that it can get in its own name (RFC 6749
    §4.4). Resources are in canonical form.
    """

    serves: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    def to_record(self) -> Record:
        """The terms as stored."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Record) -> OperatorTerms:
        """The terms of a stored record."""
        return cls(**{name: tuple(values) for name, values in record.items()})


NO_TERMS = OperatorTerms()
