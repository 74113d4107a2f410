"""Deciding again, under another policy, about the calls in an audit journal."""

from __future__ import annotations

from mcpauth_middleware.replay.compare import Compared as Compared
from mcpauth_middleware.replay.compare import compare as compare
from mcpauth_middleware.replay.compare import replay as replay
from mcpauth_middleware.replay.journal import Journal as Journal
from mcpauth_middleware.replay.lines import Line as Line
from mcpauth_middleware.replay.lines import lines_of as lines_of
from mcpauth_middleware.replay.recorded import Recorded as Recorded
