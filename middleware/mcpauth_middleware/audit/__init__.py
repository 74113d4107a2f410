"""What happened: audit events and the journal that keeps them."""

from __future__ import annotations

from mcpauth_middleware.audit.journal import AuditJournal as AuditJournal
from mcpauth_middleware.audit.journal_file import JournalError as JournalError
from mcpauth_middleware.audit.options import AuditOptions as AuditOptions
from mcpauth_middleware.audit.sink import KEPT as KEPT
from mcpauth_middleware.audit.sink import AuditSink as AuditSink
from mcpauth_middleware.audit.sink import LogSink as LogSink
from mcpauth_middleware.audit.sink import TextSink as TextSink
