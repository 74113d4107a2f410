"""Documents of others: what it means to fetch one. The network is above this package and is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class FetchFailed(Exception):
    """A document could not be had. `reason` is for the operator and has nothing of the answer in it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A JSON document, and how long its server lets it be kept.

    `fresh_for` is in seconds: 0 is not at all, None that the server says nothing.
    """

    document: object
    fresh_for: int | None = None


class Fetch(Protocol):
    """A GET of a JSON document of at most so many bytes.

    Raises:
        FetchFailed: the URL must not be fetched, or what came is not such a document.
    """

    async def __call__(self, url: str, /, *, max_bytes: int) -> Fetched:
        """Fetch it."""
        ...
