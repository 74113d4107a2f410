"""MCP messages: read strictly on the way in, list results filtered on the way out."""

from __future__ import annotations

from mcpauth_middleware.message.batch import Member as Member
from mcpauth_middleware.message.batch import is_batch as is_batch
from mcpauth_middleware.message.batch import read_batch as read_batch
from mcpauth_middleware.message.headers import single_headers as single_headers
from mcpauth_middleware.message.lists import ListFilter as ListFilter
from mcpauth_middleware.message.lists import list_item_target as list_item_target
from mcpauth_middleware.message.request import Message as Message
from mcpauth_middleware.message.request import MessageRefused as MessageRefused
from mcpauth_middleware.message.request import Target as Target
from mcpauth_middleware.message.request import check_stream_request as check_stream_request
from mcpauth_middleware.message.request import read_message as read_message
from mcpauth_middleware.message.request import read_with as read_with
