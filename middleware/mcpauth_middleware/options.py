"""The options of `McpAuthMiddleware`, checked when it is built: each mistake is told with its mend.

Each function returns the option in the form the middleware uses.

Raises:
    ValueError: names the argument, what is wrong with it and what to write instead.
"""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, get_args
from urllib.parse import urlsplit

from mcpauth_middleware.audit import AuditOptions
from mcpauth_middleware.challenge import is_scope
from mcpauth_middleware.errors import naming
from mcpauth_middleware.limits import RateLimit
from mcpauth_middleware.policy import Policy
from mcpauth_middleware.resource import canonical_resource, is_loopback_host
from mcpauth_middleware.tokens.authorization_server import AuthorizationServer, distinct
from mcpauth_middleware.tokens.discovery import check_issuer
from mcpauth_middleware.tokens.dpop import DpopMode
from mcpauth_middleware.upstream import TokenExchange

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from mcpauth_middleware.asgi import ASGIApp
    from mcpauth_middleware.audit import AuditSink

T = TypeVar("T")


def protected_app(app: ASGIApp) -> ASGIApp:
    """The application: not the server that it is made from, nor the method that makes it."""
    try:
        inspect.signature(app).bind("scope", "receive", "send")
    except TypeError:
        raise wrong("app", f"give the ASGI app, such as mcp.streamable_http_app() (got {app!r})") from None
    except ValueError:
        pass  # it does not tell what it takes
    return app


def protected_resource(uri: str) -> str:
    """The canonical identifier; https, except on loopback (RFC 9728 §1.2), since tokens travel to it."""
    if not isinstance(uri, str):
        raise wrong("resource", f"give the public URL of the MCP endpoint (got {uri!r})")
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
    for server in servers:
        if not isinstance(server, str | AuthorizationServer):
            mend = f"each is an issuer or an AuthorizationServer (got {server!r})"
            raise wrong("authorization_servers", mend)
    with naming("authorization_servers"):
        for server in servers:
            if isinstance(server, str):
                check_issuer(server)
                _check_is_no_document(server)
        return distinct(
            AuthorizationServer(server) if isinstance(server, str) else server for server in servers
        )


def _check_is_no_document(issuer: str) -> None:
    before, found, _ = issuer.partition("/.well-known/")
    if found:
        raise ValueError(f"give the issuer, not the address of its metadata: {before!r} (got {issuer!r})")


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
    if isinstance(limits, RateLimit | str):
        raise wrong("limits", f'give a list, such as [RateLimit("60/minute")] (got {limits!r})')
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
    return _at_least_one("max_body_bytes", max_body_bytes)


def batch_limit(max_batch: int) -> int:
    """The limit; 1 lets a single message pass in either form."""
    return _at_least_one("max_batch", max_batch)


def _at_least_one(option: str, number: object) -> int:
    if not isinstance(number, int) or number < 1:
        raise wrong(option, f"must be at least 1, as a number (got {number!r})")
    return number


def strings(option: str, value: Collection[str]) -> tuple[str, ...]:
    """A list of strings; one string is a collection of strings too, which no type checker tells apart."""
    if isinstance(value, str):
        raise wrong(option, f"give a list, [{value!r}]")
    for each in value:
        if not isinstance(each, str):
            raise wrong(option, f"each is a text (got {each!r})")
    return tuple(value)


def secret(option: str, key: bytes | None) -> bytes | None:
    """A key, whose length is checked where it is used."""
    if key is not None and not isinstance(key, bytes):
        raise wrong(option, "give bytes, such as secrets.token_bytes(32), not a text")
    return key


def lifetime(verified_token_lifetime: timedelta) -> timedelta:
    """The lifetime, whose bounds are checked where it is used."""
    if not isinstance(verified_token_lifetime, timedelta):
        mend = f"give a timedelta, such as timedelta(seconds=60) (got {verified_token_lifetime!r})"
        raise wrong("verified_token_lifetime", mend)
    return verified_token_lifetime


def audit_sink(audit: AuditSink) -> AuditSink:
    """Where events go."""
    return with_method("audit", audit, "record", 'an AuditJournal("audit.jsonl"), or an object with `record`')


def audit_options(given: AuditOptions | None) -> AuditOptions | None:
    """What events hold."""
    if given is not None and not isinstance(given, AuditOptions):
        raise wrong("audit_options", f'give AuditOptions(keep={{"files_*": ["path"]}}) (got {given!r})')
    return given


def token_exchange(upstream: TokenExchange | None) -> TokenExchange | None:
    """Who gets tokens for other resources."""
    if upstream is not None and not isinstance(upstream, TokenExchange):
        raise wrong("upstream", f"give a TokenExchange(...) (got a {type(upstream).__name__})")
    return upstream


def with_method(option: str, value: T, method: str, example: str) -> T:
    """An object that may be of the caller's own class, known by the method that is called on it; or None."""
    given: Any = value
    if given is not None and (isinstance(given, type) or not callable(getattr(given, method, None))):
        # Not what it is: it may be a table of tokens, or hold a secret.
        got = f"the class {given.__name__}" if isinstance(given, type) else f"a {type(given).__name__}"
        raise wrong(option, f"give {example} (got {got})")
    return value


def wrong(option: str, mend: str) -> ValueError:
    """The error of every wrong option."""
    return ValueError(f"{option}: {mend}")
