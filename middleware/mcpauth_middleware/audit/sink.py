"""Where audit events go."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class AuditSink(Protocol):
    """Takes audit events."""

    async def record(self, event: Mapping[str, Any]) -> None:
        """Keep the event, and return when it is kept.

        Raises:
            Exception: it could not be kept. A call whose intent cannot be recorded must not run.
        """
        ...


class LogSink:
    """Writes each event as one line of JSON to the logger `mcpauth_middleware.audit`, at level INFO."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("mcpauth_middleware.audit")

    async def record(self, event: Mapping[str, Any]) -> None:
        """Log the event."""
        self._logger.info("%s", line(event))


def line(event: Mapping[str, Any]) -> str:
    """The event as JSON in ASCII, on one line: no character in it can end the line or reach a terminal.

    Raises:
        TypeError, ValueError: it holds what JSON does not.
    """
    return json.dumps(event, separators=(",", ":"), allow_nan=False)
