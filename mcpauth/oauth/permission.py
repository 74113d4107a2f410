"""What is allowed at one resource, RFC 8707 §2: a user can allow several at once, a token is for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mcpauth.oauth.store import Record


@dataclass(frozen=True, slots=True)
class Permission:
    """Scopes at a resource: at least one."""

    resource: str
    scopes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.scopes:
            raise ValueError("a permission has at least one scope")

    @property
    def scope(self) -> str:
        """The scopes as on the wire."""
        return " ".join(self.scopes)

    def limited_to(self, names: Collection[str]) -> Permission | None:
        """The part of it that `names` names; None when nothing is left."""
        scopes = tuple(name for name in self.scopes if name in names)
        return Permission(self.resource, scopes) if scopes else None


def permissions_of(records: Iterable[Record]) -> tuple[Permission, ...]:
    """The permissions of a stored record."""
    return tuple(Permission(each["resource"], tuple(each["scopes"])) for each in records)


def limited(
    permissions: Iterable[Permission], ticked: Mapping[str, Collection[str]]
) -> tuple[Permission, ...]:
    """Of each permission what `ticked` has for its resource; those of which nothing is left are gone."""
    parts = (each.limited_to(ticked.get(each.resource, ())) for each in permissions)
    return tuple(part for part in parts if part is not None)
