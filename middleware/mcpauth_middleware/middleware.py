"""The resource server's side of MCP authorization (RFC 6750, RFC 9728, MCP 2025-03-26 to 2026-07-28).

`McpAuthMiddleware` stands in front of any ASGI MCP server. A request passes the steps of `_admit`
in their order; each may refuse it, every refusal is audited, and what none of them refuses is run
with the very bytes that were judged.
"""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from mcpauth_middleware import options
from mcpauth_middleware.admission import Admission
from mcpauth_middleware.audit import LogSink
from mcpauth_middleware.audit.description import Description
from mcpauth_middleware.batches import Batches
from mcpauth_middleware.body import read_body
from mcpauth_middleware.browser import METHODS, BrowserGuard, is_preflight, preflight, readable_by
from mcpauth_middleware.catalogue import Catalogue
from mcpauth_middleware.catalogue.fetching import ToolFetcher
from mcpauth_middleware.catalogue.strict_arguments import StrictArguments
from mcpauth_middleware.errors import ClientDisconnected, MethodNotAllowed, NotAnEndpoint, Refused
from mcpauth_middleware.exchange import Call, Exchange
from mcpauth_middleware.forward import without_token
from mcpauth_middleware.hints import Hints
from mcpauth_middleware.integrations.fastmcp import FastMcpServers
from mcpauth_middleware.limits import MemoryLimiter
from mcpauth_middleware.message import (
    MessageRefused,
    check_stream_request,
    is_batch,
    read_batch,
    read_with,
    single_headers,
)
from mcpauth_middleware.message.batch import DEFAULT_MAX_BATCH
from mcpauth_middleware.paths import Endpoints, PublicPaths, request_paths
from mcpauth_middleware.protected_resource_metadata import NOT_FOUND, ProtectedResourceMetadata
from mcpauth_middleware.recorder import Recorder
from mcpauth_middleware.refusals import Refusals
from mcpauth_middleware.responses import refuse_websocket
from mcpauth_middleware.running import Runner
from mcpauth_middleware.sessions import SessionBinding
from mcpauth_middleware.throttle import DEFAULT_RATE
from mcpauth_middleware.tokens.options import TokenOptions, authentication
from mcpauth_middleware.within import WithinCalls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    import httpx2

    from mcpauth_middleware.asgi import ASGIApp, Receive, Scope, Send
    from mcpauth_middleware.audit import AuditOptions, AuditSink
    from mcpauth_middleware.limits import Limiter, RateLimit
    from mcpauth_middleware.policy import Policy
    from mcpauth_middleware.tokens.authorization_server import AuthorizationServer
    from mcpauth_middleware.tokens.dpop import DpopMode
    from mcpauth_middleware.tokens.revocation import RevocationMode
    from mcpauth_middleware.tokens.verifier import TokenVerifier
    from mcpauth_middleware.upstream import TokenExchange

DEFAULT_MAX_BODY_BYTES = 4 * 1024 * 1024
"""What the MCP SDK itself reads at most."""

BODY_SECONDS = 1.0
"""When the body took longer to come, the token is looked at again: it may have ended meanwhile."""


class McpAuthMiddleware:
    """Protects an ASGI MCP server with access tokens, a policy, rate limits and an audit journal.

    Usable as a wrapper, with `app.add_middleware(McpAuthMiddleware, ...)`, and in FastMCP's
    `http_app(middleware=[Middleware(McpAuthMiddleware, ...)])`.

    Args:
        app: The server to protect.
        resource: Its public URL, such as `https://example.com/mcp`: what tokens must be issued for.
        authorization_servers: The issuers whose tokens are accepted, spelt exactly as they name themselves;
            `AuthorizationServer` describes one that differs from RFC 9068.
        policy: Who may do what. What no rule allows is denied.
        scopes_supported: What clients are told to ask for at first; None: every scope the policy knows.
        limits: Rate limits; all of a call's limits are debited together or not at all.
        limiter: Who counts; None: this process.
        audit: Where events go; None: the logger `mcpauth_middleware.audit`.
        audit_options: Which arguments and claims events hold; None: none.
        public_paths: Exact paths that need no token, such as `/health`.
        endpoints: Exact paths at which the app speaks MCP, besides that of `resource` and those below it; at
            any other, nothing runs.
        allowed_hosts: Further Host values, as "host", "host:port" or "host:*".
        allowed_origins: Origins of web pages that may call the server.
        accepted_audiences: For authorization servers that cannot put `resource` into `aud`.
        resource_name: The name of the server, for people (RFC 9728 §2).
        resource_documentation: The URL of a page about it.
        max_body_bytes: The longest message that is read.
        max_batch: How many messages a batch of revision 2025-03-26 may hold.
        strict_arguments: Whether arguments must fit the tool's input schema; needs the extra `strict`.
        trusted_tools: Tools of a FastMCP server that may use other tools, resources and prompts of it which
            their caller may not use. Every other tool uses what its caller may.
        session_key: What binds session ids to their user; None: random. Processes that share sessions share
            it.
        resumable_streams: Whether clients may resume streams (`Last-Event-ID`): only where the server's event
            store keeps the streams of each session apart, which the SDK's own interface does not.
        verifier: Who checks tokens, revocation included; None: JWTs by the issuers' keys, opaque tokens by
            introspection.
        dpop: Whether tokens that are bound to a key are "accepted" besides others, "required" or "off".
        dpop_nonce_key: A secret of at least 32 bytes, the same in all processes; then proofs need a nonce.
        verified_token_lifetime: How long a verified token is not verified again; 0 is off.
        revocation: Whether the servers' revocation lists are "followed", "required" (503 while one cannot be
            had) or "off".
        failed_authentications: How many an address may have before it gets 429; None: any number.
        upstream: Gets tokens for other resources on the caller's behalf.
        http_client: How authorization servers are reached; None: a client of its own.
        now: The clock, in epoch seconds.

    Raises:
        ValueError: an option is wrong; the message names it and the mend.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        resource: str,
        authorization_servers: Sequence[str | AuthorizationServer],
        policy: Policy,
        scopes_supported: Sequence[str] | None = None,
        limits: Sequence[RateLimit] = (),
        limiter: Limiter | None = None,
        audit: AuditSink | None = None,
        audit_options: AuditOptions | None = None,
        public_paths: Collection[str] = (),
        endpoints: Collection[str] = (),
        allowed_hosts: Sequence[str] = (),
        allowed_origins: Sequence[str] = (),
        accepted_audiences: Sequence[str] = (),
        resource_name: str | None = None,
        resource_documentation: str | None = None,
        max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
        max_batch: int = DEFAULT_MAX_BATCH,
        strict_arguments: bool = False,
        trusted_tools: Collection[str] = (),
        session_key: bytes | None = None,
        resumable_streams: bool = False,
        verifier: TokenVerifier | None = None,
        dpop: DpopMode = "accepted",
        dpop_nonce_key: bytes | None = None,
        verified_token_lifetime: timedelta = timedelta(seconds=60),
        revocation: RevocationMode = "followed",
        failed_authentications: str | None = DEFAULT_RATE,
        upstream: TokenExchange | None = None,
        http_client: httpx2.AsyncClient | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(app, McpAuthMiddleware):
            raise options.wrong(
                "app", "has a McpAuthMiddleware already, which would see no token; wrap it once"
            )
        app = options.protected_app(app)
        resource = options.protected_resource(resource)
        servers = options.authorization_servers(authorization_servers)
        dpop = options.dpop_mode(dpop)
        self._app = app
        policy = options.checked_policy(policy)
        scopes = options.advertised_scopes(scopes_supported, policy)
        self.metadata = ProtectedResourceMetadata(
            resource=resource,
            authorization_servers=[server.issuer for server in servers],
            scopes_supported=scopes,
            resource_name=options.display_name(resource_name),
            resource_documentation=options.documentation(resource_documentation),
            dpop=dpop,
        )
        """The protected resource metadata, RFC 9728."""
        self._refusals = Refusals(resource_metadata=self.metadata.url, scopes=scopes, dpop=dpop)
        self._hints = Hints(resource=resource, issuers=[server.issuer for server in servers])
        self._public = PublicPaths(options.strings("public_paths", public_paths), resource=resource)
        self._endpoints = Endpoints(options.strings("endpoints", endpoints), resource=resource)
        self._browser = BrowserGuard(
            resource=resource,
            allowed_hosts=options.strings("allowed_hosts", allowed_hosts),
            allowed_origins=options.strings("allowed_origins", allowed_origins),
        )
        self._authentication = authentication(
            TokenOptions(
                resource=resource,
                servers=servers,
                verifier=verifier,
                accepted_audiences=options.strings("accepted_audiences", accepted_audiences),
                dpop=dpop,
                dpop_nonce_key=dpop_nonce_key,
                verified_token_lifetime=verified_token_lifetime,
                revocation=revocation,
                failed_authentications=failed_authentications,
                upstream=upstream,
                http_client=http_client,
                now=now,
            )
        )
        self._recorder = recorder = Recorder(
            LogSink() if audit is None else options.audit_sink(audit),
            describe=Description(options.audit_options(audit_options), policy=policy),
            now=now,
        )
        catalogue = Catalogue(now=now)
        self._admission = Admission(
            policy=policy,
            limits=options.rate_limits(limits),
            limiter=MemoryLimiter()
            if limiter is None
            else options.with_method("limiter", limiter, "take", "a Limiter"),
            recorder=recorder,
            catalogue=catalogue,
            fetcher=ToolFetcher(app, catalogue, happened=recorder.happened, now=now),
            strict_arguments=StrictArguments() if strict_arguments else None,
            now=now,
        )
        self._runner = Runner(
            app,
            policy=policy,
            recorder=recorder,
            catalogue=catalogue,
            within=WithinCalls(
                admission=self._admission,
                recorder=recorder,
                authentication=self._authentication,
                trusted_tools=frozenset(options.strings("trusted_tools", trusted_tools)),
            ),
            now=now,
        )
        self._servers = FastMcpServers(app)
        self._batches = Batches(
            app,
            admission=self._admission,
            runner=self._runner,
            refusals=self._refusals,
            recorder=recorder,
            authentication=self._authentication,
            now=now,
        )
        self._sessions = SessionBinding(
            options.secret("session_key", session_key), resumable_streams=resumable_streams
        )
        self._max_body_bytes = options.body_limit(max_body_bytes)
        self._max_batch = options.batch_limit(max_batch)
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if not self._servers.are_known:
            self._servers.look(scope)
        if scope["type"] == "lifespan":
            await self._authentication.lifespan(self._app, scope, receive, send)
            return
        if scope["type"] != "http":
            await refuse_websocket(receive, send)
            return
        path, app_path = request_paths(scope)
        if path in self.metadata.paths or app_path in self.metadata.paths:
            await self.metadata.answer(scope["method"]).send(send, head=scope["method"] == "HEAD")
        elif self._public.match(path, app_path):
            await self._app(without_token(scope), receive, send)
        elif app_path.startswith("/.well-known/"):
            await NOT_FOUND.send(send)
        else:
            exchange = Exchange(scope, receive, send, self._now())
            exchange.is_at_endpoint = self._endpoints.match(path, app_path)
            await self._protected(exchange)

    async def _protected(self, exchange: Exchange) -> None:
        try:
            if (origin := self._browser.check(exchange.sent)) is not None:
                exchange.changes.edits.append(readable_by(origin))
            if exchange.method == "OPTIONS" and is_preflight(exchange.sent):
                await preflight(exchange.sent).send(exchange.send)
                return
            run = await self._admit(exchange)
        except (Refused, MessageRefused) as refused:
            await self._refuse(refused, exchange)
        except ClientDisconnected:
            return  # before anything ran, and nobody is left to answer
        else:
            async with self._authentication.streams.limited(exchange):
                await run()

    async def _admit(self, exchange: Exchange) -> Callable[[], Awaitable[None]]:
        """Every step that a request must pass, in the order in which they must hold; gives what runs it."""
        if exchange.method not in METHODS:
            raise MethodNotAllowed("method")
        exchange.principal = principal = await self._authentication.principal(exchange)
        if not exchange.is_at_endpoint:
            raise NotAnEndpoint("path")
        self._sessions.bind(exchange, principal)
        if exchange.method != "POST":
            protocol = check_stream_request(exchange.headers)
            intent = await self._recorder.stream_intent(principal, protocol, exchange)
            return partial(self._runner.run, Call(principal, intent=intent), exchange)
        body = await read_body(exchange.receive, exchange.sent, limit=self._max_body_bytes)
        if self._now() - exchange.started_at > BODY_SECONDS:
            exchange.principal = principal = await self._authentication.principal(exchange, again=True)
        if not body.startswith(b"{") and is_batch(body, exchange.headers):
            members = read_batch(body, exchange.headers, limit=self._max_batch)
            parts = await self._batches.admit(members, exchange, principal)
            return partial(self._batches.run, parts, exchange)
        exchange.about_message = single_headers(exchange.headers)
        message = read_with(body, exchange.about_message)
        call = await self._admission.admit(exchange, message, principal, body)
        return partial(self._runner.run, call, exchange)

    async def _refuse(self, refused: Refused | MessageRefused, exchange: Exchange) -> None:
        if isinstance(refused, Refused):
            self._hints.tell(refused.reason)
        answer = self._refusals.answer(refused, exchange.message, exchange.scheme)
        await self._recorder.refusal(refused, status=answer.status, exchange=exchange)
        await answer.send(exchange.send, head=exchange.method == "HEAD")
