"""Request parameters, RFC 6749 §3.1 and §3.2: read from a query or body, none repeated, empty ones absent."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from mcpauth.oauth.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

Pairs = list[tuple[str, str]]

MAX_PARAMETERS = 100
MAX_QUERY_BYTES = 32 * 1024
REPEATABLE = frozenset({"resource"})  # RFC 8707 §2


def parse_form(data: bytes) -> Pairs:
    """The name-value pairs of an `application/x-www-form-urlencoded` query or body, in order.

    Raises:
        InvalidRequest: not UTF-8 (RFC 6749 Appendix B), a NUL byte, or more than 100 parameters.
    """
    parameters = [part.partition(b"=") for part in data.split(b"&") if part]
    try:
        data.decode("utf-8")  # so that no character is half escaped and half not
        pairs = [(_decoded(name), _decoded(value)) for name, _, value in parameters]
    except ValueError as error:
        raise InvalidRequest("the parameters are not form-encoded UTF-8") from error
    if len(pairs) > MAX_PARAMETERS:
        raise InvalidRequest("there are too many parameters")
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise InvalidRequest("a parameter has a NUL character")
    return pairs


def _decoded(text: bytes) -> str:
    if b"+" in text:
        text = text.replace(b"+", b" ")
    if b"%" in text:
        text = unquote_to_bytes(text)
    return text.decode("utf-8")


def parse_query(data: bytes) -> Pairs:
    """The parameters of a query string of at most 32 kB.

    Raises:
        InvalidRequest: as `parse_form`, or 414 when it is too long.
    """
    if len(data) > MAX_QUERY_BYTES:
        raise InvalidRequest("the query is too long", status=414)
    return parse_form(data)


def repeated_names(pairs: Iterable[tuple[str, str]]) -> frozenset[str]:
    """The names that occur more than once and must not."""
    seen: set[str] = set()
    repeated: set[str] = set()
    for name, _ in pairs:
        if name in seen and name not in REPEATABLE:
            repeated.add(name)
        seen.add(name)
    return frozenset(repeated)


class Form:
    """The parameters of one request.

    Raises:
        InvalidRequest: a parameter is repeated, whichever it is (RFC 6749 §3.2); only `resource` may be.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            values = self._values.setdefault(name, [])
            if values and name not in REPEATABLE:
                raise InvalidRequest("a parameter is repeated")
            values.append(value)

    def names(self) -> tuple[str, ...]:
        """The parameters that were sent with a value, in order."""
        return tuple(name for name, values in self._values.items() if any(values))

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of the parameter; a parameter without a value counts as absent (RFC 6749 §3.2)."""
        return tuple(value for value in self._values.get(name, ()) if value)

    def optional(self, name: str) -> str | None:
        """The value of the parameter, if it was sent."""
        return next((value for value in self._values.get(name, ()) if value), None)

    def required(self, name: str) -> str:
        """The value of the parameter.

        Raises:
            InvalidRequest: it was not sent.
        """
        value = self.optional(name)
        if value is None:
            # `name` is one of ours, never the client's text.
            raise InvalidRequest(f"{name} is missing")
        return value
