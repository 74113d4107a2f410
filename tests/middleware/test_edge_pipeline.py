"""The way of a request through the middleware: body, application, response, journal (ASGI 3.0)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from mcpauth_middleware import JwtVerifier, McpAuthMiddleware, current_principal
from tests.middleware.dpop_helpers import Prover
from tests.middleware.edge_helpers import (
    HANDSHAKE_REVISIONS,
    RESOURCE,
    REVISIONS,
    Clock,
    IssuerServer,
    Journal,
    RecordingApp,
    bearer,
    claims,
    client_of,
    edge_options,
    message,
    mint,
    post,
    protect,
)
from tests.middleware.test_tokens_introspection import Introspecting, active
from tests.middleware.test_tokens_introspection import verifier as introspecting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx2

    from mcpauth_middleware.asgi import Event, Receive, Scope, Send

pytestmark = pytest.mark.anyio


def http_scope(headers: dict[str, str], *, method: str = "POST") -> Scope:
    """The ASGI scope of a request to the MCP endpoint."""
    raw = [
        (name.lower().encode(), value.encode()) for name, value in {"Host": "rs.example", **headers}.items()
    ]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": "/mcp",
        "raw_path": b"/mcp",
        "query_string": b"",
        "headers": raw,
        "client": ("192.0.2.7", 4711),
    }


class Wire:
    """The server's side of one connection: what is received and sent, step by step."""

    def __init__(self, *events: Event) -> None:
        self.events = list(events)
        self.sent: list[Event] = []
        self.gone = anyio.Event()

    async def receive(self) -> Event:
        if self.events:
            return self.events.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: Event) -> None:
        self.sent.append(event)


def body_event(body: bytes, *, more: bool = False) -> Event:
    return {"type": "http.request", "body": body, "more_body": more}


# The body


@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_application_gets_the_very_bytes(revision: str) -> None:
    """What was judged is what runs: spaces, escapes and order included."""
    app = RecordingApp()
    headers, body = message("ping" if revision in HANDSHAKE_REVISIONS else "tools/list", revision=revision)
    body = b" \n" + body.replace(b'"method"', b'"meth\\u006fd"') + b"\t"

    response = await client_of(protect(app)).post("/mcp", headers={**headers, **bearer()}, content=body)

    assert response.status_code == 200
    assert app.bodies == [body]


async def test_a_body_in_many_pieces_is_one_body() -> None:
    """ASGI: `more_body`."""
    app = RecordingApp()
    headers, body = message("tools/list")
    pieces = [body_event(body[index : index + 1], more=True) for index in range(len(body))]
    wire = Wire(*pieces, body_event(b""))

    await protect(app)(http_scope({**headers, **bearer()}), wire.receive, wire.send)

    assert app.bodies == [body]
    assert wire.sent[0]["status"] == 200


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_is_too_long_is_refused_without_reading_it_all(declared: bool) -> None:
    """RFC 9110 §15.5.14."""
    app, journal = RecordingApp(), Journal()
    headers, body = message("tools/list")
    length = {"Content-Length": str(len(body))} if declared else {}
    wire = Wire(*(body_event(body[index : index + 10], more=True) for index in range(0, len(body), 10)))

    guarded = protect(app, max_body_bytes=50, audit=journal)
    await guarded(http_scope({**headers, **bearer(), **length}), wire.receive, wire.send)

    assert wire.sent[0]["status"] == 413
    assert len(wire.events) == len(range(0, len(body), 10)) - (0 if declared else 6)
    assert not app.scopes
    assert journal.events[0]["outcome"] == "refused"


async def test_a_token_is_checked_before_the_body_is_read() -> None:
    """Nobody without a token makes the server read four megabytes."""
    wire = Wire(body_event(b"x", more=True))

    await protect(RecordingApp())(http_scope({}), wire.receive, wire.send)

    assert wire.sent[0]["status"] == 401
    assert len(wire.events) == 1


class SlowWire(Wire):
    """One whose body comes in two pieces, long after one another."""

    def __init__(self, body: bytes, clock: Clock, *, seconds: float, revoke: Callable[[], object]) -> None:
        super().__init__(body_event(body[:1], more=True), body_event(body[1:]))
        self.clock, self.seconds, self.revoke = clock, seconds, revoke

    async def receive(self) -> Event:
        if len(self.events) == 1:
            self.clock.time += self.seconds
            self.revoke()
        return await super().receive()


@pytest.mark.parametrize(
    ("seconds", "is_revoked", "status"),
    [(1, True, 200), (11, False, 200), (11, True, 401), (600, False, 401)],
)
async def test_a_token_that_ends_while_the_body_comes_runs_nothing(
    seconds: float, is_revoked: bool, status: int
) -> None:
    """RFC 6750 §3.1: who holds the body back must not run it after the token was revoked, or has expired."""
    server, clock, app, journal = Introspecting({"opaque": active()}), Clock(), RecordingApp(), Journal()
    guarded = protect(app, verifier=introspecting(server, clock=clock), audit=journal, now=clock)
    headers, body = message("tools/list")
    revoke = server.known.clear if is_revoked else list[object]
    wire = SlowWire(body, clock, seconds=seconds, revoke=revoke)

    await guarded(http_scope({**headers, **bearer("opaque")}), wire.receive, wire.send)

    assert wire.sent[0]["status"] == status
    assert app.bodies == ([body] if status == 200 else [])
    assert [event["outcome"] for event in journal.events[-1:]] == ["ok" if status == 200 else "refused"]


async def test_a_proof_is_not_used_twice_by_a_body_that_takes_its_time() -> None:
    """RFC 9449 §11.1: it is good once, and was."""
    clock, app, prover = Clock(), RecordingApp(), Prover()
    keys = IssuerServer().client()
    guarded = protect(app, verifier=None, http_client=keys, revocation="off", now=clock)
    headers, body = message("tools/list")
    wire = SlowWire(body, clock, seconds=90, revoke=list[object])

    await guarded(http_scope({**headers, **prover.headers()}), wire.receive, wire.send)

    assert wire.sent[0]["status"] == 200
    assert app.bodies == [body]


async def test_a_client_that_leaves_while_sending_gets_nothing_and_runs_nothing() -> None:
    """Half a message is no message."""
    app, journal = RecordingApp(), Journal()
    headers, body = message("tools/list")
    wire = Wire(body_event(body[:20], more=True), {"type": "http.disconnect"})

    await protect(app, audit=journal)(http_scope({**headers, **bearer()}), wire.receive, wire.send)

    assert not wire.sent
    assert not app.scopes
    assert not journal.events


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b"[]", -32600),
        (b"1", -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}', -32700),
    ],
)
async def test_what_is_no_message_is_answered_as_json_rpc_and_recorded(body: bytes, code: int) -> None:
    """JSON-RPC 2.0 §5.1."""
    app, journal = RecordingApp(), Journal()
    headers, _ = message("ping", revision="2025-06-18")

    response = await client_of(protect(app, audit=journal)).post(
        "/mcp", headers={**headers, **bearer()}, content=body
    )

    assert response.status_code == 400
    assert response.json()["error"]["code"] == code
    assert response.json()["jsonrpc"] == "2.0"
    assert not app.scopes
    assert [event["outcome"] for event in journal.events] == ["refused"]


# What the application sees


async def test_the_application_sees_the_principal_and_never_the_token() -> None:
    """MCP: token passthrough is forbidden; what the server does not have it cannot pass on."""
    app, token = RecordingApp(), mint()

    await post(client_of(protect(app)), "tools/call", {"name": "read_file"}, headers=bearer(token))

    scope = app.scopes[0]
    assert scope["mcpauth.principal"].subject == "user-1"
    assert not [value for name, value in scope["headers"] if name == b"authorization"]
    assert token not in repr(scope)
    assert token.encode() not in repr(scope).encode()


async def test_a_list_is_asked_for_uncompressed_and_a_call_as_the_client_likes() -> None:
    """A compressed list could not be filtered."""
    app = RecordingApp()
    client = client_of(protect(app))

    for method, params in (("tools/list", {}), ("tools/call", {"name": "read_file"})):
        await post(client, method, params, headers={**bearer(), "Accept-Encoding": "gzip"})

    accepted = [dict(scope["headers"]).get(b"accept-encoding") for scope in app.scopes]
    assert accepted == [None, b"gzip"]


async def test_after_the_body_the_application_hears_the_server_itself() -> None:
    """An application told too early that its client has gone gives up its answer."""
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append((await receive())["type"])
        async with anyio.create_task_group() as group:

            async def until_disconnect() -> None:
                heard.append((await receive())["type"])

            group.start_soon(until_disconnect)
            await anyio.wait_all_tasks_blocked()
            assert heard == ["http.request"]
            wire.gone.set()

    headers, body = message("tools/list")
    wire = Wire(body_event(body))
    await protect(app)(http_scope({**headers, **bearer()}), wire.receive, wire.send)

    assert heard == ["http.request", "http.disconnect"]


async def test_current_principal_answers_inside_a_request_only() -> None:
    """For applications of any framework."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(current_principal().subject)
        await RecordingApp()(scope, receive, send)

    client = client_of(protect(app))
    await post(client, "tools/list", headers=bearer(sub="ada"))
    await post(client, "tools/list", headers=bearer(sub="bob"))

    assert seen == ["ada", "bob"]
    with pytest.raises(LookupError, match="McpAuthMiddleware"):
        current_principal()


async def test_two_requests_at_once_each_have_their_own_principal() -> None:
    """Nothing is shared between requests."""
    seen: list[tuple[str, str]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        before = current_principal().subject
        await anyio.sleep(0.01)
        seen.append((before, current_principal().subject))
        await RecordingApp()(scope, receive, send)

    client = client_of(protect(app))

    async def call(subject: str) -> None:
        await post(client, "tools/list", headers=bearer(sub=subject))

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(call, f"user-{number}")

    assert len(seen) == 10
    assert all(before == after for before, after in seen)


# Streams


@pytest.mark.parametrize(
    ("http_method", "method", "params"),
    [("POST", "tools/call", {"name": "read_file"}), ("POST", "tools/list", {}), ("GET", "", {})],
)
async def test_a_stream_passes_event_by_event(http_method: str, method: str, params: dict[str, Any]) -> None:
    """The first event must arrive before the second exists."""
    go_on = anyio.Event()
    notification = (
        b'event: message\r\ndata: {"jsonrpc":"2.0","method":"notifications/message","params":{}}\r\n\r\n'
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": notification, "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b": ping\r\n\r\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    headers, body = message(method, params, revision="2025-11-25")
    wire = Wire(body_event(body if http_method == "POST" else b""))

    async with anyio.create_task_group() as group:
        group.start_soon(
            protect(app), http_scope({**headers, **bearer()}, method=http_method), wire.receive, wire.send
        )
        await anyio.wait_all_tasks_blocked()
        assert b"".join(event.get("body", b"") for event in wire.sent) == notification
        go_on.set()

    assert b"".join(event.get("body", b"") for event in wire.sent) == notification + b": ping\r\n\r\n"


async def test_a_response_that_is_no_list_passes_byte_for_byte() -> None:
    """Also one that would not parse."""
    chunks = [b"\x00\xff", b'{"tools":[', b"\r\n\r\ndata: {}"]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"x-own", b"1"), (b"content-length", b"25")]
        await send({"type": "http.response.start", "status": 418, "headers": headers})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    response = await post(client_of(protect(app)), "tools/call", {"name": "read_file"})

    assert response.status_code == 418
    assert response.headers["X-Own"] == "1"
    assert response.content == b"".join(chunks)


# Journal


async def test_a_call_is_recorded_before_and_after_it_ran() -> None:
    """One intent, one outcome, and the application in between."""
    journal = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert [event["phase"] for event in journal.events] == ["intent"]
        await RecordingApp()(scope, receive, send)

    await post(
        client_of(protect(app, audit=journal)),
        "tools/call",
        {"name": "read_file", "arguments": {"path": "/secret"}},
    )

    intent, outcome = journal.events
    assert (intent["phase"], outcome["phase"]) == ("intent", "outcome")
    assert intent["call"] == outcome["call"]
    assert outcome["outcome"] == "ok"
    assert "/secret" not in repr(journal.events)


async def test_what_cannot_be_recorded_does_not_run() -> None:
    """Without an intent on record a crash would leave no trace of the call."""
    app, journal = RecordingApp(), Journal(broken=True)

    response = await post(client_of(protect(app, audit=journal)), "tools/call", {"name": "read_file"})

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert not app.scopes


async def test_an_outcome_that_cannot_be_recorded_does_not_undo_the_answer() -> None:
    """The call has happened, and its client must hear so."""
    journal = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        journal.broken = True
        await RecordingApp()(scope, receive, send)

    response = await post(client_of(protect(app, audit=journal)), "tools/call", {"name": "read_file"})

    assert response.status_code == 200
    assert [event["phase"] for event in journal.events] == ["intent"]


async def test_a_refusal_is_answered_also_when_it_cannot_be_recorded() -> None:
    """A full disk must not turn refusals into errors of another kind."""
    response = await client_of(protect(RecordingApp(), audit=Journal(broken=True))).get("/mcp")

    assert response.status_code == 401


async def test_an_application_that_raises_has_the_outcome_error() -> None:
    """The exception is the server's to handle."""
    journal = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("broken tool")

    with pytest.raises(RuntimeError, match="broken tool"):
        await post(client_of(protect(app, audit=journal)), "tools/call", {"name": "read_file"})

    assert [event.get("outcome") for event in journal.events] == [None, "error"]


async def test_an_application_that_answers_with_an_error_has_the_outcome_error() -> None:
    """What the client saw is what is on record."""
    journal = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await post(client_of(protect(app, audit=journal)), "tools/call", {"name": "read_file"})

    assert journal.events[1]["outcome"] == "error"
    assert journal.events[1]["http"] == {"status": 404}


@pytest.mark.parametrize("how", ["returns early", "client gone"])
async def test_a_call_whose_answer_never_arrived_has_the_outcome_aborted(how: str) -> None:
    """The client does not know how it ended."""
    journal = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if how == "client gone":
            await send({"type": "http.response.body", "body": b"x"})

    async def send(event: Event) -> None:
        if event["type"] == "http.response.body":
            raise OSError("the connection is closed")

    headers, body = message("tools/call", {"name": "read_file"})
    wire = Wire(body_event(body))
    call = protect(app, audit=journal)(http_scope({**headers, **bearer()}), wire.receive, send)
    if how == "client gone":
        with pytest.raises(OSError, match="closed"):
            await call
    else:
        await call

    assert journal.events[1]["outcome"] == "aborted"


async def test_a_call_that_is_cancelled_has_the_outcome_aborted() -> None:
    """Recorded while everything around it is being torn down."""
    journal = Journal()

    class SlowJournal(Journal):
        async def record(self, event: Mapping[str, Any]) -> None:
            await anyio.lowlevel.checkpoint()
            await journal.record(event)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    headers, body = message("tools/call", {"name": "read_file"})
    wire = Wire(body_event(body))
    async with anyio.create_task_group() as group:
        guarded = protect(app, audit=SlowJournal())
        group.start_soon(guarded, http_scope({**headers, **bearer()}), wire.receive, wire.send)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()

    assert [event.get("outcome") for event in journal.events] == [None, "aborted"]


async def test_streams_and_session_ends_are_on_record_like_calls() -> None:
    """GET and DELETE carry no message, but who listens, and for how long, is worth knowing."""
    app, journal = RecordingApp(), Journal()
    client = client_of(protect(app, audit=journal))

    for method in ("GET", "DELETE", "HEAD"):
        assert (await client.request(method, "/mcp", headers=bearer())).status_code == 200
    assert len(app.scopes) == 3
    assert [(event["type"], event["phase"], event.get("outcome")) for event in journal.events] == [
        ("stream", "intent", None),
        ("stream", "outcome", "ok"),
        ("session.end", "intent", None),
        ("session.end", "outcome", "ok"),
        ("stream", "intent", None),
        ("stream", "outcome", "ok"),
    ]


async def test_a_stream_with_doubled_routing_headers_is_refused() -> None:
    """Which of two the server reads is anyone's guess."""
    app = RecordingApp()
    twice = [*bearer().items(), ("Mcp-Session-Id", "a"), ("Mcp-Session-Id", "b")]

    assert (await client_of(protect(app)).get("/mcp", headers=twice)).status_code == 400
    assert not app.scopes


# Other ASGI connections


async def test_websockets_are_refused() -> None:
    """RFC 6455 §7.4.1: 1008, policy violation; no revision of MCP uses them."""
    app = RecordingApp()
    wire = Wire({"type": "websocket.connect"})

    await protect(app)({**http_scope(bearer()), "type": "websocket"}, wire.receive, wire.send)

    assert wire.sent == [{"type": "websocket.close", "code": 1008}]
    assert not app.scopes


async def test_the_lifespan_passes_through() -> None:
    """The session manager of an MCP server starts there."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.complete"})

    wire = Wire({"type": "lifespan.startup"})
    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    await protect(app)(scope, wire.receive, wire.send)

    assert seen == [scope]
    assert wire.sent == [{"type": "lifespan.startup.complete"}]


# Options


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"resource": "rs.example/mcp"}, "resource: must be an absolute URI"),
        ({"resource": "https://rs.example/mcp#x"}, "resource: must not have a fragment"),
        ({"resource": "http://rs.example/mcp"}, "resource: must be the public https address"),
        ({"authorization_servers": []}, "authorization_servers: name at least one"),
        ({"authorization_servers": "https://as.example"}, "authorization_servers: give a list"),
        ({"authorization_servers": ["http://as.example"]}, "authorization_servers: must be https"),
        ({"policy": None}, "policy: give a Policy"),
        ({"policy": "policy.toml"}, "policy: give a Policy"),
        ({"scopes_supported": "a b"}, "scopes_supported: give a list"),
        ({"scopes_supported": ["a b"]}, "scopes_supported: not a scope"),
        ({"scopes_supported": ["offline_access"]}, "scopes_supported: remove offline_access"),
        ({"accepted_audiences": "guid"}, "accepted_audiences: give a list"),
        ({"public_paths": "/health"}, "public_paths: give a list"),
        ({"allowed_hosts": "backend"}, "allowed_hosts: give a list"),
        ({"allowed_origins": "https://app.example"}, "allowed_origins: give a list"),
        (
            {
                "accepted_audiences": ["guid"],
                "verifier": JwtVerifier(resource=RESOURCE, issuers=["https://as.example"]),
            },
            "accepted_audiences: give them to the verifier",
        ),
        ({"max_body_bytes": 0}, "max_body_bytes: must be at least 1"),
        ({"limits": ["60/minute"]}, "limits: give RateLimit objects"),
        ({"resource_documentation": "javascript:alert(1)"}, "resource_documentation: must be an"),
        ({"resource_name": ""}, "resource_name: must not be empty"),
    ],
)
def test_a_wrong_option_is_told_with_its_mend(options: dict[str, Any], text: str) -> None:
    """At start, not at the first request."""
    with pytest.raises(ValueError) as raised:
        McpAuthMiddleware(RecordingApp(), **{**edge_options(verifier=None), **options})

    assert str(raised.value).startswith(text)


def test_unknown_options_are_refused() -> None:
    """A misspelt option must not be a silent one."""
    with pytest.raises(TypeError, match="alowed_hosts"):
        protect(RecordingApp(), alowed_hosts=["a"])


async def test_the_clock_is_the_one_given() -> None:
    """So that a test decides when a token expires."""
    clock = Clock()
    client = client_of(protect(RecordingApp(), now=clock))
    token = mint()

    assert (await post(client, "tools/list", headers=bearer(token))).status_code == 200
    clock.time += 600
    assert (await post(client, "tools/list", headers=bearer(token))).status_code == 401


async def test_nothing_secret_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Neither tokens nor arguments."""
    caplog.set_level("DEBUG")
    client = client_of(protect(RecordingApp(), audit=None))
    good, bad = mint(), mint(claims(exp=1))
    for token in (good, bad):
        await post(
            client,
            "tools/call",
            {"name": "read_file", "arguments": {"path": "hunter2"}},
            headers=bearer(token),
        )

    written = caplog.text + json.dumps([str(record.__dict__) for record in caplog.records])
    for secret in (good, bad, good.rpartition(".")[2], "hunter2"):
        assert secret not in written


async def test_head_is_answered_without_a_body() -> None:
    """RFC 9110 §9.3.2, for refusals too."""
    response: httpx2.Response = await client_of(protect(RecordingApp())).head("/mcp")

    assert response.status_code == 401
    assert response.content == b""
