"""The journal: whole lines, numbered without gaps, in a file that is safe to write."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import stat
import subprocess
import sys
import threading
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from mcpauth_middleware.audit import AuditJournal, JournalError
from mcpauth_middleware.audit.journal import PATIENCE_SECONDS, SLOW_SECONDS
from mcpauth_middleware.audit.sink import KEPT

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.1234


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def journal(path: Path, now: float = NOW) -> AuditJournal:
    return AuditJournal(path, now=lambda: now)


async def test_an_event_is_a_line_with_id_number_and_time(tmp_path: Path) -> None:
    """RFC 3339 with milliseconds, in UTC; RFC 9562 version 7."""
    path = tmp_path / "audit.jsonl"
    writer = journal(path)
    await writer.record({"type": "call", "seq": "not mine", "text": "x"})
    await writer.record({})
    await writer.aclose()
    first, second = lines(path)
    assert list(first) == ["id", "seq", "ts", "type", "text"]
    assert (first["seq"], second["seq"]) == (1, 2)
    assert first["ts"] == "2027-01-15T08:00:00.123Z"
    assert uuid.UUID(first["id"]).version == 7
    assert uuid.UUID(first["id"]).variant == uuid.RFC_4122
    assert first["id"] != second["id"]
    assert int(first["id"].replace("-", "")[:12], 16) == int(NOW * 1000)


async def test_record_returns_when_the_line_is_written(tmp_path: Path) -> None:
    """Whoever runs a call after it has its intent on record."""
    path = tmp_path / "audit.jsonl"
    writer = journal(path)
    for number in range(1, 20):
        await writer.record({"n": number})
        assert [event["n"] for event in lines(path)] == list(range(1, number + 1))
    await writer.aclose()


async def test_many_at_once_are_numbered_without_gaps(tmp_path: Path) -> None:
    """`seq` is dense, and lines are never mixed."""
    path = tmp_path / "audit.jsonl"
    writer = journal(path)
    await asyncio.gather(*(writer.record({"n": number, "x": "y" * 5000}) for number in range(300)))
    await writer.aclose()
    assert [event["seq"] for event in lines(path)] == list(range(1, 301))
    assert {event["n"] for event in lines(path)} == set(range(300))


async def test_several_event_loops_can_share_a_journal(tmp_path: Path) -> None:
    """Servers in threads of one process."""
    path = tmp_path / "audit.jsonl"
    writer = journal(path)

    def serve(name: int) -> None:
        async def run() -> None:
            for _ in range(20):
                await writer.record({"loop": name})

        asyncio.run(run())

    threads = [threading.Thread(target=serve, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await writer.aclose()
    assert [event["seq"] for event in lines(path)] == list(range(1, 81))


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "\x00\x1b[31m", "\u2028\u2029\x85", "\ud800", '"}\n{"seq":9}']
)
async def test_no_text_can_end_a_line_or_reach_a_terminal(tmp_path: Path, text: str) -> None:
    """Log injection: a name is the caller's."""
    path = tmp_path / "audit.jsonl"
    writer = journal(path)
    await writer.record({"name": text, text: 1})
    await writer.aclose()
    raw = path.read_bytes()
    assert raw.count(b"\n") == 1
    assert raw.isascii()
    assert all(byte >= 0x20 for byte in raw[:-1])
    assert lines(path)[0]["name"] == text


async def test_the_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    """Mode 0600, whatever the umask lets through."""
    path = tmp_path / "audit.jsonl"
    before = os.umask(0)
    try:
        writer = journal(path)
    finally:
        os.umask(before)
    await writer.aclose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    """A gap is then always a loss."""
    path = tmp_path / "audit.jsonl"
    for _ in range(3):
        writer = journal(path)
        await writer.record({})
        await writer.aclose()
    assert [event["seq"] for event in lines(path)] == [1, 2, 3]


async def test_a_line_that_a_crash_cut_stays_and_spoils_nothing(tmp_path: Path) -> None:
    """Evidence is not removed, and the next line is whole."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"id":"a","seq":4,"ts":"x"}\n{"id":"b","seq":5,"t')
    path.chmod(0o600)
    writer = journal(path)
    await writer.record({"type": "call"})
    await writer.aclose()
    kept, cut, written = path.read_bytes().splitlines()
    assert (json.loads(kept)["seq"], cut, json.loads(written)["seq"]) == (4, b'{"id":"b","seq":5,"t', 5)
    again = journal(path)
    await again.record({})
    await again.aclose()
    assert json.loads(path.read_bytes().splitlines()[-1])["seq"] == 6


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    """Someone else could have put it there; its target is not touched."""
    target = tmp_path / "target"
    target.write_bytes(b"")
    target.chmod(0o600)
    link = tmp_path / "audit.jsonl"
    link.symlink_to(target)
    with pytest.raises(JournalError, match="is a symbolic link; name the file itself"):
        journal(link)
    assert target.read_bytes() == b""


def test_what_is_no_regular_file_is_refused_without_hanging(tmp_path: Path) -> None:
    """A pipe without a reader would block the start."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(JournalError, match="is not a regular file"):
        journal(pipe)
    with pytest.raises(IsADirectoryError):
        journal(tmp_path)
    with pytest.raises(JournalError, match="its folder does not exist; make it"):
        journal(tmp_path / "missing" / "audit.jsonl")


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    """The mend is in the message; the mode is not silently changed."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"")
    path.chmod(mode)
    with pytest.raises(JournalError, match=f"is open to others \\(mode {mode:04o}\\); chmod 600 it"):
        journal(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A wrong path in the settings must not spoil a file."""
    path = tmp_path / "notes.txt"
    path.write_bytes(b"my notes\n")
    path.chmod(0o600)
    with pytest.raises(JournalError, match="is not an audit journal"):
        journal(path)
    assert path.read_bytes() == b"my notes\n"


async def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """Two would number their events alike."""
    path = tmp_path / "audit.jsonl"
    writer = journal(path)
    with pytest.raises(
        JournalError,
        match=r"another journal writes to it; .* worker process: put os.getpid\(\) into the name",
    ):
        journal(path)
    await writer.record({})
    await writer.aclose()
    second = journal(path)
    await second.aclose()


@contextmanager
def full_disk(size: int) -> Generator[None]:
    """No file grows over `size` bytes: what a full disk does, with another errno."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_an_error_for_the_call_and_leaves_no_half_line(tmp_path: Path) -> None:
    """The call is then refused; when there is room again the numbers go on without a gap."""
    path = tmp_path / "audit.jsonl"
    writer = journal(path)
    await writer.record({"n": 1})
    size = path.stat().st_size
    with full_disk(size + 50):
        for _ in range(2):
            with pytest.raises(OSError, match="File too large"):
                await writer.record({"n": "x" * 100})
            assert path.stat().st_size == size
    await writer.record({"n": 2})
    await writer.aclose()
    assert [(event["seq"], event["n"]) for event in lines(path)] == [(1, 1), (2, 2)]


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", float("nan"), float("inf")])
async def test_what_json_has_not_is_an_error_and_leaves_no_gap(tmp_path: Path, value: object) -> None:
    """A fault in the caller must not look like a lost event."""
    path = tmp_path / "audit.jsonl"
    writer = journal(path)
    with pytest.raises((TypeError, ValueError)):
        await writer.record({"value": value})
    await writer.record({})
    await writer.aclose()
    assert [event["seq"] for event in lines(path)] == [1]


async def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    """A call after the end of the server is not run."""
    path = tmp_path / "audit.jsonl"
    writer = journal(path)
    await writer.aclose()
    await writer.aclose()
    with pytest.raises(JournalError, match="closed"):
        await writer.record({})
    assert path.read_bytes() == b""


class Stuck:
    """A journal that another thread writes to, and does not get done before the gate opens."""

    def __init__(self, path: Path) -> None:
        self.gate = threading.Event()
        self.writer = AuditJournal(path, now=self._now)
        self._is_writing = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._write()))
        self._thread.start()
        assert self._is_writing.wait(10)

    async def _write(self) -> None:
        await self.writer.record({"n": 0})

    def _now(self) -> float:
        self._is_writing.set()
        self.gate.wait(10)
        return NOW

    async def aclose(self) -> None:
        await asyncio.to_thread(self._thread.join)
        await self.writer.aclose()


async def test_whoever_stops_waiting_stops_nothing(tmp_path: Path) -> None:
    """A cancelled request: its event is written all the same, and the next one too."""
    path = tmp_path / "audit.jsonl"
    stuck = Stuck(path)
    waiting = asyncio.ensure_future(stuck.writer.record({"n": 1}))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    next_one = asyncio.ensure_future(stuck.writer.record({"n": 2}))
    stuck.gate.set()
    await next_one
    await stuck.aclose()
    assert [event["n"] for event in lines(path)] == [0, 1, 2]
    assert [event["seq"] for event in lines(path)] == [1, 2, 3]


async def test_a_write_that_hangs_holds_up_no_other_loop(tmp_path: Path) -> None:
    """Only those wait that wait for their record."""
    path = tmp_path / "audit.jsonl"
    stuck = Stuck(path)
    waiting = asyncio.ensure_future(stuck.writer.record({"n": 1}))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    assert path.read_bytes() == b""
    stuck.gate.set()
    await waiting
    await stuck.aclose()
    assert [event["n"] for event in lines(path)] == [0, 1]


async def test_after_a_slow_write_a_thread_writes_for_a_while(tmp_path: Path) -> None:
    """A disk that hesitates holds up one call, and none of those that come after it."""
    path = tmp_path / "audit.jsonl"
    clock, writers, seconds = [0.0], list[str](), [SLOW_SECONDS + 0.01]

    def monotonic() -> float:
        # Whatever happens between two looks at it takes so long.
        clock[0] += seconds[0]
        return clock[0]

    def now() -> float:
        writers.append(threading.current_thread().name)
        return NOW

    writer = AuditJournal(path, now=now, monotonic=monotonic)
    await writer.record({})
    seconds[0] = 0.0
    await writer.record({})
    clock[0] += PATIENCE_SECONDS
    await writer.record({})
    await writer.aclose()
    here = threading.current_thread().name
    assert writers == [here, "mcpauth-audit", here]
    assert [event["seq"] for event in lines(path)] == [1, 2, 3]


async def test_what_was_recorded_at_once_need_not_be_awaited(tmp_path: Path) -> None:
    """A file takes a line in microseconds: the event is in it when `record` returns."""
    path = tmp_path / "audit.jsonl"
    writer = journal(path)
    assert writer.record({"n": 1}) is KEPT
    assert [event["n"] for event in lines(path)] == [1]
    await writer.aclose()


async def test_what_waits_at_the_end_is_still_written(tmp_path: Path) -> None:
    """`aclose` drains."""
    path = tmp_path / "audit.jsonl"
    stuck = Stuck(path)
    waiting = [asyncio.ensure_future(stuck.writer.record({"n": number})) for number in range(50)]
    await asyncio.sleep(0)
    stuck.gate.set()
    await stuck.aclose()
    await asyncio.gather(*waiting)
    assert len(lines(path)) == 51


async def test_a_dash_is_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """What a container's log collects."""
    writer = AuditJournal("-", now=lambda: NOW)
    await writer.record({"n": 1})
    await writer.record({"n": 2})
    await writer.aclose()
    written = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [(event["seq"], event["n"]) for event in written] == [(1, 1), (2, 2)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_process_does_not_write_its_parent_s_journal(tmp_path: Path) -> None:
    """A server that forks workers after opening it: the lock and the numbers are the parent's."""
    path = tmp_path / "audit.jsonl"
    forked = subprocess.run(
        [sys.executable, "-c", FORKED, str(path)], capture_output=True, text=True, timeout=30, check=True
    )
    assert "before this process forked" in forked.stdout
    assert [line["type"] for line in lines(path)] == ["parent"]


FORKED = """
import os, sys
from mcpauth_middleware import AuditJournal

journal = AuditJournal(sys.argv[1])
child = os.fork()
if child == 0:
    try:
        journal.record({"type": "child"})
    except OSError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
journal.record({"type": "parent"})
"""
