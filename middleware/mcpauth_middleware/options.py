"""The options of `McpAuthMiddleware`, checked when it is built: each mistake is told with its mend.

Each function returns the option in the form the middleware uses.

Raises:
    ValueError: names the argument, what is wrong with it and what to write instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args
from urllib.parse import urlsplit

from mcpauth_middleware.challenge import is_scope
from mcpauth_middleware.errors import naming
from mcpauth_middleware.limits import RateLimit
from mcpauth_middleware.policy import Policy
from mcpauth_middleware.resource import canonical_resource, is_loopback_host
from mcpauth_middleware.tokens.authorization_server import AuthorizationServer, distinct
from mcpauth_middleware.tokens.discovery import check_issuer
from mcpauth_middleware.tokens.dpop import DpopMode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence


def protected_resource(uri: str) -> str:
    """The canonical identifier; https, except on loopback (RFC 9728 §1.2), since tokens travel to it."""
    with naming("resource"):
        resource = canonical_resource(uri)
    parts = urlsplit(resource)
    if parts.scheme != "https" and not is_loopback_host(parts.hostname or ""):
        raise wrong("resource", f"must be the public https address, except on loopback (got {uri!r})")
    return resource


def authorization_servers(
    servers: Sequence[str | AuthorizationServer],
) -> tuple[AuthorizationServer, ...]:
    """The authorization servers; one that is given by its issuer alone follows RFC 9068.

    Issuers stay as they are: clients compare them byte for byte with what the issuer says.
    """
    if isinstance(servers, str | AuthorizationServer):
        raise wrong("authorization_servers", f"give a list, [{servers!r}]")
    if not servers:
        raise wrong("authorization_servers", "name at least one issuer whose tokens are accepted")
    with naming("authorization_servers"):
        for server in servers:
            if isinstance(server, str):
                check_issuer(server)
        return distinct(
            AuthorizationServer(server) if isinstance(server, str) else server for server in servers
        )


def checked_policy(policy: Policy) -> Policy:
    """The policy; there is no default, since the one safe default would deny everything."""
    if not isinstance(policy, Policy):
        raise wrong("policy", f"give a Policy, such as Policy.from_file(...) (got {policy!r})")
    return policy


def advertised_scopes(scopes_supported: Sequence[str] | None, policy: Policy) -> Callable[[], Sequence[str]]:
    """What metadata and challenges name. Asked at each request: decorators may add rules after start."""
    if scopes_supported is None:
        return lambda: sorted(policy.known_scopes)
    scopes = strings("scopes_supported", scopes_supported)
    for scope in scopes:
        if not is_scope(scope):
            raise wrong("scopes_supported", f"not a scope (RFC 6749 §3.3): {scope!r}")
        if scope == "offline_access":
            raise wrong(
                "scopes_supported", "remove offline_access; refresh tokens are no matter of this server"
            )
    return lambda: scopes


def dpop_mode(mode: DpopMode) -> DpopMode:
    """Whether tokens bound to a key are accepted."""
    known = get_args(DpopMode)
    if mode not in known:
        raise wrong("dpop", f"must be one of {', '.join(known)} (got {mode!r})")
    return mode


def rate_limits(limits: Sequence[RateLimit]) -> tuple[RateLimit, ...]:
    """The limits."""
    for limit in limits:
        if not isinstance(limit, RateLimit):
            raise wrong("limits", f'give RateLimit objects, such as RateLimit("60/minute") (got {limit!r})')
    return tuple(limits)


def display_name(resource_name: str | None) -> str | None:
    """The name for people."""
    if resource_name is not None and not resource_name.strip():
        raise wrong("resource_name", "must not be empty; leave it out instead")
    return resource_name


def documentation(resource_documentation: str | None) -> str | None:
    """The address of a page that clients may show as a link, so of no other scheme than http(s)."""
    if resource_documentation is None or resource_documentation.startswith(("https://", "http://")):
        return resource_documentation
    raise wrong("resource_documentation", f"must be an https address (got {resource_documentation!r})")


def body_limit(max_body_bytes: int) -> int:
    """The limit, which must let a message through."""
    if max_body_bytes < 1:
        raise wrong("max_body_bytes", f"must be at least 1 (got {max_body_bytes})")
    return max_body_bytes


def batch_limit(max_batch: int) -> int:
    """The limit; 1 lets a single message pass in either form."""
    if max_batch < 1:
        raise wrong("max_batch", f"must be at least 1 (got {max_batch})")
    return max_batch


def strings(option: str, value: Collection[str]) -> tuple[str, ...]:
    """A list of strings; one string is a collection of strings too, which no type checker tells apart."""
    if isinstance(value, str):
        raise wrong(option, f"give a list, [{value!r}]")
    return tuple(value)


def wrong(option: str, mend: str) -> ValueError:
    """The error of every wrong option."""
    return ValueError(f"{option}: {mend}")
