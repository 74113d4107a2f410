"""Processor time of a process and all that it started, from `/proc` (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
# Of /proc/PID/stat, counted after the program's name, which may hold spaces: proc(5).
_PARENT, _USER, _SYSTEM = 1, 11, 12


def spent_ms(pid: int) -> float:
    """Milliseconds that the process and its descendants have spent so far, in user mode and in the kernel.

    Threads count; what the kernel does on its own behalf, such as writing to the disk, does not.
    """
    stats = {int(path.name): _stat(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
    return sum(
        (int(stat[_USER]) + int(stat[_SYSTEM])) * _TICK_MS
        for each, stat in stats.items()
        if stat and _descends(each, pid, stats)
    )


def _stat(process: Path) -> list[str]:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []  # it has ended meanwhile


def _descends(each: int, ancestor: int, stats: dict[int, list[str]]) -> bool:
    while each != ancestor:
        stat = stats.get(each)
        if not stat:
            return False
        each = int(stat[_PARENT])
    return True
