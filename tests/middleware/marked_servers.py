"""Run by other interpreters: the rules that the servers of their frameworks give, each on a line."""

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mcpauth_middleware.policy import Policy, requires

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound=Any)


class Server(Protocol):
    """What the servers of all frameworks have in common."""

    def tool(self, name: str | None = None) -> Callable[[F], F]: ...

    def prompt(self) -> Callable[[F], F]: ...

    def resource(self, uri: str) -> Callable[[F], F]: ...


def declare(server: Server) -> None:
    """A tool below and one above the framework's decorator, a prompt, a resource and a template."""

    @server.tool()
    @requires("files:read")
    def read(path: str) -> str:
        return path

    @requires("files:write", groups=["ops"])
    @server.tool(name="renamed")
    def write(path: str) -> str:
        return path

    @server.prompt()
    @requires()
    def greet() -> str:
        return ""

    @server.resource("file:///srv/readme")
    @requires("files:read")
    def readme() -> str:
        return ""

    @server.resource("file:///srv/{name}/x")
    @requires("files:read")
    def template(name: str) -> str:
        return name


def main() -> None:
    """Print the policy of each server class named on the command line, as `module:class`."""
    for where in sys.argv[1:]:
        module, _, name = where.partition(":")
        server = getattr(importlib.import_module(module), name)("s")
        declare(server)
        print(json.dumps(Policy.from_server(server).to_toml()))


if __name__ == "__main__":
    main()
