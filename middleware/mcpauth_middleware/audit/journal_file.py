"""The file behind an audit journal: whole lines, one writer, nobody else's eyes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import sys
from typing import Protocol, cast

if sys.platform != "win32":
    import fcntl

MODE = 0o600
# The last line is looked for in this much of the end; it is many times the longest event.
TAIL_BYTES = 4 * 1024 * 1024


class JournalError(OSError):
    """The journal cannot be used; the message names the path and the mend."""


class LineFile(Protocol):
    """Appends lines."""

    last_seq: int
    is_prompt: bool
    """Whether appending is quick as a rule, so that nobody else need do it."""

    def append(self, line: bytes) -> None:
        """Write the line, whole or not at all."""
        ...

    def close(self) -> None:
        """Make what was written durable, and let go of the file."""
        ...


class JournalFile:
    """A regular file of mode 0600 that no other process writes.

    Raises:
        JournalError: the path is a link, no regular file, open to others, in use, or holds something else.
        OSError: it cannot be opened.
    """

    is_prompt = True

    def __init__(self, path: str) -> None:
        self._fd = _open(path)
        try:
            _require_private(self._fd, path)
            _lock(self._fd, path)
            self.last_seq, is_torn = _read_tail(self._fd, path)
            if is_torn:
                # A crash cut the last line. It stays, but must not swallow the next one.
                self.append(b"\n")
        except BaseException:
            os.close(self._fd)
            raise

    def append(self, line: bytes) -> None:
        """Write the line, whole or not at all.

        Raises:
            OSError: it could not be written, as on a full disk.
        """
        written = os.write(self._fd, line)
        if written == len(line):
            return
        try:
            while written < len(line):
                written += os.write(self._fd, line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            raise

    def close(self) -> None:
        """Make what was written durable, and let go of the file."""
        # What is written later fails, and never ends in a file that got the same number.
        fd, self._fd = self._fd, -1
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class StandardOutput:
    """Standard output, as a container's log wants it. Lines are numbered from 1 in each run."""

    is_prompt = False  # whoever reads the pipe may be slow

    def __init__(self) -> None:
        self._fd = os.dup(1)
        self.last_seq = 0

    def append(self, line: bytes) -> None:
        """Write the line."""
        while line:
            line = line[os.write(self._fd, line) :]

    def close(self) -> None:
        """Let go of it."""
        fd, self._fd = self._fd, -1
        os.close(fd)


def _open(path: str) -> int:
    # O_NONBLOCK: a pipe in the file's place must not hang the start. It means nothing to regular files.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags, MODE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise JournalError(f"{path}: is a symbolic link; name the file itself") from None
        if error.errno == errno.ENOENT:  # the file itself is made
            raise JournalError(f"{path}: its folder does not exist; make it") from None
        raise


def _require_private(fd: int, path: str) -> None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise JournalError(f"{path}: is not a regular file")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise JournalError(f"{path}: is open to others (mode {mode:04o}); chmod 600 it")


def _lock(fd: int, path: str) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Two writers would number their events alike.
        raise JournalError(
            f"{path}: another journal writes to it; each needs a file of its own, and so does each worker"
            " process: put os.getpid() into the name"
        ) from None


def _read_tail(fd: int, path: str) -> tuple[int, bool]:
    """The `seq` of the last event, and whether the file ends within a line."""
    size = os.fstat(fd).st_size
    if size == 0:
        return 0, False
    tail = os.pread(fd, TAIL_BYTES, max(0, size - TAIL_BYTES))
    for line in reversed(tail.splitlines()):
        seq = _seq(line)
        if seq is not None:
            return seq, not tail.endswith(b"\n")
    raise JournalError(f"{path}: is not an audit journal; name a new file")


def _seq(line: bytes) -> int | None:
    try:
        event: object = json.loads(line)
    except ValueError:
        return None
    seq = cast("dict[str, object]", event).get("seq") if isinstance(event, dict) else None
    return seq if isinstance(seq, int) else None
