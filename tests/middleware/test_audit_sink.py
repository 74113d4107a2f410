"""The sink that needs no settings."""

from __future__ import annotations

import json
import logging

import pytest

from mcpauth_middleware.audit import LogSink

pytestmark = pytest.mark.anyio


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
