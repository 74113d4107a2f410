"""Which domains clients may describe themselves at: the trust policy of client ID metadata documents."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})+")


@dataclass(frozen=True, slots=True)
class DomainPolicy:
    """`example.com` is that host alone, `*.example.com` every host below it.

    Without `allow` every host is allowed; `deny` overrides.

    Raises:
        ValueError: a pattern is neither of the two.
    """

    enabled: bool = True
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, patterns in (("allow", self.allow), ("deny", self.deny)):
            for pattern in patterns:
                if not _PATTERN.fullmatch(pattern):
                    raise ValueError(
                        f"{name}: must be hosts such as example.com or *.example.com, in lower case"
                        f" (got {pattern!r})"
                    )

    def permits(self, host: str) -> bool:
        """Whether a document may lie there."""
        if not self.enabled or _any_matches(self.deny, host):
            return False
        return not self.allow or _any_matches(self.allow, host)


def _any_matches(patterns: Iterable[str], host: str) -> bool:
    return any(
        host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern for pattern in patterns
    )
