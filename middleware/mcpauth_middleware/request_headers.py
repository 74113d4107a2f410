"""The header fields of one request (ASGI 3.0, HTTP connection scope), looked through once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth_middleware.asgi import Headers


class RequestHeaders:
    """Finds headers by their lower-case names."""

    def __init__(self, headers: Headers) -> None:
        self._headers = headers
        self._last = dict(headers)
        self._are_single = len(self._last) == len(headers)

    def __contains__(self, name: bytes) -> bool:
        """Whether the request has such a header."""
        return name in self._last

    def all(self, name: bytes) -> Sequence[bytes]:
        """The value of each header of this name, in their order."""
        if name not in self._last:
            return ()
        if self._are_single:
            return (self._last[name],)
        return [value for known, value in self._headers if known == name]
