"""Which clients a rule is about."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Final

from mcpauth_middleware.policy.checks import patterns
from mcpauth_middleware.policy.conjunction import all_hold
from mcpauth_middleware.policy.errors import PolicyError
from mcpauth_middleware.policy.patterns import NameMatcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth_middleware.policy.facts import Facts

_HOST: Final = re.compile(r"(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::[1-9][0-9]{0,4})?")
_FACTS: Final[dict[str, Callable[[Facts], str | None]]] = {
    "id": lambda facts: facts.client_id,
    "host": lambda facts: facts.client_host,
    "name": lambda facts: facts.client_name,
    "version": lambda facts: facts.client_version,
}


@dataclass(frozen=True, slots=True)
class ClientMatch:
    """Patterns for the client; of each key that is given one must fit.

    `id` and `host` are as the authorization server vouches for them: `host` is that of a `client_id` which
    is an https URL (a Client ID Metadata Document), and no other client has one. `name` and `version` are
    what the client says of itself. **Nothing proves them**: they tell honest clients apart, they keep
    nobody out.

    Raises:
        PolicyError: nothing is given, or a pattern is none.
    """

    id: tuple[str, ...] = ()
    host: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    version: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            patterns(f"client.{field.name}", getattr(self, field.name))
        for position, host in enumerate(self.host):
            if _HOST.fullmatch(host) is None:
                mend = "write a host in lower case, with *. before it for all below it"
                raise PolicyError(f"client.host[{position}]: {host!r}: {mend}")
            if host.endswith(":443"):
                raise PolicyError(f"client.host[{position}]: {host!r}: leave out :443, the port of https")
        if not any(self.asked.values()):
            raise PolicyError("client: names nothing; give it one of id, host, name, version")

    @property
    def asked(self) -> dict[str, tuple[str, ...]]:
        """The keys that are given."""
        return {field.name: found for field in fields(self) if (found := getattr(self, field.name))}

    def holds(self, facts: Facts) -> bool:
        """Whether the client is one of these.

        Raises:
            Unevaluable: it is not known what it is.
        """
        return all_hold(partial(self._fits, facts, key, wanted) for key, wanted in self.asked.items())

    def observed(self, facts: Facts) -> dict[str, str | None]:
        """What is known of the client."""
        return {key: _FACTS[key](facts) for key in self.asked}

    def _fits(self, facts: Facts, key: str, wanted: tuple[str, ...]) -> bool:
        found = _FACTS[key](facts)
        return found is not None and any(NameMatcher.of(pattern).matches(found) for pattern in wanted)
