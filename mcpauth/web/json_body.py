"""JSON requests, RFC 8259: one value, without the freedoms that two parsers could read differently."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from mcpauth.web.body import read_body

if TYPE_CHECKING:
    from starlette.requests import Request

JSON = "application/json"


async def read_json(request: Request) -> Any:  # noqa: ANN401 - any JSON value; the caller checks it
    """The value of a JSON body.

    Raises:
        InvalidRequest: not JSON by its media type, or too long (413).
        ValueError: not JSON by its text, too deep, a repeated member, NaN.
    """
    body = await read_body(request, JSON)
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("too deep") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is repeated")
    return members


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("not JSON")
