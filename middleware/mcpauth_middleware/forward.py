"""What the protected application gets to see of a request: who calls, and never the token.

A server that holds its caller's token could use it elsewhere in the caller's name, which MCP forbids
("token passthrough"); what it does not have it cannot pass on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth_middleware.integrations import mcp_sdk
from mcpauth_middleware.principal import SCOPE_KEY, principal_var

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import Headers, Scope
    from mcpauth_middleware.exchange import Call, Exchange

_CREDENTIALS = frozenset({b"authorization", b"dpop"})
_CREDENTIALS_AND_CODING = _CREDENTIALS | {b"accept-encoding"}


class SignedIn:
    """The time in which `current_principal()` answers; it gives the scope for the application."""

    __slots__ = ("_before", "_call", "_exchange", "_sdk_before")

    def __init__(self, exchange: Exchange, call: Call) -> None:
        self._exchange = exchange
        self._call = call

    def __enter__(self) -> Scope:
        """Begin it."""
        exchange, call = self._exchange, self._call
        principal = call.principal
        scope = {**exchange.scope, "headers": _headers(exchange, call), SCOPE_KEY: principal}
        self._before = principal_var.set(principal)
        self._sdk_before = mcp_sdk.sign_in(scope, principal)
        return scope

    def __exit__(self, *_: object) -> None:
        """End it."""
        mcp_sdk.sign_out(self._sdk_before)
        principal_var.reset(self._before)


def without_token(scope: Scope) -> Scope:
    """The scope of a request to a public path, to which a client may send its token all the same."""
    return {
        **scope,
        "headers": [(name, value) for name, value in scope["headers"] if name.lower() not in _CREDENTIALS],
    }


def _headers(exchange: Exchange, call: Call) -> Headers:
    # What is filtered or put together here must be readable.
    is_read = call.must_be_readable or call.may_bring_list(exchange.method)
    removed = _CREDENTIALS_AND_CODING if is_read else _CREDENTIALS
    return [header for header in exchange.headers if header[0] not in removed]
