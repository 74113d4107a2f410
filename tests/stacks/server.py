"""One small MCP server behind the middleware, on whatever stack the environment has.

It notes everything that really runs, name and arguments, in a file: that is compared with what was decided.

    STACK_CONFIG='{...}' uvicorn tests.stacks.server:app
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mcpauth_middleware import (
    AuditJournal,
    AuditOptions,
    McpAuthMiddleware,
    Policy,
    RateLimit,
    current_principal,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth_middleware.asgi import ASGIApp

POLICY = """
version = 1
[scopes]
"files:write" = ["files:read"]
[[rules]]
id = "readers"
allow = { tools = ["read_file", "whoami"], prompts = ["greet"], resources = ["demo://files/public/**"] }
scopes = ["files:read"]
[[rules]]
id = "writers"
allow = { tools = ["write_file"] }
scopes = ["files:write"]
[[rules]]
id = "limited"
allow = { tools = ["limited"] }
scopes = ["files:read"]
[[rules]]
id = "one"
allow = { tools = ["needs_1"] }
scopes = ["a:1"]
[[rules]]
id = "two"
allow = { tools = ["needs_2"] }
scopes = ["b:1", "b:2"]
[[rules]]
id = "three"
allow = { tools = ["needs_3"] }
scopes = ["c:1", "c:2", "c:3"]
[[rules]]
id = "four"
allow = { tools = ["needs_4"] }
scopes = ["d:1", "d:2", "d:3", "d:4"]
[[rules]]
id = "never"
deny = { tools = ["drop_everything"] }
[[rules]]
id = "harmless"
allow = { tools = ["listed_*"] }
tags = ["harmless"]
[[rules]]
id = "reading"
allow = { tools = ["listed_*"] }
annotations = { readOnlyHint = true }
[[rules]]
id = "secret"
deny = { tools = ["listed_*"] }
tags = ["secret"]
[[rules]]
id = "typed"
allow = { tools = ["typed", "read_paths"] }
[[rules]]
id = "not-these"
deny = { tools = ["read_paths"] }
when = '"/etc/passwd" in args.paths'
"""

LISTED: dict[str, tuple[set[str], bool | None]] = {
    "listed_harmless": ({"harmless"}, None),
    "listed_reading": (set(), True),
    "listed_writing": (set(), False),
    "listed_secret": ({"harmless", "secret"}, True),
}
"""Tools of which the rules go by what the list says: their tags, and whether they only read."""

NOTHING = "nothing"
"""The value of an argument that was not given."""


class Recorder:
    """Notes what ran. One line is one write, so that a reader never sees half of it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ran(self, kind: str, name: str, /, **arguments: str) -> None:
        given = {key: value for key, value in arguments.items() if value != NOTHING}
        subject = current_principal().subject if PROTECTED else None
        line = {"kind": kind, "name": name, "arguments": given, "sub": subject}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


Function = TypeVar("Function", bound="Callable[..., object]")


class Decorator(Protocol):
    """Takes a function and gives it back."""

    def __call__(self, function: Function, /) -> Function: ...


class McpServer(Protocol):
    """What the server classes of all stacks have in common."""

    def tool(self, *, name: str | None = None, **described: Any) -> Decorator: ...
    def prompt(self) -> Decorator: ...
    def resource(self, uri: str) -> Decorator: ...


def add_everything(mcp: McpServer, recorder: Recorder) -> None:
    """Tools, prompts and resources, some of which no caller may reach."""

    @mcp.tool()
    def read_file(path: str = NOTHING) -> str:
        recorder.ran("tool", "read_file", path=path)
        return f"content of {path}"

    @mcp.tool()
    def write_file(path: str = NOTHING) -> str:
        recorder.ran("tool", "write_file", path=path)
        return f"wrote {path}"

    @mcp.tool()
    def drop_everything(path: str = NOTHING) -> str:
        recorder.ran("tool", "drop_everything", path=path)
        return "gone"

    @mcp.tool()
    def limited() -> str:
        recorder.ran("tool", "limited")
        return "once"

    for count in range(1, 5):

        @mcp.tool(name=f"needs_{count}")
        def needs(name: str = f"needs_{count}") -> str:
            recorder.ran("tool", name)
            return name

    for listed, (tags, reads) in LISTED.items():

        @mcp.tool(name=listed, **_described(tags, reads=reads))
        def run_listed(name: str = listed) -> str:
            recorder.ran("tool", name)
            return name

    @mcp.tool()
    def typed(count: int) -> str:
        recorder.ran("tool", "typed", count=str(count))
        return str(count)

    @mcp.tool()
    def read_paths(paths: str | list[str] | None = None) -> str:
        recorder.ran("tool", "read_paths", path=json.dumps(paths))
        return "read"

    @mcp.tool()
    async def whoami() -> str:
        recorder.ran("tool", "whoami")
        return json.dumps(_caller())

    @mcp.prompt()
    def greet() -> str:
        recorder.ran("prompt", "greet")
        return "Greet the user"

    @mcp.prompt()
    def hidden() -> str:
        recorder.ran("prompt", "hidden")
        return "Hidden"

    @mcp.resource("demo://files/public/a")
    def public() -> str:
        recorder.ran("resource", "demo://files/public/a")
        return "public"

    @mcp.resource("demo://files/secret/a")
    def secret() -> str:
        recorder.ran("resource", "demo://files/secret/a")
        return "secret"

    @mcp.resource("demo://files/secret/{name}/text")
    def one_secret_of_many(name: str) -> str:
        recorder.ran("resource", f"demo://files/secret/{name}/text")
        return name

    @mcp.resource("demo://files/public/{name}/text")
    def one_of_many(name: str) -> str:
        recorder.ran("resource", f"demo://files/public/{name}/text")
        return name


def _described(tags: set[str], *, reads: bool | None) -> dict[str, Any]:
    """What a tool is registered with, so that the list says this of it."""
    types: Any = importlib.import_module(
        "mcp_types" if _CONFIG["stack"]["environment"] == ".venv" else "mcp.types"
    )
    said = {} if reads is None else {"readOnlyHint": reads}
    annotations = types.ToolAnnotations.model_validate(said)
    if _CONFIG["stack"]["module"] == "fastmcp":
        return {"annotations": annotations, "tags": tags}
    return {"annotations": annotations, "meta": {"tags": sorted(tags)}}


def _caller() -> dict[str, Any]:
    """Who calls, by our own means and by those of the stack."""
    principal = current_principal()
    token = _STACK_DEPENDENCIES.get_access_token()
    said: dict[str, Any] = {} if token is None else token.model_dump()
    return {
        "subject": principal.subject,
        "scopes": sorted(principal.scopes),
        "token_id": principal.token_id,
        "stack": {key: said.get(key) for key in ("client_id", "scopes", "subject", "token")},
    }


def create_app(config: dict[str, Any]) -> ASGIApp:
    """The application that `config` describes."""
    stack = config["stack"]
    server: Any = getattr(importlib.import_module(stack["module"]), stack["builds"])
    mcp = server("stack", **stack["constructor"])
    add_everything(mcp, Recorder(Path(config["record"])))
    plain: Any = getattr(mcp, stack["app"])(**stack["options"])
    if not config["protected"]:
        application: ASGIApp = plain
        return application
    protected = McpAuthMiddleware(
        plain,
        resource=config["resource"],
        authorization_servers=[config["issuer"]],
        policy=Policy.from_toml(POLICY),
        scopes_supported=["files:read"],
        limits=[RateLimit("1/hour", by=("client", "tool"), tools=("limited",))],
        audit=AuditJournal(config["journal"]),
        audit_options=AuditOptions(keep={"*": ["path"]}),
        strict_arguments=config["strict"],
    )
    if config["mount"] == "none":
        return protected
    from tests.stacks.mounts import mounted

    return mounted(config["mount"], protected, plain)


_CONFIG: dict[str, Any] = json.loads(os.environ["STACK_CONFIG"])
PROTECTED: bool = _CONFIG["protected"]
_STACK_DEPENDENCIES: Any = importlib.import_module(
    "fastmcp.server.dependencies"
    if _CONFIG["stack"]["module"] == "fastmcp"
    else "mcp.server.auth.middleware.auth_context"
)
app = create_app(_CONFIG)
