"""The answer to what the policy or a limit refuses: RFC 6750 §3.1, RFC 6585 §4, JSON-RPC 2.0 §5.1."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from mcpauth_middleware import MemoryLimiter, Policy, RateLimit
from tests.middleware.edge_helpers import (
    HANDSHAKE_REVISIONS,
    METADATA_URL,
    MODERN,
    REVISIONS,
    Clock,
    Journal,
    RecordingApp,
    bearer,
    client_of,
    message,
    post,
    protect,
)

if TYPE_CHECKING:
    import httpx2

pytestmark = pytest.mark.anyio


class Server:
    """A protected application, and what it was called with."""

    def __init__(self, **options: Any) -> None:
        self.app = RecordingApp()
        self.journal = Journal()
        self.client = client_of(protect(self.app, audit=self.journal, **options))

    async def post(
        self, method: str, params: dict[str, Any] | None = None, **options: Any
    ) -> httpx2.Response:
        return await post(self.client, method, params, **options)

    def assert_nothing_ran(self, count: int = 1) -> None:
        assert not self.app.scopes
        assert [event["outcome"] for event in self.journal.events] == ["refused"] * count


# Names that must not be seen


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("name", ["drop_everything", "no_such_tool", "read_file ", "READ_FILE", "ünïcode"])
async def test_a_denied_tool_answers_like_an_unknown_one(revision: str, name: str) -> None:
    """MCP "Tools": an error result; who may not call a tool may not know of it either."""
    server = Server()
    headers, body = message("tools/call", {"name": name, "arguments": {}}, revision=revision)
    headers.pop("Mcp-Name", None)
    if revision == MODERN:
        headers["Mcp-Name"] = f"=?base64?{base64.b64encode(name.encode()).decode()}?="

    response = await server.client.post("/mcp", headers={**headers, **bearer()}, content=body)

    expected: dict[str, Any] = {
        "content": [{"type": "text", "text": f"Unknown tool: {name}"}],
        "isError": True,
    }
    if revision == MODERN:
        expected["resultType"] = "complete"
    assert response.status_code == 200
    assert response.json() == {"jsonrpc": "2.0", "id": 1, "result": expected}
    server.assert_nothing_ran()


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize(
    ("method", "params", "error"),
    [
        ("prompts/get", {"name": "secret"}, {"code": -32602, "message": "Unknown prompt: secret"}),
        (
            "resources/read",
            {"uri": "demo://secret"},
            {"code": -32602, "message": "Unknown resource: demo://secret", "data": {"uri": "demo://secret"}},
        ),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "secret"}, "argument": {"name": "a", "value": "b"}},
            {"code": -32602, "message": "Unknown prompt"},
        ),
    ],
)
async def test_a_denied_prompt_or_resource_answers_like_an_unknown_one(
    revision: str, method: str, params: dict[str, Any], error: dict[str, Any]
) -> None:
    """MCP "Prompts", "Resources": -32602; in the later era with HTTP 400, which older clients do not bear."""
    server = Server()

    response = await server.post(method, params, revision=revision)

    assert response.status_code == (400 if revision == MODERN else 200)
    assert response.json() == {"jsonrpc": "2.0", "id": 1, "error": error}
    server.assert_nothing_ran()


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("method", ["no/such", "sampling/createMessage", "roots/list", "TOOLS/CALL"])
async def test_a_method_that_no_rule_allows_is_not_found(revision: str, method: str) -> None:
    """JSON-RPC 2.0 §5.1 -32601; MCP 2026-07-28 asks for HTTP 404 with it."""
    server = Server()

    response = await server.post(method, revision=revision)

    assert response.status_code == (404 if revision == MODERN else 200)
    error = {"code": -32601, "message": "Method not found", "data": method}
    assert response.json() == {"jsonrpc": "2.0", "id": 1, "error": error}
    server.assert_nothing_ran()


@pytest.mark.parametrize(
    ("member", "method"), [("taskIds", "tasks/get"), ("jobIds", "subscriptions/listen/jobIds")]
)
async def test_nobody_listens_to_tasks_whom_no_rule_lets_ask_for_them(member: str, method: str) -> None:
    """SEP-2663: what is pushed is what `tasks/get` gives. Of other extensions nobody can tell."""
    server, wanted = Server(), {"notifications": {"toolsListChanged": True, member: ["another's"]}}

    response = await server.post("subscriptions/listen", wanted, revision=MODERN)

    assert response.status_code == 400
    assert response.json()["error"] == {"code": -32602, "message": "Unknown subscription"}
    server.assert_nothing_ran()

    rule = f'[[rules]]\nid = "tasks"\nallow = {{ methods = ["{method}"] }}'
    policy = Policy.from_toml(f"version = 1\n{rule}")
    assert policy.lint() == []
    open_server = Server(policy=policy)
    assert (await open_server.post("subscriptions/listen", wanted, revision=MODERN)).status_code == 200
    assert len(open_server.app.scopes) == 1


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_denied_notification_is_accepted_and_dropped(revision: str) -> None:
    """JSON-RPC 2.0 §4.1: nobody waits for an answer."""
    server = Server()

    response = await server.post("notifications/tools/list_changed", revision=revision, id=None)

    assert response.status_code == 202
    assert response.content == b""
    server.assert_nothing_ran()


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
async def test_answers_of_the_client_pass(revision: str) -> None:
    """Before 2026-07-28 a client answers the server's own requests with a POST."""
    server = Server()
    headers, _ = message("ping", revision=revision)
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "result": {"roots": []}}).encode()

    assert (
        await server.client.post("/mcp", headers={**headers, **bearer()}, content=body)
    ).status_code == 200
    assert server.app.bodies == [body]


# Parameters that name nothing

NAMELESS: list[tuple[str, dict[str, Any], str]] = [
    ("tools/call", {"name": ""}, "params.name must be a non-empty string"),
    ("tools/call", {"name": "read_file", "arguments": []}, "params.arguments must be an object"),
    ("prompts/get", {"name": "a\nb"}, "params.name holds a control character"),
    ("resources/read", {"uri": "demo://a/../b"}, "params.uri "),
]


@pytest.mark.parametrize(("method", "params", "said"), NAMELESS)
@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
async def test_an_older_client_keeps_its_session_when_a_model_names_what_cannot_be(
    revision: str, method: str, params: dict[str, Any], said: str
) -> None:
    """JSON-RPC 2.0 §5.1 -32602, as such a server itself says it: an HTTP error would end the session."""
    server = Server()

    response = await server.post(method, params, revision=revision)

    assert response.status_code == 200
    assert response.json()["id"] == 1
    assert response.json()["error"]["code"] == -32602
    assert response.json()["error"]["message"].startswith(said)
    server.assert_nothing_ran()


DEEP = "[" * 64 + "]" * 64


@pytest.mark.parametrize("value", ["9" * 101, "1e400", "1." + "0" * 100, DEEP])
@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
async def test_an_older_client_keeps_its_session_when_a_model_gives_more_than_is_read(
    revision: str, value: str
) -> None:
    """RFC 8259 §6, §9: it is JSON, which a client's library writes; the answer must find its request."""
    server = Server()
    headers, body = message(
        "tools/call", {"name": "read_file", "arguments": {"n": 7.5}}, revision=revision, id="a"
    )

    response = await server.client.post(
        "/mcp", headers={**headers, **bearer()}, content=body.replace(b"7.5", value.encode())
    )

    assert response.status_code == 200
    assert response.json()["id"] == "a"
    assert response.json()["error"]["code"] == -32602
    server.assert_nothing_ran()


@pytest.mark.parametrize("id_", ["9" * 101, "1e400", "7.5", "true", "null", "[1]", '"' + "x" * 257 + '"'])
async def test_what_is_no_id_is_not_answered_as_one(id_: str) -> None:
    """JSON-RPC 2.0 §5: null, when the id could not be read; then nobody waits for a 200."""
    server = Server()
    headers, body = message("tools/call", {"name": "read_file"}, revision=HANDSHAKE_REVISIONS[-1], id="a")
    out_of_bounds = body.replace(b'"id": "a"', b'"x": 1e400, "id": ' + id_.encode())
    assert out_of_bounds != body

    response = await server.client.post("/mcp", headers={**headers, **bearer()}, content=out_of_bounds)

    assert response.status_code == 400
    assert response.json()["id"] is None
    server.assert_nothing_ran()


async def test_a_later_client_hears_of_wrong_parameters_by_http_400() -> None:
    """MCP 2026-07-28, "Streamable HTTP": -32602 comes with it."""
    server = Server()

    response = await server.post("completion/complete", {"ref": {"type": "ref/tool"}}, revision=MODERN)

    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32602
    server.assert_nothing_ran()


# What cannot be recorded


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
async def test_a_journal_that_is_full_does_not_end_an_older_clients_session(revision: str) -> None:
    """An HTTP error would; the model reads that it may try again, and nothing ran."""
    server = Server()
    server.journal.broken = True

    called = await server.post("tools/call", {"name": "read_file"}, revision=revision)
    got = await server.post("prompts/get", {"name": "greet"}, revision=revision)
    notified = await server.post("notifications/cancelled", {"requestId": 1}, revision=revision, id=None)

    assert (called.status_code, got.status_code, notified.status_code) == (200, 200, 202)
    assert called.json()["result"] == {
        "content": [
            {
                "type": "text",
                "text": "The server cannot do this at the moment. Wait 5 seconds, then call the tool again.",
            }
        ],
        "isError": True,
    }
    assert got.json()["error"] == {
        "code": 50300,
        "message": "The server cannot do this at the moment",
        "data": {"retryAfterSeconds": 5},
    }
    assert not server.app.scopes


async def test_a_later_client_reads_from_the_503_when_to_try_again() -> None:
    """RFC 9110 §15.6.4; the body is the JSON-RPC error that clients show."""
    server = Server()
    server.journal.broken = True

    response = await server.post("tools/call", {"name": "read_file"}, revision=MODERN)

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert response.json()["id"] == 1
    assert response.json()["error"]["data"] == {"retryAfterSeconds": 5}
    assert not server.app.scopes


# Step-up


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_call_that_needs_more_scopes_is_challenged_over_http_for_every_client(revision: str) -> None:
    """RFC 6750 §3.1; MCP "Runtime Insufficient Scope Errors"."""
    server = Server()

    response = await server.post(
        "tools/call", {"name": "write_file", "arguments": {}}, revision=revision, id="a"
    )

    assert response.status_code == 403
    assert response.headers["WWW-Authenticate"] == (
        'Bearer error="insufficient_scope", scope="files:read files:write", '
        f'resource_metadata="{METADATA_URL}", '
        'error_description="This call needs more scopes than the access token has"'
    )
    assert response.json() == {
        "jsonrpc": "2.0",
        "id": "a",
        "error": {
            "code": 40300,
            "message": "This call needs more scopes than the access token has",
            "data": {"scope": "files:read files:write"},
        },
    }
    server.assert_nothing_ran()


@pytest.mark.parametrize(
    ("held", "challenged"),
    [
        ("", "files:write"),
        ("files:read", "files:read files:write"),
        ("files:read openid profile", "files:read files:write"),
    ],
)
async def test_the_challenge_keeps_what_the_token_has_and_the_policy_knows(
    held: str, challenged: str
) -> None:
    """Clients exist that ask for exactly what is challenged, and would lose the rest."""
    response = await Server().post("tools/call", {"name": "write_file"}, headers=bearer(scope=held))

    assert f'scope="{challenged}"' in response.headers["WWW-Authenticate"]


async def test_a_broader_scope_stands_for_the_narrower_ones() -> None:
    """MCP: servers MUST account for scope hierarchies."""
    server = Server()

    for name in ("write_file", "read_file"):
        response = await server.post("tools/call", {"name": name}, headers=bearer(scope="files:write"))
        assert response.status_code == 200
    assert len(server.app.scopes) == 2


async def test_a_tool_that_is_denied_to_everyone_is_not_a_matter_of_scopes() -> None:
    """A challenge would ask for scopes that do not help, and tell that the tool exists."""
    response = await Server().post("tools/call", {"name": "drop_it"}, headers=bearer(scope=""))

    assert response.status_code == 200
    assert "WWW-Authenticate" not in response.headers


async def test_prompts_step_up_as_well() -> None:
    """The rule is the same for everything a rule can name."""
    response = await Server().post("prompts/get", {"name": "draft"})

    assert response.status_code == 403
    assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]


# Rate limits


def limited(**options: Any) -> Server:
    """One call, then one a minute."""
    return Server(limits=[RateLimit("1/minute")], limiter=MemoryLimiter(now=Clock()), **options)


async def test_over_the_limit_the_later_era_gets_429_with_the_seconds_to_wait() -> None:
    """RFC 6585 §4; the body is the JSON-RPC error that clients show."""
    server = limited()
    await server.post("tools/call", {"name": "read_file"})

    response = await server.post("tools/call", {"name": "read_file"})

    assert response.status_code == 429
    assert response.headers["Retry-After"] == "60"
    assert response.json() == {
        "jsonrpc": "2.0",
        "id": 1,
        "error": {"code": 42900, "message": "Rate limit reached", "data": {"retryAfterSeconds": 60}},
    }
    assert len(server.app.scopes) == 1
    assert server.journal.events[-1]["outcome"] == "refused"
    assert server.journal.events[-1]["reason"] == "rate_limited"


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
async def test_over_the_limit_an_older_client_keeps_its_session_and_its_model_reads_why(
    revision: str,
) -> None:
    """An HTTP error ends the session of an SDK of that time."""
    server = limited()
    await server.post("tools/call", {"name": "read_file"}, revision=revision)

    call = await server.post("tools/call", {"name": "read_file"}, revision=revision)

    assert call.status_code == 200
    result = call.json()["result"]
    assert result["isError"] is True
    assert result["content"] == [
        {"type": "text", "text": "Rate limit reached. Wait 60 seconds, then call the tool again."}
    ]
    assert len(server.app.scopes) == 1


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
async def test_over_the_limit_other_methods_of_an_older_client_get_a_json_rpc_error(revision: str) -> None:
    """There is no error result outside tools."""
    server = limited()
    await server.post("prompts/get", {"name": "greet"}, revision=revision)

    response = await server.post("prompts/get", {"name": "greet"}, revision=revision)

    assert response.status_code == 200
    error = {"code": 42900, "message": "Rate limit reached", "data": {"retryAfterSeconds": 60}}
    assert response.json() == {"jsonrpc": "2.0", "id": 1, "error": error}
    assert len(server.app.scopes) == 1


async def test_a_refused_call_is_not_debited() -> None:
    """Who is denied must not use up the limit of what is allowed."""
    server = limited()
    for _ in range(5):
        await server.post("tools/call", {"name": "drop_it"})
        await server.post("tools/call", {"name": "write_file"})

    assert (await server.post("tools/call", {"name": "read_file"})).status_code == 200
    assert len(server.app.scopes) == 1


async def test_each_user_has_a_limit_of_its_own() -> None:
    """The default dimension."""
    server = limited()

    for subject in ("ada", "bob"):
        response = await server.post("tools/call", {"name": "read_file"}, headers=bearer(sub=subject))
        assert response.status_code == 200
    assert (
        await server.post("tools/call", {"name": "read_file"}, headers=bearer(sub="ada"))
    ).status_code == 429
    assert len(server.app.scopes) == 2
