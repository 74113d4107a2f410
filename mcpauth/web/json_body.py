"""JSON requests, RFC 8259: one value, without the freedoms that two parsers could read differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.web.body import read_body
from mcpauth_middleware.message.strict_json import parse

if TYPE_CHECKING:
    from starlette.requests import Request

JSON = "application/json"


async def read_json(request: Request) -> object:
    """The value of a JSON body. All of it can be written as JSON again: into the store, into the answer.

    Raises:
        InvalidRequest: not JSON by its media type, or too long (413).
        ValueError: not JSON by its text, or not strict: too deep, a repeated member, NaN, a number that is
            too large, a lone surrogate.
    """
    return parse(await read_body(request, JSON))
