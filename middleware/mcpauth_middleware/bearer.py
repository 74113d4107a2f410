"""Where the access token is, RFC 6750 §2 and RFC 9449 §7.1: in the Authorization header and nowhere else."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import parse_qsl

from mcpauth_middleware.errors import InvalidRequest, InvalidToken, MissingToken

if TYPE_CHECKING:
    from mcpauth_middleware.request_headers import RequestHeaders

Scheme = Literal["Bearer", "DPoP"]

_SCHEMES: dict[bytes, Scheme] = {b"bearer": "Bearer", b"dpop": "DPoP"}
_OF_B64TOKEN = (string.ascii_letters + string.digits + "-._~+/").encode()
_MAX_QUERY_FIELDS = 100


class Credentials(NamedTuple):
    """A token, and as what it was sent."""

    scheme: Scheme
    token: str

    def __repr__(self) -> str:
        """Without the token."""
        return f"Credentials(scheme={self.scheme!r})"


def read_credentials(sent: RequestHeaders, query_string: bytes) -> Credentials:
    """The token of a request.

    Raises:
        InvalidRequest: two Authorization headers, or a token in the query, where it ends in logs.
        MissingToken: no Authorization header, or another scheme.
        InvalidToken: what follows the scheme cannot be a token.
    """
    if query_string:
        _refuse_token_in_query(query_string)
    values = sent.all(b"authorization")
    if len(values) > 1:
        # Which of two is read differs from server to server.
        raise InvalidRequest("authorization_twice")
    name, _, token = values[0].partition(b" ") if values else (b"", b"", b"")
    token = token.strip(b" ")
    scheme = _SCHEMES.get(name.lower())
    if scheme is None or not token:
        raise MissingToken
    if not is_b64token(token):
        raise InvalidToken("malformed")
    return Credentials(scheme, token.decode())


def is_b64token(token: bytes) -> bool:
    """Whether it can be sent as a token, §2.1: some of these characters, and any number of "=" after them."""
    text = token.rstrip(b"=")
    return bool(text) and not text.translate(None, _OF_B64TOKEN)


def _refuse_token_in_query(query_string: bytes) -> None:
    try:
        fields = parse_qsl(
            query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS
        )
    except ValueError:
        raise InvalidRequest("query") from None
    if any(name == "access_token" for name, _ in fields):
        raise InvalidRequest("token_in_query")
