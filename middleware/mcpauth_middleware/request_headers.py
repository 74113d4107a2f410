"""The header fields of one request (ASGI 3.0, HTTP connection scope), looked through once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth_middleware.asgi import Headers


class RequestHeaders:
    """Finds headers by their lower-case names."""

    __slots__ = ("_are_single", "_last", "fields")

    def __init__(self, raw: Headers) -> None:
        # A server should have made them lower-case.
        self.fields = [(name.lower(), value) for name, value in raw]
        self._last = dict(self.fields)
        self._are_single = len(self._last) == len(self.fields)

    def __contains__(self, name: bytes) -> bool:
        """Whether the request has such a header."""
        return name in self._last

    def all(self, name: bytes) -> Sequence[bytes]:
        """The value of each header of this name, in their order."""
        value = self._last.get(name)
        if value is None:
            return ()
        if self._are_single:
            return (value,)
        return [value for known, value in self.fields if known == name]
