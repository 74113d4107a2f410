"""What the protected application gets to see of a request: who calls, and never the token.

A server that holds its caller's token could use it elsewhere in the caller's name, which MCP forbids
("token passthrough"); what it does not have it cannot pass on.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from mcpauth_middleware.integrations import mcp_sdk
from mcpauth_middleware.principal import SCOPE_KEY, principal_var

if TYPE_CHECKING:
    from collections.abc import Generator

    from mcpauth_middleware.asgi import Headers, Scope
    from mcpauth_middleware.exchange import Call, Exchange

_CREDENTIALS = frozenset({b"authorization", b"dpop"})


@contextmanager
def signed_in(exchange: Exchange, call: Call) -> Generator[Scope]:
    """The scope for the application, and the time in which `current_principal()` answers."""
    scope = {**exchange.scope, "headers": _headers(exchange, call), SCOPE_KEY: call.principal}
    token = principal_var.set(call.principal)
    try:
        with mcp_sdk.signed_in(scope, call.principal):
            yield scope
    finally:
        principal_var.reset(token)


def without_token(scope: Scope) -> Scope:
    """The scope of a request to a public path, to which a client may send its token all the same."""
    return {
        **scope,
        "headers": [(name, value) for name, value in scope["headers"] if name.lower() not in _CREDENTIALS],
    }


def _headers(exchange: Exchange, call: Call) -> Headers:
    removed = set(_CREDENTIALS)
    lists = call.message is not None and call.message.lists is not None
    if exchange.method == "GET" or lists or call.must_be_readable:
        # What is filtered or put together here must be readable.
        removed.add(b"accept-encoding")
    return [(name, value) for name, value in exchange.headers if name not in removed]
