"""Work that belongs to no request: it goes on when the client that caused it has gone away.

Such a task inherits no context variables, so that nothing of a request lives on in it. Event loops come
and go (workers, test clients); a task counts only in the loop that runs it.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

V = TypeVar("V")

_logger = logging.getLogger(__name__)


class Background:
    """Starts tasks, and ends what is left of them at shutdown."""

    def __init__(self) -> None:
        # The loop itself refers to its tasks only weakly.
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def tasks(self) -> frozenset[asyncio.Task[Any]]:
        """What goes on."""
        return frozenset(self._tasks)

    def start(self, work: Callable[[], Coroutine[Any, Any, V]]) -> asyncio.Task[V]:
        """Run it apart from whoever asks."""
        task = asyncio.get_running_loop().create_task(work(), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Looked at here, since whoever waited for it may have gone away.
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.debug("A background task ended with %r", error)

    async def aclose(self) -> None:
        """Cancel the tasks of this event loop and wait for their end."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._tasks if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class SharedRun:
    """One run at a time of the same work, for everyone who needs it done."""

    def __init__(self, work: Work, background: Background) -> None:
        self._work = work
        self._background = background
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether a run goes on in this event loop."""
        task = self._task
        return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()

    def start(self) -> asyncio.Task[None]:
        """The run that goes on, or a new one."""
        if self._task is None or not self.is_running:
            self._task = self._background.start(self._logged)
        return self._task

    async def wait(self) -> None:
        """Wait for the end of the run. Whoever stops waiting does not stop it."""
        await asyncio.wait({self.start()})

    async def _logged(self) -> None:
        try:
            await self._work()
        except Exception:
            _logger.exception("A background task failed")


class TooManyCalls(Exception):
    """As many calls go on as may."""


class CallCancelled(Exception):
    """The call was ended from outside, as at shutdown."""


class SharedCalls(Generic[V]):
    """One call at a time for each key; whoever asks meanwhile gets its result, or its exception."""

    def __init__(self, background: Background, *, max_calls: int) -> None:
        self._background = background
        self._max_calls = max_calls
        self._tasks: dict[bytes, asyncio.Task[V]] = {}

    async def result(self, key: bytes, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """What the work gives. Whoever stops waiting does not stop it.

        Raises:
            TooManyCalls: it would be one more than may go on.
            CallCancelled: the server is going down.
        """
        task = self._tasks.get(key)
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            if self._is_full():
                raise TooManyCalls(f"{self._max_calls} others go on already")
            task = self._tasks[key] = self._background.start(work)
            task.add_done_callback(lambda done: self._forget(key, done))
        await asyncio.wait({task})
        if task.cancelled():
            raise CallCancelled("it was ended with the server")
        return task.result()

    def _is_full(self) -> bool:
        if len(self._tasks) >= self._max_calls:
            # A loop that was closed tells of no end of its tasks.
            self._tasks = {key: task for key, task in self._tasks.items() if not task.get_loop().is_closed()}
        return len(self._tasks) >= self._max_calls

    def _forget(self, key: bytes, task: asyncio.Task[V]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
