"""The sink that needs no settings."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from mcpauth_middleware import Policy
from mcpauth_middleware.audit import LogSink
from tests.middleware.edge_helpers import Clock, Journal, RecordingApp, bearer, client_of, post, protect

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.anyio

READERS = Policy.from_toml('version = 1\n[[rules]]\nid = "readers"\nallow = { tools = ["read"] }')


async def test_events_are_logged_as_one_line_of_json(caplog: pytest.LogCaptureFixture) -> None:
    """Logger `mcpauth_middleware.audit`, level INFO."""
    event = {"type": "call", "mcp": {"name": "a\nb\x1b[0m%s"}}
    with caplog.at_level(logging.INFO, logger="mcpauth_middleware.audit"):
        await LogSink().record(event)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("mcpauth_middleware.audit", logging.INFO)
    assert "\n" not in record.getMessage()
    assert json.loads(record.getMessage()) == event


async def test_what_json_has_not_is_an_error() -> None:
    """What cannot be recorded must not look recorded."""
    with pytest.raises(TypeError):
        await LogSink().record({"value": object()})


class Lines:
    """A sink that takes text."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def record(self, event: Mapping[str, Any]) -> None:
        self.lines.append(json.dumps(event))

    async def record_text(self, members: str) -> None:
        self.lines.append(f"{{{members}}}")


async def test_a_sink_may_take_the_text_of_the_same_events() -> None:
    """It costs less, and says the same."""
    text, plain = Lines(), Journal()
    for sink in (text, plain):
        client = client_of(protect(RecordingApp(), audit=sink, policy=READERS, now=Clock()))
        await post(client, "tools/call", {"name": "read", "arguments": {"q": "é\n"}}, headers=bearer())
        await post(client, "tools/call", {"name": "other"}, headers=bearer())
    told = [json.loads(line) for line in text.lines]
    assert [event["phase"] for event in told] == ["intent", "outcome", "outcome"]
    assert [{**event, "call": ""} for event in told] == [{**event, "call": ""} for event in plain.events]
    assert all(line.isascii() and line.isprintable() for line in text.lines)


async def test_a_sink_derived_from_one_that_takes_text_is_still_asked_for_what_it_does() -> None:
    """Else what it leaves out would be recorded."""

    class Discreet(Lines):
        async def record(self, event: Mapping[str, Any]) -> None:
            await super().record({name: value for name, value in event.items() if name != "args"})

    sink = Discreet()
    client = client_of(protect(RecordingApp(), audit=sink, policy=READERS, now=Clock()))
    await post(client, "tools/call", {"name": "read"}, headers=bearer())
    assert len(sink.lines) == 2
    assert not any("args" in line for line in sink.lines)


async def test_events_that_nothing_keeps_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """As Python starts, the level INFO goes nowhere: whoever thinks there is a journal should know."""
    sink = LogSink()
    for _ in range(2):
        await sink.record({"type": "call"})
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "AuditJournal" in record.getMessage()


async def test_events_that_somebody_keeps_or_turned_off_are_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A level at the logger itself is a choice."""
    for level in (logging.INFO, logging.ERROR):
        with caplog.at_level(level, logger="mcpauth_middleware.audit"):
            await LogSink().record({"type": "call"})
    assert [record.levelno for record in caplog.records] == [logging.INFO]
