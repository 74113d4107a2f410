"""Why a line of a journal, a call in it, or a condition about that call has no answer."""

from __future__ import annotations

from mcpauth_middleware.policy.errors import Unevaluable


class NotAnEvent(Exception):
    """The line is no event of a journal; the text says why, and holds nothing of the line."""


class NotReplayable(Exception):
    """The journal does not say enough of a call to decide again; the text says what is missing."""


class NotKept(Unevaluable):
    """Nobody can tell any more: the journal does not hold it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the journal does not hold {what}")
