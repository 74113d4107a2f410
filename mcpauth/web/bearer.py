"""Bearer tokens that come to this server, RFC 6750 §2.1: in the Authorization header, and nowhere else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mcpauth.oauth.errors import InvalidToken
from mcpauth.web.body import only_header

if TYPE_CHECKING:
    from starlette.requests import Request

_BEARER = re.compile(r"bearer +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)


def bearer_token(request: Request) -> str:
    """The token of a request.

    Raises:
        InvalidRequest: there are two Authorization headers.
        InvalidToken: there is none, or it has no Bearer token.
    """
    match = _BEARER.fullmatch((only_header(request, "authorization") or "").strip(" "))
    if match is None:
        raise InvalidToken("a Bearer token is needed")
    return match[1]
