"""`mcpauth serve`: runs the authorization server with uvicorn."""

from __future__ import annotations

import secrets
import socket
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
import uvicorn

from mcpauth import __version__
from mcpauth.commands.common import Misuse, config_option, find_config, refuse, run, settings_from
from mcpauth.oauth.resource_registry import Resource, Scope
from mcpauth.oauth.user import Users
from mcpauth.server import authorization_server, open_store
from mcpauth.settings import ConfigurationError, Settings
from mcpauth.signin.password import Passwords
from mcpauth.stores.memory import MemoryStore
from mcpauth.web.bounded_http import BoundedHttp
from mcpauth.web.quick_routes import QuickRoutes
from mcpauth.web.request_log import RequestLog
from mcpauth_middleware.audit.journal import AuditJournal
from mcpauth_middleware.resource import is_loopback_host

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.applications import Starlette

    from mcpauth.oauth.store import Store

_DEV_USER = "dev"
# As in the file that `mcpauth init` writes, so that a server made for the one works with the other.
DEV_RESOURCE = Resource(
    "http://127.0.0.1:8000/mcp",
    "Development server",
    (
        Scope("mcp:read", "Look things up"),
        Scope("mcp:write", "Change things", implies=("mcp:read",), default=False),
    ),
)


@click.command()
@config_option
@click.option("--host", help="Listen here instead of where the settings say.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this port instead.")
@click.option(
    "--dev",
    is_flag=True,
    help="For trying things out: loopback only, nothing is kept, one user with a random password.",
)
def serve(*, config: Path | None, host: str | None, port: int | None, dev: bool) -> None:
    """Run the authorization server."""
    settings = _dev_settings(config, host, port) if dev else _overridden(settings_from(config), host, port)
    listening = listen(settings.host, settings.port)
    if dev:
        settings = replace(settings, issuer=_loopback_url(settings.host, listening.getsockname()[1]))
    try:
        run(lambda: _serve(settings, listening, dev=dev))
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)


async def _serve(settings: Settings, listening: socket.socket, *, dev: bool) -> None:
    _announce(settings)
    # Without `--dev` the app opens its database itself, and closes it before the process ends.
    store = await _dev_store() if dev else None
    if store is None:
        await _look_into_store(settings)
    await _look_into_journal(settings)
    _warn_of_other_port(settings, listening)
    _warn_of_unnamed_proxy(settings)
    app = authorization_server(settings, store=store)
    logged = RequestLog(QuickRoutes(app), sys.stderr.write, now=time.time)
    config = uvicorn.Config(
        logged,
        http=BoundedHttp,
        lifespan="on",
        log_config=_LOGGING,
        access_log=False,
        server_header=False,
        # For the log: the app believes X-Forwarded-For of the same, itself. uvicorn would of all on loopback.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
    )
    await _Server(config, app).serve(sockets=[listening])


class _Server(uvicorn.Server):
    """Sends those away who wait for news before it waits for its open requests to end."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        self._app.state.revocation_feed.close()
        await super().shutdown(sockets)


def _overridden(settings: Settings, host: str | None, port: int | None) -> Settings:
    try:
        return replace(
            settings,
            host=settings.host if host is None else host,
            port=settings.port if port is None else port,
        )
    except ConfigurationError as error:
        raise Misuse(f"--{error.field}: {error.problem}") from None


def _dev_settings(config: Path | None, host: str | None, port: int | None) -> Settings:
    host, port = host or "127.0.0.1", 9000 if port is None else port
    if not is_loopback_host(host):
        raise Misuse(f"--host: --dev listens on loopback only (got {host})")
    if find_config(config) is None:
        settings = Settings(_loopback_url(host, port), (DEV_RESOURCE,))
    else:
        settings = settings_from(config)
    return replace(
        settings,
        issuer=_loopback_url(host, port),
        database="memory:",
        host=host,
        port=port,
        device_authorization=True,
    )


def _loopback_url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, before anything else happens: a port in use is the most common reason not to
    start.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        # Python appends the address, which is there already.
        reason = str(error.strerror or error).partition(" (while")[0]
        refuse(f"cannot listen on {host} port {port}: {reason}")
    # Connections inherit it. asyncio sets it only where the listening socket says IPPROTO_TCP; without it the
    # second part of an answer waits for the client to acknowledge the first.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _announce(settings: Settings) -> None:
    click.echo(f"mcpauth {__version__}", err=True)
    click.echo(f"  issuer    {settings.issuer}", err=True)
    click.echo(
        f"  database  {'in memory, nothing is kept' if settings.in_memory else settings.database}", err=True
    )
    for resource in settings.resources:
        scopes = " ".join(scope.name for scope in resource.scopes)
        click.echo(f"  resource  {resource.identifier} ({resource.name}): {scopes}", err=True)


async def _dev_store() -> Store:
    """A store that ends with the process, with one user in it."""
    store = MemoryStore(now=time.time)
    password = secrets.token_urlsafe(12)
    await Users(store, now=time.time).add(_DEV_USER, await Passwords().hash(password))
    click.echo(f"  sign in   as {_DEV_USER} with the password {password}", err=True)
    return store


async def _look_into_store(settings: Settings) -> None:
    """Open and close the database: what is wrong with it is said in one line, before the server starts."""
    store = await open_store(settings, now=time.time)
    try:
        if not await Users(store, now=time.time).list():
            _warn("there are no users, so nobody can sign in; add one with: mcpauth users add NAME")
    finally:
        await store.aclose()


async def _look_into_journal(settings: Settings) -> None:
    """The same for the audit journal."""
    if settings.audit_journal is not None:
        try:
            journal = AuditJournal(settings.audit_journal)
        except OSError as error:
            refuse(f"audit_journal: {error}")
        await journal.aclose()


def _warn_of_other_port(settings: Settings, listening: socket.socket) -> None:
    port: int = listening.getsockname()[1]
    if not settings.secure and settings.issuer != _loopback_url(settings.host, port) + settings.path:
        _warn(
            f"listening on {settings.host} port {port}, but clients will go to the issuer, {settings.issuer}"
        )


def _warn_of_unnamed_proxy(settings: Settings) -> None:
    if settings.secure and is_loopback_host(settings.host) and not settings.trusted_proxies:
        _warn(
            "behind a proxy on this machine that trusted_proxies does not name, everybody shares one address:"
            " whoever guesses passwords keeps all others from signing in"
        )


def _warn(message: str) -> None:
    click.echo(f"warning: {message}", err=True)


_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"plain": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["plain"], "level": "WARNING"},
}
