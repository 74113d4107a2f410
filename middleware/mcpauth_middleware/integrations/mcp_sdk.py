"""The MCP Python SDK (1.26 and later, 2.x) and FastMCP: their own `get_access_token()` works here.

The SDK is used only when the application itself has loaded it: it is no dependency, and a server of
another framework does not pay for it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import ContextVar, Token

    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
    from mcp.server.auth.provider import AccessToken
    from starlette.authentication import AuthCredentials

    from mcpauth_middleware.asgi import Scope
    from mcpauth_middleware.principal import Principal

NOT_THE_TOKEN = "removed-by-mcpauth"  # noqa: S105  what is not a secret is the point
"""Begins what stands where the SDK's `AccessToken` would hold the token: who has that could call other
servers with it. Equal for equal principals and for no others, since applications keep what belongs to a
caller under the token: FastMCP's `ResponseCachingMiddleware` does."""


def sign_in(scope: Scope, principal: Principal) -> Token[AuthenticatedUser | None] | None:
    """Fill `scope["user"]`, `scope["auth"]` and the SDK's context variable, as its own middleware would.

    The scope binds sessions to their user and is what FastMCP reads; the SDK's `get_access_token()`
    reads the variable. What is returned is for `sign_out`.
    """
    # Whoever could read what is filled in here has loaded this module.
    if "mcp.server.auth.middleware.bearer_auth" not in sys.modules:
        return None
    user_of, credentials, context_var = _sdk()
    user = user_of(principal)
    scope["user"] = user
    scope["auth"] = credentials(user.scopes)
    return context_var.set(user)


def sign_out(before: Token[AuthenticatedUser | None] | None) -> None:
    """Set the SDK's context variable back."""
    if before is not None:
        before.var.reset(before)


def current_scope() -> Mapping[str, Any] | None:
    """The ASGI scope of the HTTP request whose message the SDK is handling, where the SDK tells.

    mcp 1.x does, and must be asked there. mcp 2.x runs each message in the context of its own
    request, so that context variables are right by themselves.
    """
    request_ctx = getattr(sys.modules.get("mcp.server.lowlevel.server"), "request_ctx", None)
    if request_ctx is None:
        return None
    try:
        request = request_ctx.get().request
    except LookupError:
        return None
    return cast("Mapping[str, Any] | None", getattr(request, "scope", None))


class _Sdk(NamedTuple):
    user_of: Callable[[Principal], AuthenticatedUser]
    credentials: type[AuthCredentials]
    context_var: ContextVar[AuthenticatedUser | None]


@cache
def _sdk() -> _Sdk:
    from mcp.server.auth.middleware.auth_context import auth_context_var
    from starlette.authentication import AuthCredentials

    return _Sdk(_class_of_users(), AuthCredentials, auth_context_var)


def _class_of_users() -> Callable[[Principal], AuthenticatedUser]:
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
    from mcp.server.auth.provider import AccessToken
    from starlette.authentication import SimpleUser

    # `subject` and `claims` exist from mcp 1.28 on.
    known = frozenset(AccessToken.model_fields)

    class SignedInUser(AuthenticatedUser):
        """The user of one request, whose access token is always that of the message being handled.

        A stateful session of mcp 1.x handles all its messages in the context of the first one, so its
        `get_access_token()` asks the user of that one.
        """

        def __init__(self, principal: Principal) -> None:
            SimpleUser.__init__(self, principal.client_id or "")
            self.scopes = sorted(principal.scopes)
            self._principal = principal
            self._made: AccessToken | None = None

        @property
        def access_token(self) -> AccessToken:
            user = (current_scope() or {}).get("user")
            return (user if isinstance(user, SignedInUser) else self).own_token

        @access_token.setter
        def access_token(self, value: AccessToken) -> None:
            self._made = value

        @property
        def own_token(self) -> AccessToken:
            """That of this request. Few requests ask for it, so it is made when one does."""
            if self._made is None:
                members = _token_members(self._principal)
                self._made = AccessToken(**{name: members[name] for name in members.keys() & known})
            return self._made

    return SignedInUser


def _token_members(principal: Principal) -> dict[str, Any]:
    return {
        "token": f"{NOT_THE_TOKEN}:{_digest(principal)}",
        "client_id": principal.client_id or "",
        "scopes": sorted(principal.scopes),
        "expires_at": principal.expires_at,
        "resource": principal.resource,
        "subject": principal.subject,
        # What introspection says of a token need not hold `iss` (RFC 7662 §2.2), by which the SDK and FastMCP
        # tell apart the users of two issuers.
        "claims": {**principal.claims, "iss": principal.issuer},
    }


def _digest(principal: Principal) -> str:
    said = [
        principal.issuer,
        principal.subject,
        principal.client_id,
        sorted(principal.scopes),
        principal.resource,
        principal.expires_at,
        principal.token_id,
        dict(principal.claims),
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=repr).encode()).hexdigest()
