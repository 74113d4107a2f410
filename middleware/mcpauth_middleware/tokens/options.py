"""The options of `McpAuthMiddleware` that are about tokens, checked, become its `Authentication` (RFC 6750).

Raises:
    ValueError: names the argument, what is wrong with it and what to write instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, get_args
from urllib.parse import urlsplit

from mcpauth_middleware.authentication import Authentication, is_still_good
from mcpauth_middleware.background import Background
from mcpauth_middleware.options import lifetime, secret, token_exchange, with_method
from mcpauth_middleware.resource import is_loopback_host
from mcpauth_middleware.streams import OpenStreams
from mcpauth_middleware.throttle import DEFAULT_RATE, FailedAuthentications
from mcpauth_middleware.tokens.accepted import AcceptedTokens
from mcpauth_middleware.tokens.dpop import DpopBinding, DpopMode
from mcpauth_middleware.tokens.dpop_nonce import DpopNonces
from mcpauth_middleware.tokens.introspection import IntrospectionVerifier
from mcpauth_middleware.tokens.jwt import JwtVerifier
from mcpauth_middleware.tokens.revocation import RevocationList, RevocationMode, is_revoked
from mcpauth_middleware.tokens.static import StaticTokens
from mcpauth_middleware.tokens.verified import VerifiedTokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx2

    from mcpauth_middleware.tokens.authorization_server import AuthorizationServer
    from mcpauth_middleware.tokens.verifier import TokenVerifier
    from mcpauth_middleware.upstream import TokenExchange

MAX_LIFETIME = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class TokenOptions:
    """What the middleware was told about tokens; `McpAuthMiddleware` says what each means."""

    resource: str
    servers: Sequence[AuthorizationServer]
    now: Callable[[], float]
    verifier: TokenVerifier | None = None
    accepted_audiences: Sequence[str] = ()
    dpop: DpopMode = "accepted"
    dpop_nonce_key: bytes | None = None
    verified_token_lifetime: timedelta = timedelta(seconds=60)
    revocation: RevocationMode = "followed"
    failed_authentications: str | None = DEFAULT_RATE
    upstream: TokenExchange | None = None
    http_client: httpx2.AsyncClient | None = None


def authentication(options: TokenOptions) -> Authentication:
    """Build it."""
    _check(options)
    background = Background()
    lists: dict[str, RevocationList] = {}
    verifier = _verifier(options, background)
    streams = OpenStreams(
        background=background,
        now=options.now,
        is_revoked=partial(is_revoked, lists),
        is_good=partial(is_still_good, verifier),
    )
    lists.update(_revocation_lists(options, streams, background))
    return Authentication(
        verifier,
        dpop=_binding(options),
        revocation_lists=lists,
        failures=_failures(options),
        streams=streams,
        background=background,
        now=options.now,
        upstream=options.upstream,
        asks_about=_asks_about(verifier),
    )


def _check(options: TokenOptions) -> None:
    with_method("verifier", options.verifier, "verify", "an object with `verify`")
    with_method("http_client", options.http_client, "stream", "an httpx2.AsyncClient")
    token_exchange(options.upstream)
    secret("dpop_nonce_key", options.dpop_nonce_key)
    lifetime(options.verified_token_lifetime)
    if options.revocation not in get_args(RevocationMode):
        known = ", ".join(get_args(RevocationMode))
        raise ValueError(f"revocation: must be one of {known} (got {options.revocation!r})")
    if not timedelta(0) <= options.verified_token_lifetime <= MAX_LIFETIME:
        raise ValueError("verified_token_lifetime: must be from 0, which is off, to 10 minutes")
    if options.verifier is not None and options.accepted_audiences:
        raise ValueError("accepted_audiences: give them to the verifier, which is the one to know them")
    _check_upstream(options)
    host = urlsplit(options.resource).hostname or ""
    if isinstance(options.verifier, StaticTokens) and not is_loopback_host(host):
        raise ValueError(
            "verifier: StaticTokens are for development on one machine, and this resource is not on loopback "
            f"({options.resource}); remove them"
        )


def _check_upstream(options: TokenOptions) -> None:
    # A verifier of the operator's own says by itself whose tokens it takes.
    if options.upstream is None or options.verifier is not None:
        return
    issuers = [server.issuer for server in options.servers]
    if options.upstream.issuer not in issuers:
        raise ValueError(
            f"upstream: exchanges tokens of {options.upstream.issuer}, and none of those are accepted here; "
            f"spell its issuer as in authorization_servers ({', '.join(issuers)})"
        )


def _verifier(options: TokenOptions, background: Background) -> TokenVerifier:
    if options.verifier is not None:
        return options.verifier
    asked = {
        server.issuer: IntrospectionVerifier(
            server,
            resource=options.resource,
            accepted_audiences=options.accepted_audiences,
            bound_tokens=True,
            http_client=options.http_client,
            background=background,
            now=options.now,
        )
        for server in options.servers
        if server.introspection is not None
    }
    signing = [server for server in options.servers if server.introspection is None]
    if not signing:
        return AcceptedTokens(None, introspection=asked, verified=None)
    jwt = JwtVerifier(
        resource=options.resource,
        issuers=signing,
        accepted_audiences=options.accepted_audiences,
        bound_tokens=True,
        http_client=options.http_client,
        background=background,
        now=options.now,
    )
    lifetime = options.verified_token_lifetime.total_seconds()
    verified = VerifiedTokens(generation=jwt.generation, now=options.now, lifetime=lifetime)
    return AcceptedTokens(jwt, introspection=asked, verified=verified if lifetime else None)


def _asks_about(verifier: TokenVerifier) -> Callable[[str], bool]:
    if isinstance(verifier, AcceptedTokens | IntrospectionVerifier):
        return verifier.asks_about
    return lambda _: False


def _binding(options: TokenOptions) -> DpopBinding:
    key = options.dpop_nonce_key
    nonces = None if key is None else DpopNonces(key, now=options.now)
    return DpopBinding(options.dpop, resource=options.resource, now=options.now, nonces=nonces)


def _revocation_lists(
    options: TokenOptions, streams: OpenStreams, background: Background
) -> dict[str, RevocationList]:
    # A verifier of the operator's own says by itself what is valid.
    if options.revocation == "off" or options.verifier is not None:
        return {}
    lists: dict[str, RevocationList] = {}
    for server in options.servers:
        if server.jwks_uri is None:
            lists[server.issuer] = _revocation_list(options, server, streams, background)
        elif options.revocation == "required" and server.introspection is None:
            # Keys that are configured by hand are those of a server without usable metadata.
            raise ValueError(f"revocation: is required, and {server.issuer} with its jwks_uri has no list")
    return lists


def _revocation_list(
    options: TokenOptions, server: AuthorizationServer, streams: OpenStreams, background: Background
) -> RevocationList:
    def changed() -> None:
        streams.end(revocations.has_revoked)

    revocations = RevocationList(
        server.issuer,
        # Whoever is asked about each token has no list to add.
        required=options.revocation == "required" and server.introspection is None,
        changed=changed,
        in_use=lambda: len(streams) > 0,
        background=background,
        now=options.now,
        http_client=options.http_client,
    )
    return revocations


def _failures(options: TokenOptions) -> FailedAuthentications:
    try:
        return FailedAuthentications(options.failed_authentications, now=options.now)
    except ValueError as error:
        raise ValueError(f"failed_authentications: {error}") from None
