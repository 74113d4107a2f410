"""A deployment on loopback that `mcpauth doctor` looks at: real servers, and a proxy that may do it wrong."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import uvicorn
from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from mcpauth import authorization_server, load_settings
from mcpauth.commands import mcpauth
from mcpauth_middleware import McpAuthMiddleware, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mcpauth.settings import Settings

PASSWORD = "correct horse battery"
SETTINGS = """\
issuer = "http://127.0.0.1:{port}/auth"
database = "mcpauth.db"

[[resources]]
identifier = "http://127.0.0.1:{port}/mcp"
name = "Notes"

[[resources.scopes]]
name = "notes:read"
description = "Read your notes"
"""


async def mcp_server(_request: Request) -> Response:
    return PlainTextResponse("the tool ran")


def protected(resource: str, *issuers: str, scopes: Sequence[str] = ("notes:read",)) -> ASGIApp:
    """An MCP server behind the middleware."""
    return McpAuthMiddleware(
        Starlette(routes=[Route("/mcp", mcp_server, methods=["GET", "POST"])]),
        resource=resource,
        authorization_servers=issuers,
        policy=Policy(),
        scopes_supported=scopes,
    )


@dataclass
class Deployment:
    """A folder with settings, and what listens at their issuer."""

    folder: Path
    port: int
    asked: list[str] = field(default_factory=list[str])
    """Method and path of each request that came in."""

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def issuer(self) -> str:
        return f"{self.origin}/auth"

    @property
    def resource(self) -> str:
        return f"{self.origin}/mcp"

    @property
    def config(self) -> Path:
        return self.folder / "mcpauth.toml"

    def write(self, more: str = "") -> None:
        self.config.write_text(more + SETTINGS.format(port=self.port))
        self.config.chmod(0o600)

    def settings(self, **changed: Any) -> Settings:
        return replace(load_settings(self.config, {}), **changed)

    def run(self, *arguments: str, stdin: str | None = None, **environ: str) -> Result:
        """A command with these settings."""
        command = [*arguments, "--config", str(self.config)]
        return CliRunner().invoke(mcpauth, command, input=stdin, env={"MCPAUTH_CONFIG": "", **environ})

    def examine(self, *options: str, **environ: str) -> Examined:
        """What the doctor finds."""
        result = self.run("doctor", "--json", *options, **environ)
        assert "Traceback" not in result.output
        found = json.loads(result.stdout)
        assert found["ok"] is (result.exit_code == 0)
        return Examined(found["findings"], result.exit_code)

    @contextmanager
    def serving(
        self,
        *,
        settings: Settings | None = None,
        resource: ASGIApp | None = None,
        wrong: Callable[[ASGIApp], ASGIApp] | None = None,
        running: bool = True,
        **options: Any,
    ) -> Generator[None]:
        """Both servers at the port, behind a proxy that does something `wrong`."""
        auth = authorization_server(settings or self.settings())
        behind = resource if resource is not None else protected(self.resource, self.issuer)
        outer: ASGIApp = Starlette(
            routes=[*auth.well_known_routes, Mount("/auth", auth), Mount("/", behind)],
            lifespan=auth.lifespan if running else None,
        )
        with listening(self.port, self._noting(outer if wrong is None else wrong(outer)), **options):
            yield

    def _noting(self, app: ASGIApp) -> ASGIApp:
        async def noting(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.asked.append(f"{scope['method']} {scope['path']}")
            await app(scope, receive, send)

        return noting


@dataclass(frozen=True)
class Examined:
    """The findings, and the exit status."""

    findings: list[dict[str, Any]]
    exit_code: int

    def of(self, state: str) -> list[str]:
        """The checks in this state, with their texts."""
        return [f"{each['check']}: {each['text']}" for each in self.findings if each["state"] == state]

    def only(self, state: str) -> str:
        """The one finding in this state; none is worse."""
        if state == "warning":
            assert self.of("failed") == []
        (found,) = [each for each in self.findings if each["state"] == state and not expected(each)]
        assert found["mend"]
        return f"{found['check']}: {found['text']}"


def expected(finding: dict[str, Any]) -> bool:
    """What every deployment on loopback is told."""
    return "the issuer is http on loopback" in finding["text"]


@contextmanager
def listening(port: int, app: ASGIApp, **options: Any) -> Generator[None]:
    """The app on loopback, in a thread of its own."""
    config = uvicorn.Config(app, log_level="critical", proxy_headers=False, **options)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", port)) as bound:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.01)
            yield
        finally:
            server.should_exit = True
            thread.join()


# What proxies do.


def answering(path: str, response: Response, *, method: str | None = None) -> Callable[[ASGIApp], ASGIApp]:
    """Something else answers where a path begins so."""

    def wrong(app: ASGIApp) -> ASGIApp:
        async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
            there = scope["type"] == "http" and scope["path"].startswith(path)
            if there and method in (None, scope["method"]):
                await response(scope, receive, send)
            else:
                await app(scope, receive, send)

        return proxy

    return wrong


def rewriting(path: str, headers: Sequence[tuple[bytes, bytes | None]]) -> Callable[[ASGIApp], ASGIApp]:
    """Headers of the answers below a path are replaced; None takes one away."""

    def wrong(app: ASGIApp) -> ASGIApp:
        async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
            async def rewritten(message: Message) -> None:
                if message["type"] == "http.response.start" and scope["path"].startswith(path):
                    names = {name for name, _ in headers}
                    kept = [pair for pair in message["headers"] if pair[0].lower() not in names]
                    added = [(name, value) for name, value in headers if value is not None]
                    message = {**message, "headers": [*kept, *added]}
                await send(message)

            await app(scope, receive, rewritten)

        return proxy

    return wrong
