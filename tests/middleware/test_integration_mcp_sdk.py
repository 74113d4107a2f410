"""In front of a server built with the MCP Python SDK 2.x: all four revisions, and the SDK's own client."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from contextvars import ContextVar, copy_context
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import Context, MCPServer
from starlette.applications import Starlette

from mcpauth_middleware import (
    McpAuthMiddleware,
    MemoryLimiter,
    Policy,
    Principal,
    RateLimit,
    current_principal,
)
from mcpauth_middleware.principal import principal_var
from tests.middleware.edge_helpers import (
    HANDSHAKE_REVISIONS,
    LOOPBACK,
    LOOPBACK_RESOURCE,
    MODERN,
    POLICY,
    REVISIONS,
    Clock,
    Journal,
    bearer,
    claims,
    client_of,
    edge_options,
    lifespan,
    mint,
    open_session,
    post,
    rpc,
    served,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mcpauth_middleware.asgi import ASGIApp

pytestmark = pytest.mark.anyio

AUD = {"aud": LOOPBACK_RESOURCE}


class Server:
    """An ordinary server, and a record of what ran on it."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.mcp = mcp = MCPServer("files")

        @mcp.tool()
        def read_file(path: str = "a") -> str:
            self.ran.append("read_file")
            return f"content of {path}"

        @mcp.tool()
        def write_file(path: str = "a") -> str:
            self.ran.append("write_file")
            return f"wrote {path}"

        @mcp.tool()
        def drop_everything() -> str:
            self.ran.append("drop_everything")
            return "gone"

        @mcp.tool()
        def whoami(context: Context) -> str:
            token = get_access_token()
            assert token is not None
            request = context.request_context.request
            assert request is not None
            self.headers.append(dict(request.headers))
            return json.dumps({**token.model_dump(), "principal": current_principal().subject})

        @mcp.prompt()
        def greet() -> str:
            return "hello"

        @mcp.prompt()
        def draft() -> str:
            return "a draft"

        @mcp.prompt()
        def secret() -> str:
            self.ran.append("secret prompt")
            return "secret"

        @mcp.resource("demo://public/a")
        def public() -> str:
            return "public"

        @mcp.resource("demo://private/a")
        def private() -> str:
            self.ran.append("private resource")
            return "private"

        @mcp.resource("demo://public/{name}")
        def public_template(name: str) -> str:
            return name

        @mcp.resource("demo://private/{name}")
        def private_template(name: str) -> str:
            return name

        for decorated in (read_file, write_file, drop_everything, whoami, greet, draft, secret):
            assert callable(decorated)

    @asynccontextmanager
    async def client(
        self, *, json_response: bool = False, **options: Any
    ) -> AsyncGenerator[httpx2.AsyncClient]:
        app = self.mcp.streamable_http_app(json_response=json_response)
        settings = {"resource": LOOPBACK_RESOURCE, **options}
        async with (
            lifespan(app),
            client_of(McpAuthMiddleware(app, **edge_options(**settings)), base_url=LOOPBACK) as client,
        ):
            yield client


@pytest.mark.parametrize("json_response", [False, True], ids=["SSE", "JSON"])
@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize(
    ("method", "member", "name", "shown", "shown_to_writers"),
    [
        ("tools/list", "tools", "name", ["read_file", "whoami"], ["read_file", "write_file", "whoami"]),
        ("prompts/list", "prompts", "name", ["greet"], ["greet", "draft"]),
        ("resources/list", "resources", "uri", ["demo://public/a"], ["demo://public/a"]),
        (
            "resources/templates/list",
            "resourceTemplates",
            "uriTemplate",
            ["demo://public/{name}"],
            ["demo://public/{name}"],
        ),
    ],
)
async def test_a_list_shows_what_its_reader_may_use(
    revision: str,
    json_response: bool,
    method: str,
    member: str,
    name: str,
    shown: list[str],
    shown_to_writers: list[str],
) -> None:
    """Over JSON and over SSE, and never as public to a shared cache."""
    async with Server().client(json_response=json_response) as client:
        for scope, expected in (("files:read", shown), ("files:write", shown_to_writers)):
            headers = bearer(scope=scope, **AUD)
            session = await open_session(client, revision, headers)
            response = await post(client, method, revision=revision, headers={**headers, **session})
            result = rpc(response)["result"]

            assert response.status_code == 200
            assert [item[name] for item in result[member]] == expected
            assert result.get("cacheScope") == ("private" if revision == MODERN else None)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_tool_knows_its_caller_by_the_sdks_own_means(revision: str) -> None:
    """`get_access_token()` and the request: everything but the token."""
    server = Server()
    token = mint(claims(tenant="a", **AUD))
    async with server.client() as client:
        session = await open_session(client, revision, bearer(token))
        response = await post(
            client, "tools/call", {"name": "whoami"}, revision=revision, headers={**bearer(token), **session}
        )

    seen = json.loads(rpc(response)["result"]["content"][0]["text"])
    assert seen["principal"] == seen["subject"] == "user-1"
    assert seen["client_id"] == "client-1"
    assert seen["scopes"] == ["files:read"]
    assert seen["resource"] == LOOPBACK_RESOURCE
    assert seen["claims"]["tenant"] == "a"
    assert seen["expires_at"] == claims()["exp"]
    assert seen["token"].startswith("removed-by-mcpauth:")
    assert "authorization" not in server.headers[0]
    assert token not in repr(seen)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_denied_tool_gives_the_very_result_the_sdk_gives_for_an_unknown_one(revision: str) -> None:
    """So that nobody can tell the two apart."""
    open_policy = Policy.from_toml('version = 1\n[[rules]]\nid = "all"\nallow = { tools = ["*"] }')
    answers: list[dict[str, Any]] = []
    for policy, name in ((open_policy, "no_such_tool"), (Policy.from_toml(POLICY), "drop_everything")):
        server = Server()
        async with server.client(policy=policy) as client:
            session = await open_session(client, revision, bearer(**AUD))
            response = await post(
                client, "tools/call", {"name": name}, revision=revision, headers={**bearer(**AUD), **session}
            )
        assert response.status_code == 200
        assert not server.ran
        result = rpc(response)["result"]
        result.pop("_meta", None)
        assert result["content"][0].pop("text") == f"Unknown tool: {name}"
        answers.append(result)

    assert answers[0] == answers[1]


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_denied_resource_answers_as_the_sdk_does_for_an_unknown_one(revision: str) -> None:
    """-32602 with the URI."""
    open_policy = Policy.from_toml(
        'version = 1\n[[rules]]\nid = "all"\nallow = { resources = ["demo://**"] }'
    )
    answers: list[tuple[int, dict[str, Any]]] = []
    for policy in (open_policy, Policy.from_toml(POLICY)):
        server = Server()
        async with server.client(policy=policy) as client:
            session = await open_session(client, revision, bearer(**AUD))
            response = await post(
                client,
                "resources/read",
                {"uri": "demo://nowhere"},
                revision=revision,
                headers={**bearer(**AUD), **session},
            )
        answers.append((response.status_code, rpc(response)["error"]))

    assert answers[0] == answers[1]


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "write_file"}),
        ("tools/call", {"name": "drop_everything"}),
        ("prompts/get", {"name": "secret"}),
        ("resources/read", {"uri": "demo://private/a"}),
    ],
)
async def test_nothing_runs_that_is_refused(revision: str, method: str, params: dict[str, Any]) -> None:
    """By its own record."""
    server, journal = Server(), Journal()
    async with server.client(audit=journal) as client:
        session = await open_session(client, revision, bearer(**AUD))
        await post(client, method, params, revision=revision, headers={**bearer(**AUD), **session})
        await post(client, method, params, revision=revision, headers=session)
        await post(client, method, params, revision=revision, headers={**bearer("garbage"), **session})

    assert not server.ran
    assert [event["outcome"] for event in journal.events if event["phase"] == "outcome"][-3:] == [
        "refused"
    ] * 3


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_step_up_succeeds_with_exactly_what_was_challenged(revision: str) -> None:
    """MCP "Step-Up Authorization Flow": one challenge, one new token, one success."""
    server = Server()
    async with server.client() as client:
        session = await open_session(client, revision, bearer(**AUD))
        call: dict[str, Any] = {"name": "write_file", "arguments": {"path": "b"}}
        refused = await post(
            client, "tools/call", call, revision=revision, headers={**bearer(**AUD), **session}
        )
        assert refused.status_code == 403
        assert not server.ran

        scope = refused.headers["WWW-Authenticate"].partition('scope="')[2].partition('"')[0]
        accepted = await post(
            client, "tools/call", call, revision=revision, headers={**bearer(scope=scope, **AUD), **session}
        )

    assert rpc(accepted)["result"]["content"][0]["text"] == "wrote b"
    assert server.ran == ["write_file"]


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
async def test_a_session_belongs_to_who_opened_it(revision: str) -> None:
    """Another user's session is answered like one that does not exist, on every method."""
    server = Server()
    async with server.client() as client:
        session = await open_session(client, revision, bearer(sub="ada", **AUD))
        call = {"name": "read_file"}
        for method in ("POST", "GET", "DELETE"):
            headers = {**bearer(sub="eve", **AUD), **session, "Accept": "application/json, text/event-stream"}
            if method == "POST":
                response = await post(client, "tools/call", call, revision=revision, headers=headers)
            else:
                response = await client.request(method, "/mcp", headers=headers)
            assert response.status_code == 404
        assert not server.ran

        own = await post(
            client, "tools/call", call, revision=revision, headers={**bearer(sub="ada", **AUD), **session}
        )
    assert own.status_code == 200
    assert server.ran == ["read_file"]


async def test_a_session_goes_on_with_a_refreshed_token_and_its_scopes() -> None:
    """The principal is the token's of each message, not the session's of its first."""
    async with Server().client() as client:
        session = await open_session(client, "2025-11-25", bearer(**AUD))
        headers = {**bearer(scope="files:write", jti="second", **AUD), **session}
        response = await post(
            client, "tools/call", {"name": "whoami"}, revision="2025-11-25", headers=headers
        )

    assert json.loads(rpc(response)["result"]["content"][0]["text"])["scopes"] == ["files:write"]


def test_on_mcp_1_the_principal_is_that_of_the_message_and_not_of_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A session of mcp 1.x runs in the context of its first request; `request_ctx` names each message's."""

    def principal(subject: str) -> Principal:
        return Principal("https://as.example", subject, None, frozenset(), LOOPBACK_RESOURCE, 0)

    def request_of(subject: str) -> SimpleNamespace:
        return SimpleNamespace(request=SimpleNamespace(scope={"mcpauth.principal": principal(subject)}))

    request_ctx: ContextVar[SimpleNamespace] = ContextVar("request_ctx")
    monkeypatch.setattr("mcp.server.lowlevel.server.request_ctx", request_ctx, raising=False)

    def in_a_session() -> None:
        principal_var.set(principal("of the session"))
        assert current_principal().subject == "of the session"
        request_ctx.set(request_of("of the message"))
        assert current_principal().subject == "of the message"

    copy_context().run(in_a_session)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_lying_headers_do_not_choose_another_tool(revision: str) -> None:
    """The body is what runs, so the body is what is judged."""
    server = Server()
    async with server.client() as client:
        session = await open_session(client, revision, bearer(**AUD))
        headers = {**bearer(**AUD), **session, "Mcp-Method": "tools/list", "Mcp-Name": "read_file"}
        response = await post(
            client, "tools/call", {"name": "write_file"}, revision=revision, headers=headers
        )

    assert response.status_code in (400, 403)
    assert not server.ran


async def test_add_middleware_protects_the_sdks_own_application() -> None:
    """`app.add_middleware(...)`, before the first request."""
    server = Server()
    app = server.mcp.streamable_http_app()
    app.add_middleware(McpAuthMiddleware, **edge_options(resource=LOOPBACK_RESOURCE))
    async with lifespan(app), client_of(app, base_url=LOOPBACK) as client:
        assert (await client.get("/mcp")).status_code == 401
        assert (await client.get("/.well-known/oauth-protected-resource/mcp")).status_code == 200
        response = await post(client, "tools/call", {"name": "whoami"}, headers=bearer(**AUD))

    assert json.loads(rpc(response)["result"]["content"][0]["text"])["subject"] == "user-1"


async def test_a_server_below_a_prefix_works() -> None:
    """Mounted by Starlette, with the session manager run by the parent."""
    server = Server()
    resource = f"{LOOPBACK}/api/mcp"
    inner = server.mcp.streamable_http_app()
    outer = Starlette(lifespan=lambda _app: server.mcp.session_manager.run())
    outer.mount("/api", McpAuthMiddleware(inner, **edge_options(resource=resource)))
    async with lifespan(outer), client_of(outer, base_url=LOOPBACK) as client:
        assert (await client.post("/api/mcp")).status_code == 401
        response = await post(
            client, "tools/call", {"name": "read_file"}, path="/api/mcp", headers=bearer(aud=resource)
        )

    assert rpc(response)["result"]["content"][0]["text"] == "content of a"


# The SDK's client, over real HTTP


@asynccontextmanager
async def connected(
    server: Server, mode: Literal["legacy", "auto"], *, scope: str = "files:read", **options: Any
) -> AsyncGenerator[Client]:
    def protected(url: str) -> ASGIApp:
        settings = {"resource": f"{url}/mcp", **options}
        return McpAuthMiddleware(server.mcp.streamable_http_app(), **edge_options(**settings))

    async with served(protected) as url:
        headers = bearer(aud=f"{url}/mcp", scope=scope)
        async with (
            httpx2.AsyncClient(headers=headers) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
        ):
            yield client


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_sdks_client_sees_and_calls_what_it_may(mode: Literal["legacy", "auto"]) -> None:
    """Handshake era and 2026-07-28."""
    server = Server()
    async with connected(server, mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["read_file", "whoami"]
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["greet"]
        result = await client.call_tool("read_file", {"path": "x"})
        denied = await client.call_tool("drop_everything", {})

    assert result.content[0].model_dump()["text"] == "content of x"
    assert denied.is_error
    assert denied.content[0].model_dump()["text"] == "Unknown tool: drop_everything"
    assert server.ran == ["read_file"]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_rate_limit_does_not_end_the_session_of_the_sdks_client(
    mode: Literal["legacy", "auto"],
) -> None:
    """And the model, or the program, learns how long to wait."""
    clock = Clock()
    limits = [RateLimit("1/minute", by=("user", "tool"))]
    async with connected(Server(), mode, limits=limits, limiter=MemoryLimiter(now=clock)) as client:
        await client.call_tool("read_file", {})
        if mode == "legacy":
            refused = await client.call_tool("read_file", {})
            assert refused.is_error
            assert "Wait 60 seconds" in refused.content[0].model_dump()["text"]
        else:
            with pytest.raises(MCPError) as raised:
                await client.call_tool("read_file", {})
            assert raised.value.error.data == {"retryAfterSeconds": 60}
        clock.time += 60
        assert not (await client.call_tool("read_file", {})).is_error
