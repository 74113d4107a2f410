"""How much work something is, counted instead of timed: the same on every machine, however busy."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType


def calls(work: Callable[[], object]) -> int:
    """How many functions are called, those that are written in C included."""
    with counted() as count:
        work()
    return count()


@contextmanager
def counted() -> Generator[Callable[[], int]]:
    """Counts the calls that this thread makes meanwhile, whichever task of its event loop makes them."""
    count = 0

    def seen(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before, was_collecting = sys.getprofile(), gc.isenabled()
    # A collection that begins meanwhile calls those who asked to be told of it, as Hypothesis does.
    gc.disable()
    sys.setprofile(seen)
    try:
        yield lambda: count
    finally:
        sys.setprofile(before)
        if was_collecting:
            gc.enable()
