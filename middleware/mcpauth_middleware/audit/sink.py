"""Where audit events go."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeGuard

from mcpauth_middleware.audit.text import members_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Mapping

_logger = logging.getLogger(__name__)


class AuditSink(Protocol):
    """Takes audit events. `async def record` is the usual form."""

    def record(self, event: Mapping[str, Any]) -> Awaitable[None]:
        """Keep the event; once what this returns was awaited, it is kept. `KEPT` when it is so already.

        Raises:
            Exception: it could not be kept. A call whose intent cannot be recorded must not run.
        """
        ...


class TextSink(AuditSink, Protocol):
    """A sink that writes JSON text may take it as such, which costs less than a dictionary."""

    def record_text(self, members: str) -> Awaitable[None]:
        """As `record`, for an event that is JSON in ASCII on one line, but for the braces around it."""
        ...


def takes_text(sink: AuditSink) -> TypeGuard[TextSink]:
    """Whether a sink takes text. What is derived from one and has a `record` of its own is asked for that."""
    for kind in type(sink).__mro__:
        if "record" in vars(kind) or "record_text" in vars(kind):
            return "record_text" in vars(kind)
    return False


class _Kept:
    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


KEPT: Final = _Kept()
"""Returned by a sink that did not have to wait. It can be awaited; who knows it need not."""


class LogSink:
    """Writes each event as one line of JSON to the logger `mcpauth_middleware.audit`, at level INFO.

    When logging is not set up for that, which is how Python starts, a warning says so once.
    """

    def __init__(self) -> None:
        self._logger = logging.getLogger("mcpauth_middleware.audit")
        self._has_looked = False

    def record(self, event: Mapping[str, Any]) -> Awaitable[None]:
        """Log the event."""
        return self.record_text(members_of(event))

    def record_text(self, members: str) -> Awaitable[None]:
        """Log an event that is JSON already, but for the braces around it."""
        if not self._has_looked:  # at the first event: applications set up logging after their imports
            self._has_looked = True
            self._look_for_listeners()
        self._logger.info("{%s}", members)
        return KEPT

    def _look_for_listeners(self) -> None:
        # A level at this very logger is somebody's choice, also when it leaves the events out.
        is_left_to_others = self._logger.level == logging.NOTSET
        is_heard = self._logger.isEnabledFor(logging.INFO) and self._logger.hasHandlers()
        if is_left_to_others and not is_heard:
            _logger.warning(
                "Audit events go to the logger mcpauth_middleware.audit at level INFO, and nothing keeps"
                ' them: set up logging, or give McpAuthMiddleware audit=AuditJournal("audit.jsonl")'
            )
