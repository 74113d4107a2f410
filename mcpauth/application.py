"""The authorization server as an ASGI app that runs by itself or as a part of a larger one.

It answers at exactly the URLs that its metadata names, found in the whole path of a request: so it does not
matter at which mount a request comes in, and a mount that does not fit the issuer answers nothing.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from mcpauth.endpoints.metadata import well_known_paths
from mcpauth.web.in_process import InProcessTransport
from mcpauth.web.mount import below_host, mount_path

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from starlette.types import ASGIApp, Receive, Scope, Send

    from mcpauth.pages.errors import ErrorPages

_logger = logging.getLogger(__name__)


class AuthorizationServerApp(Starlette):
    """Made by `authorization_server`.

    By itself, an ASGI server runs it as any app. As a part of another app it is mounted at the path of its
    issuer, its `well_known_routes` are routes of the outer app, since they lie at the root of the host
    (RFC 8414 §3.1), and the outer lifespan holds it open: a mount runs no lifespan.

        async def lifespan(app):
            async with auth.running():
                yield

        Starlette(routes=[*auth.well_known_routes, Mount("/auth", auth), ...], lifespan=lifespan)

    While it does not run, every request is answered 503. It does not start by itself at the first one:
    nobody would end it, with its database, its journal and the task that changes its keys.
    """

    def __init__(
        self,
        issuer: str,
        path: str,
        errors: ErrorPages,
        opening: Callable[[AuthorizationServerApp], AbstractAsyncContextManager[Sequence[BaseRoute]]],
    ) -> None:
        super().__init__(
            lifespan=self.lifespan,
            exception_handlers={404: errors.http_error, 405: errors.http_error},
        )
        # A redirect to the same path with or without its slash would be built from the Host header.
        self.router.redirect_slashes = False
        self.issuer = issuer
        self._path = path
        self._well_known = well_known_paths(issuer)
        self._errors = errors
        self._opening = opening
        self._begun = False
        self._open = False
        self._told: set[str] = set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Open what it needs, answer while the block runs, and close it.

        Raises:
            RuntimeError: it runs already.
            StoreUnavailable: the database cannot be opened.
            OSError: the audit journal cannot.
            MetadataContradiction: what it publishes is not what it does.
        """
        if self._begun:
            raise RuntimeError(
                "this authorization server runs already; run it once, in the outermost lifespan"
            )
        self._begun = True
        try:
            async with self._opening(self) as routes:
                self.router.routes = list(routes)
                self._open = True
                try:
                    yield
                finally:
                    self._open = False
        finally:
            self._begun = False
            self.router.routes = []

    def lifespan(self, _app: object) -> AbstractAsyncContextManager[None]:
        """`running`, as the lifespan of an outer app that has no other."""
        return self.running()

    @property
    def well_known_routes(self) -> list[BaseRoute]:
        """Where clients look for the metadata, as routes of the app that has the whole host."""
        return [Route(path, _At(path, self), include_in_schema=False) for path in self._well_known]

    def http_client(self) -> httpx2.AsyncClient:
        """A client that reaches this server without the network, and others over it.

        For `McpAuthMiddleware(http_client=...)` in the same process: it then finds the keys behind any
        proxy, and nothing holds up the end of the process.
        """
        return httpx2.AsyncClient(transport=InProcessTransport(self, self.issuer))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        self._check_mount(mount_path(scope))
        scope = self._below_host(scope)
        if scope["type"] == "http" and not self._open:
            self._tell_once(
                "not running",
                f"The authorization server {self.issuer} was asked, but it does not run, so it answers 503."
                " A mount runs no lifespan: enter `async with app.running()` in that of the outer app.",
            )
            response = self._errors.not_running(Request(scope))
            await response(scope, receive, send)
            return
        await super().__call__(scope, receive, send)

    def _below_host(self, scope: Scope) -> Scope:
        whole = below_host(scope)
        # A server behind a proxy puts a prefix back that the proxy took off (uvicorn's --root-path), and puts
        # it also in front of what came as it was.
        within = whole["path"].removeprefix(mount_path(scope))
        if within in self._well_known and self._fits(mount_path(scope)):
            return {**whole, "path": within}
        return whole

    def _fits(self, mount: str) -> bool:
        return not mount or mount == self._path or self._path.startswith(f"{mount}/")

    def _check_mount(self, mount: str) -> None:
        if not self._fits(mount):
            self._tell_once(
                "mount",
                f"The authorization server {self.issuer} is mounted at {mount!r}, where it cannot be found:"
                f" mount it at {self._path or '/'!r}, or give it an issuer with the path of the mount.",
            )

    def _tell_once(self, kind: str, problem: str) -> None:
        # Whoever sends requests must not fill the log, nor this set.
        if kind not in self._told:
            self._told.add(kind)
            _logger.error("%s", problem)


class _At:
    """The app at one path of the host, whatever the outer app says about mounts."""

    def __init__(self, path: str, app: ASGIApp) -> None:
        self._path = path
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "path": self._path, "root_path": ""}, receive, send)
