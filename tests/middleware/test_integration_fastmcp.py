"""In front of a FastMCP server: `http_app(middleware=[...])`, the wrapper, and FastMCP's own client."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path  # noqa: TC003  FastMCP reads the annotation
from typing import TYPE_CHECKING, Any, Literal

import pytest
from fastmcp import Client, FastMCP
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.exceptions import ToolError
from fastmcp.server.dependencies import get_access_token, get_http_headers
from fastmcp.server.middleware.caching import ResponseCachingMiddleware
from fastmcp.server.sessions import UserSession  # noqa: TC002  FastMCP reads the annotation
from starlette.middleware import Middleware

from mcpauth_middleware import McpAuthMiddleware, Policy, Principal, current_principal
from tests.middleware.edge_helpers import (
    LOOPBACK,
    LOOPBACK_RESOURCE,
    NOW,
    REVISIONS,
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

    import httpx2

    from mcpauth_middleware.asgi import ASGIApp

pytestmark = pytest.mark.anyio

AUD = {"aud": LOOPBACK_RESOURCE}
Form = Literal["http_app(middleware=)", "wrapper", "add_middleware"]
FORMS: tuple[Form, ...] = ("http_app(middleware=)", "wrapper", "add_middleware")


class Server:
    """An ordinary FastMCP server, and a record of what ran on it."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.ran: list[str] = []
        self.policy = policy or Policy(scopes={"files:write": ["files:read"]})
        self.mcp = mcp = FastMCP("files")

        @mcp.tool
        @self.policy.requires("files:read")
        def read_file(path: str = "a") -> str:
            self.ran.append("read_file")
            return f"content of {path}"

        @mcp.tool
        @self.policy.requires("files:write")
        async def write_file(path: str = "a") -> str:
            self.ran.append("write_file")
            return f"wrote {path}"

        @mcp.tool
        def drop_everything() -> str:
            self.ran.append("drop_everything")
            return "gone"

        @mcp.tool
        @self.policy.requires()
        def whoami() -> str:
            token = get_access_token()
            assert token is not None
            seen = {"principal": current_principal().subject, "headers": get_http_headers(include_all=True)}
            return json.dumps({**token.model_dump(), **seen})

    def app(self, form: Form, resource: str, **options: Any) -> tuple[ASGIApp, Any]:
        """The protected application, and the Starlette application whose lifespan is to run."""
        settings = edge_options(resource=resource, policy=self.policy, **options)
        if form == "http_app(middleware=)":
            inside = self.mcp.http_app(middleware=[Middleware(McpAuthMiddleware, **settings)])
            return inside, inside
        plain = self.mcp.http_app()
        if form == "add_middleware":
            plain.add_middleware(McpAuthMiddleware, **settings)
            return plain, plain
        return McpAuthMiddleware(plain, **settings), plain

    @asynccontextmanager
    async def client(self, form: Form = "wrapper", **options: Any) -> AsyncGenerator[httpx2.AsyncClient]:
        app, with_lifespan = self.app(form, LOOPBACK_RESOURCE, **options)
        async with lifespan(with_lifespan), client_of(app, base_url=LOOPBACK) as client:
            yield client


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("revision", REVISIONS)
async def test_each_way_of_adding_it_protects_and_serves(form: Form, revision: str) -> None:
    """Challenge, metadata, list, call, step-up: in every revision."""
    server = Server()
    async with server.client(form) as client:
        assert (await client.get("/mcp")).status_code == 401
        assert (await client.get("/.well-known/oauth-protected-resource/mcp")).status_code == 200
        session = await open_session(client, revision, bearer(**AUD))
        headers = {**bearer(**AUD), **session}

        listed = await post(client, "tools/list", revision=revision, headers=headers)
        called = await post(client, "tools/call", {"name": "read_file"}, revision=revision, headers=headers)
        stepped = await post(client, "tools/call", {"name": "write_file"}, revision=revision, headers=headers)
        denied = await post(
            client, "tools/call", {"name": "drop_everything"}, revision=revision, headers=headers
        )

    assert [tool["name"] for tool in rpc(listed)["result"]["tools"]] == ["read_file", "whoami"]
    assert rpc(called)["result"]["content"][0]["text"] == "content of a"
    assert stepped.status_code == 403
    assert 'scope="files:read files:write"' in stepped.headers["WWW-Authenticate"]
    assert rpc(denied)["result"]["content"][0]["text"] == "Unknown tool: drop_everything"
    assert server.ran == ["read_file"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_tool_knows_its_caller_by_fastmcps_own_means(form: Form, revision: str) -> None:
    """`get_access_token()`: everything but the token; nor is it among the headers."""
    token = mint(claims(tenant="a", **AUD))
    async with Server().client(form) as client:
        session = await open_session(client, revision, bearer(token))
        response = await post(
            client, "tools/call", {"name": "whoami"}, revision=revision, headers={**bearer(token), **session}
        )

    text = rpc(response)["result"]["content"][0]["text"]
    seen = json.loads(text)
    assert seen["principal"] == seen["subject"] == "user-1"
    assert seen["client_id"] == "client-1"
    assert seen["scopes"] == ["files:read"]
    assert seen["claims"]["tenant"] == "a"
    assert "authorization" not in seen["headers"]
    assert token not in text


async def test_a_session_goes_on_with_a_refreshed_token_and_its_scopes() -> None:
    """The principal is the token's of each message."""
    async with Server().client() as client:
        session = await open_session(client, "2025-11-25", bearer(**AUD))
        headers = {**bearer(scope="files:write", jti="second", **AUD), **session}
        response = await post(
            client, "tools/call", {"name": "whoami"}, revision="2025-11-25", headers=headers
        )

    assert json.loads(rpc(response)["result"]["content"][0]["text"])["scopes"] == ["files:write"]


async def test_a_stateless_server_works_alike() -> None:
    """`stateless_http=True`: no session to bind."""
    server = Server()
    plain = server.mcp.http_app(stateless_http=True, json_response=True)
    app = McpAuthMiddleware(plain, **edge_options(resource=LOOPBACK_RESOURCE, policy=server.policy))
    async with lifespan(plain), client_of(app, base_url=LOOPBACK) as client:
        for revision in REVISIONS:
            response = await post(
                client, "tools/call", {"name": "read_file"}, revision=revision, headers=bearer(**AUD)
            )
            assert rpc(response)["result"]["content"][0]["text"] == "content of a"

    assert server.ran == ["read_file"] * len(REVISIONS)


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize(
    ("method", "name", "kind"),
    [("tools/call", "nope", "tools"), ("prompts/get", "nope", "prompts")],
)
async def test_what_is_denied_answers_as_fastmcp_does_for_what_it_has_not_but_for_quotes(
    revision: str, method: str, name: str, kind: str
) -> None:
    """An error result, or -32602, with HTTP 400 in the later era; FastMCP itself is asked."""
    everything = f'version = 1\n[[rules]]\nid = "all"\nallow = {{ {kind} = ["*"] }}'
    answers: list[tuple[int, dict[str, Any]]] = []
    for policy in (Policy.from_toml(everything), None):
        async with Server(policy).client() as client:
            session = await open_session(client, revision, bearer(**AUD))
            headers = {**bearer(**AUD), **session}
            response = await post(client, method, {"name": name}, revision=revision, headers=headers)
        answer = json.loads(json.dumps(rpc(response)).replace(f"'{name}'", name))
        answer.get("result", {}).pop("_meta", None)
        answers.append((response.status_code, answer))

    assert answers[0] == answers[1]
    assert f"Unknown {kind[:-1]}: {name}" in json.dumps(answers[1])


@pytest.mark.parametrize("form", FORMS)
async def test_fastmcps_client_sees_and_calls_what_it_may(form: Form) -> None:
    """Over real HTTP, with a token as its `auth`."""
    server = Server()

    async with served(lambda url: server.app(form, f"{url}/mcp")[0]) as url:
        transport = StreamableHttpTransport(f"{url}/mcp", auth=mint(claims(aud=f"{url}/mcp")))
        async with Client(transport) as client:
            tools = [tool.name for tool in await client.list_tools()]
            result = await client.call_tool("read_file", {"path": "x"})
            with pytest.raises(ToolError, match="Unknown tool: drop_everything"):
                await client.call_tool("drop_everything", {})

    assert tools == ["read_file", "whoami"]
    assert result.data == "content of x"
    assert server.ran == ["read_file"]


@pytest.mark.parametrize("revision", REVISIONS)
async def test_fastmcps_response_cache_gives_nobody_the_answer_of_another(revision: str) -> None:
    """It keeps answers apart by the `token` of FastMCP's `AccessToken`."""
    server = Server()
    server.mcp.add_middleware(ResponseCachingMiddleware())
    seen: list[str] = []
    async with server.client() as client:
        for changed in ({"sub": "alice"}, {"sub": "bob"}, {"sub": "bob", "tenant": "a", "jti": "token-2"}):
            headers = bearer(**changed, **AUD)
            session = await open_session(client, revision, headers)
            answer = await post(
                client, "tools/call", {"name": "whoami"}, revision=revision, headers={**headers, **session}
            )
            said = json.loads(rpc(answer)["result"]["content"][0]["text"])
            seen.append(f"{said['principal']} of {said['claims'].get('tenant')}")

    assert seen == ["alice of None", "bob of None", "bob of a"]


class TwoIssuers:
    """Vouches for one subject of the issuer that the token names, as introspection may: without claims."""

    async def verify(self, token: str) -> Principal:
        return Principal(f"https://{token}.example", "1", "c", frozenset(), LOOPBACK_RESOURCE, NOW + 600)


async def test_fastmcps_user_sessions_are_of_one_issuers_user() -> None:
    """RFC 7662 §2.2: `iss` is optional; subjects are unique only together with it (RFC 9068 §2.2)."""
    server = Server()

    @server.mcp.tool
    @server.policy.requires()
    async def remembered(fact: str, session: UserSession) -> str:
        before: str = await session.get("fact", "nothing")
        await session.set("fact", fact)
        return before

    facts: list[str] = []
    async with server.client(verifier=TwoIssuers()) as client:
        for issuer in ("one", "two", "one"):
            params = {"name": "remembered", "arguments": {"fact": f"of {issuer}"}}
            answer = await post(client, "tools/call", params, headers=bearer(issuer))
            facts.append(rpc(answer)["result"]["content"][0]["text"])

    assert facts == ["nothing", "nothing", "of one"]


NOT_THAT_FILE = """
version = 1
[[rules]]
id = "all"
allow = { prompts = ["*"] }
[[rules]]
id = "not-that-file"
deny = { prompts = ["summarize"] }
when = 'args.path == "/etc/passwd"'
[[rules]]
id = "not-drop"
deny = { prompts = ["plan"] }
when = 'args.mode == "drop"'
"""


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_rule_about_a_prompts_argument_is_not_evaded_by_writing_it_in_json(revision: str) -> None:
    """FastMCP parses what a prompt takes as a literal, an enumeration or a path."""
    server = Server(Policy.from_toml(NOT_THAT_FILE))
    ran: list[str] = []

    @server.mcp.prompt
    def summarize(path: Path, topic: str = "all") -> str:
        ran.append(f"{path} {topic}")
        return "..."

    @server.mcp.prompt
    def plan(mode: Literal["drop", "keep"]) -> str:
        ran.append(mode)
        return "..."

    written = ['"/etc/passwd"', '"\\u002fetc\\u002fpasswd"', ' "/etc/passwd"\t']
    asked = [("summarize", {"path": path}) for path in ["/etc/passwd", *written]]
    asked += [("plan", {"mode": mode}) for mode in ("drop", '"drop"', '"dr\\u006fp"')]
    allowed = [("summarize", {"path": "/srv/a", "topic": '"both" and "each"'}), ("plan", {"mode": "keep"})]
    answers: list[dict[str, Any]] = []
    async with server.client() as client:
        session = await open_session(client, revision, bearer(**AUD))
        for name, arguments in [*asked, *allowed]:
            params = {"name": name, "arguments": arguments}
            headers = {**bearer(**AUD), **session}
            answers.append(rpc(await post(client, "prompts/get", params, revision=revision, headers=headers)))

    told = [answer["error"]["message"] for answer in answers[: len(asked)]]
    assert told == [f"Unknown prompt: {name}" for name, _ in asked]
    assert all("result" in answer for answer in answers[len(asked) :])
    assert ran == ['/srv/a "both" and "each"', "keep"]
