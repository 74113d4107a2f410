"""Who calls: what a verified access token says, RFC 9068 §2.2, and how a tool asks for it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mcpauth_middleware.integrations import mcp_sdk

if TYPE_CHECKING:
    from collections.abc import Mapping

SCOPE_KEY = "mcpauth.principal"
"""Where the ASGI scope carries the `Principal`."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Principal:
    """The caller, as the authorization server vouches for it. The token itself is not part of it."""

    issuer: str
    """`iss`: `subject` and `client_id` are unique only together with it."""
    subject: str
    """`sub`: the user, or the client where no user is involved."""
    client_id: str | None
    scopes: frozenset[str]
    resource: str
    """The resource the token was accepted for, in canonical form."""
    expires_at: int
    token_id: str | None = None
    """`jti`."""
    claims: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False, repr=False)
    """All verified claims, read-only. Not in the `repr`: they hold what a log should not."""


principal_var: ContextVar[Principal] = ContextVar("mcpauth_principal")
"""Set by the middleware for the time of one request."""


def current_principal() -> Principal:
    """Who sent the message being handled.

    The SDK's own record of the request is asked first: a stateful session of mcp 1.x handles every
    message in the context of its first one, so a context variable alone would be stale there.

    Raises:
        LookupError: no request is being handled, or it did not come through `McpAuthMiddleware`.
    """
    scope = mcp_sdk.current_scope()
    principal = scope.get(SCOPE_KEY) if scope is not None else None
    if isinstance(principal, Principal):
        return principal
    try:
        return principal_var.get()
    except LookupError:
        raise LookupError(
            "no principal: this code does not run inside a request that McpAuthMiddleware let through"
        ) from None
