"""Tokens that come to this server, RFC 6750 §2.1, RFC 9449 §7.1: in the Authorization header alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mcpauth.oauth.errors import InvalidToken
from mcpauth.web.body import only_header

if TYPE_CHECKING:
    from starlette.requests import Request

_CREDENTIALS = re.compile(r"(bearer|dpop) +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)


def access_token(request: Request) -> tuple[str, str]:
    """The scheme of a request's token, in lower case, and the token.

    Raises:
        InvalidRequest: there are two Authorization headers.
        InvalidToken: there is none, or it has neither a Bearer nor a DPoP token.
    """
    match = _CREDENTIALS.fullmatch((only_header(request, "authorization") or "").strip(" "))
    if match is None:
        raise InvalidToken("an access token is needed")
    return match[1].lower(), match[2]


def bearer_token(request: Request) -> str:
    """The Bearer token of a request.

    Raises:
        InvalidRequest, InvalidToken: as `access_token`, or it is a DPoP token.
    """
    scheme, token = access_token(request)
    if scheme != "bearer":
        raise InvalidToken("a Bearer token is needed")
    return token
