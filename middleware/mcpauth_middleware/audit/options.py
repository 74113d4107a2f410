"""What an audit journal keeps of a call as it is: chosen name by name, and nothing by default."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from mcpauth_middleware.policy.errors import Missing, Unevaluable
from mcpauth_middleware.policy.members import member
from mcpauth_middleware.policy.patterns import Pattern, pattern_problem

MAX_KEPT_BYTES: Final = 1024
"""A longer value is not kept: a journal is no place for contents."""


@dataclass(frozen=True)
class AuditOptions:
    """Which arguments and claims are written into the journal as they are.

    Args:
        keep: Arguments by tool, as in `{"files_*": ["path", "options.mode"]}`; a dot leads into an object.
        claims: Claims of the token to write beside its subject, as in `["department"]`.

    Raises:
        ValueError: a member is wrong; the message names it and the mend.
    """

    keep: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    claims: Sequence[str] = ()
    _kept: tuple[tuple[Pattern, tuple[str, ...]], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kept = tuple((_pattern(tool), _names(f"keep[{tool!r}]", names)) for tool, names in self.keep.items())
        # A frozen dataclass leaves no other way to keep what is derived.
        object.__setattr__(self, "_kept", kept)
        object.__setattr__(self, "claims", _names("claims", self.claims))

    def names_kept(self, tool: str) -> tuple[str, ...]:
        """The arguments of this tool that are kept."""
        names = (name for pattern, names in self._kept if pattern.matches_any((tool,)) for name in names)
        return tuple(dict.fromkeys(names))

    def kept(self, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What the journal says of the arguments: the values kept, and the names that are not there."""
        values: dict[str, object] = {}
        absent: list[str] = []
        for name in self.names_kept(tool):
            try:
                value = _value_at(arguments, name)
            except Missing:
                absent.append(name)
            except Unevaluable:
                pass  # neither there nor plainly missing: no condition could say either
            else:
                if len(json.dumps(value)) <= MAX_KEPT_BYTES:
                    values[name] = value
        return {**({"kept": values} if values else {}), **({"absent": absent} if absent else {})}


def _value_at(arguments: Mapping[str, Any], name: str) -> object:
    found: object = arguments
    for step in name.split("."):
        found = member(found, step)
    return found


def _pattern(tool: object) -> Pattern:
    problem = pattern_problem("tool", tool) if isinstance(tool, str) else "must be a string"
    if problem is not None:
        raise ValueError(f"keep: {tool!r}: {problem}")
    return Pattern("tool", str(tool))


def _names(where: str, names: object) -> tuple[str, ...]:
    if isinstance(names, (list, tuple)):
        listed = cast("Sequence[object]", names)
        if all(isinstance(name, str) and name for name in listed):
            return tuple(cast("Sequence[str]", listed))
    raise ValueError(f'{where}: must be a list of names, as in ["path"] (got {names!r})')
