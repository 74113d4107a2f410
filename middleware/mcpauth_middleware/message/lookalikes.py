"""Members that one JSON reader takes for another: `Method` for `method`, `resource_subscriptions` for
its camel case.

Readers exist that match keys without regard to case (Go's `encoding/json`), and the MCP SDK for Python
accepts the snake_case name of every camelCase member. A gate that knows only the exact spelling would
decide about less than what such a server reads, so a message with a second spelling of a member that
matters is refused.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

from mcpauth_middleware.message.refusal import INVALID_REQUEST, MessageRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_FOREIGN_NAME: Final = 64
"""The longest name that is not in ASCII: normalizing combining marks takes quadratic time."""
MAX_MEMBERS: Final = 1000
"""How many members an object may have whose names are looked at: each is normalized."""


class Lookalikes:
    """Refuses objects that hold another spelling of one of `names`."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {_fold(name): name for name in names}
        self._exact = frozenset(self._names.values())

    def refuse(self, members: Mapping[str, Any]) -> None:
        """Check the keys of one object.

        Raises:
            MessageRefused: a key differs from one of the names in case, underscores or compatibility
                characters only, or is too long for anybody to tell; or there are too many.
        """
        if self._exact.issuperset(members):
            return
        if len(members) > MAX_MEMBERS:
            raise MessageRefused(INVALID_REQUEST, f"an object has more than {MAX_MEMBERS} members")
        for key in members.keys() - self._exact:
            if len(key) > MAX_FOREIGN_NAME and not key.isascii():
                raise MessageRefused(
                    INVALID_REQUEST, f"a member has a name of more than {MAX_FOREIGN_NAME} characters"
                )
            name = self._names.get(_fold(key))
            if name is not None:
                raise MessageRefused(INVALID_REQUEST, f"a member is another spelling of {name!r}")


def _fold(key: str) -> str:
    return unicodedata.normalize("NFKC", key).casefold().replace("_", "").replace("-", "")
