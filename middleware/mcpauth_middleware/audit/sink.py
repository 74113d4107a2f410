"""Where audit events go."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Mapping


class AuditSink(Protocol):
    """Takes audit events. `async def record` is the usual form."""

    def record(self, event: Mapping[str, Any]) -> Awaitable[None]:
        """Keep the event; once what this returns was awaited, it is kept. `KEPT` when it is so already.

        Raises:
            Exception: it could not be kept. A call whose intent cannot be recorded must not run.
        """
        ...


class _Kept:
    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


KEPT: Final = _Kept()
"""Returned by a sink that did not have to wait. It can be awaited; who knows it need not."""


class LogSink:
    """Writes each event as one line of JSON to the logger `mcpauth_middleware.audit`, at level INFO."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("mcpauth_middleware.audit")

    def record(self, event: Mapping[str, Any]) -> Awaitable[None]:
        """Log the event."""
        self._logger.info("%s", line(event))
        return KEPT


def line(event: Mapping[str, Any]) -> str:
    """The event as JSON in ASCII, on one line: no character in it can end the line or reach a terminal.

    Raises:
        TypeError, ValueError: it holds what JSON does not.
    """
    return _ENCODER.encode(event)


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
