"""`Mcp-Param-*`, held against the arguments in the body (MCP 2026-07-28, Streamable HTTP).

Someone on the way may route or count by such a header; the tool runs with the argument. Headers that the
tool does not declare say nothing and pass; of a tool that is not known, nobody could tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from mcpauth_middleware.message.headers import Headers, decoded, has_param_headers, single_headers
from mcpauth_middleware.message.refusal import HEADER_MISMATCH, MessageRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth_middleware.catalogue.param_headers import ParamHeader, Path

# The canonical decimal form, and a fraction of nothing.
_INTEGER = re.compile(r"(-?(?:0|[1-9][0-9]{0,99}))(?:\.0{1,99})?")


def require_param_agreement(
    headers: Headers, declared: Sequence[ParamHeader] | None, arguments: Mapping[str, Any], *, required: bool
) -> None:
    """Check every header that the tool declares. Where they are not `required`, those that came must be true.

    `declared` None: nobody knows what the tool declares.

    Raises:
        MessageRefused: a header differs from its argument, is there without one, or is missing, or nobody
            can tell what it must be.
    """
    single = single_headers(headers)
    if declared is None and has_param_headers(single):
        raise MessageRefused(HEADER_MISMATCH, "Mcp-Param headers of a tool that the server does not list")
    if not declared:
        return
    for one in declared:
        _check(one, single.get(one.header), _value_at(arguments, one.path), required=required)


def _check(declared: ParamHeader, header: str | None, value: object, *, required: bool) -> None:
    # Both go back to the client: its own header, and the server's own schema.
    name, argument = declared.header, ".".join(declared.path)
    if header is None:
        # For what no header can hold a client that does all right sends none.
        if required and _rendered(value) is not None:
            raise MessageRefused(HEADER_MISMATCH, f"{name} is missing, but {argument} is in the arguments")
        return
    if value is None:
        raise MessageRefused(HEADER_MISMATCH, f"{name} is there, but {argument} is not in the arguments")
    if not _agree(declared, decoded(name, header), value):
        raise MessageRefused(HEADER_MISMATCH, f"{name} does not match {argument} in the arguments")


def _agree(declared: ParamHeader, header: str, value: object) -> bool:
    if declared.type == "integer" and _is_whole(value):
        match = _INTEGER.fullmatch(header)
        return match is not None and int(match[1]) == value
    return header == _rendered(value)


def _is_whole(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _rendered(value: object) -> str | None:
    """The text of an argument in a header; None for what has none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else None


def _value_at(arguments: Mapping[str, Any], path: Path) -> object:
    found: object = arguments
    for name in path:
        if not isinstance(found, Mapping):
            return None
        found = cast("Mapping[str, object]", found).get(name)
    return found
