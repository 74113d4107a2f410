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
    from mcpauth_middleware.principal import Principal

_CREDENTIALS = frozenset({b"authorization", b"dpop"})
_CREDENTIALS_AND_CODING = _CREDENTIALS | {b"accept-encoding"}


def signed_in(exchange: Exchange, call: Call) -> SignedIn:
    """The scope for the application, and the time in which `current_principal()` answers."""
    scope = {**exchange.scope, "headers": _headers(exchange, call), SCOPE_KEY: call.principal}
    return SignedIn(scope, call.principal)


class SignedIn:
    """That time, as a context manager that gives the scope."""

    def __init__(self, scope: Scope, principal: Principal) -> None:
        self._scope = scope
        self._principal = principal

    def __enter__(self) -> Scope:
        """Begin it."""
        self._before = principal_var.set(self._principal)
        self._sdk_before = mcp_sdk.sign_in(self._scope, self._principal)
        return self._scope

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
    lists = call.message is not None and call.message.lists is not None
    # What is filtered or put together here must be readable.
    is_read = exchange.method == "GET" or lists or call.must_be_readable
    removed = _CREDENTIALS_AND_CODING if is_read else _CREDENTIALS
    return [header for header in exchange.headers if header[0] not in removed]
