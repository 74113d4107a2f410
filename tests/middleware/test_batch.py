"""Batches through the middleware (MCP 2025-03-26, JSON-RPC 2.0 §6): each member is a message of its own."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from mcpauth_middleware import MemoryLimiter, RateLimit
from tests.middleware.batch_helpers import JSON_AND_EVENTS, call, notification, post_batch, request
from tests.middleware.edge_helpers import Clock, Journal, bearer, client_of, protect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpauth_middleware.asgi import Receive, Scope, Send

pytestmark = pytest.mark.anyio


@dataclass
class Server:
    """A server that answers each request it gets in a way that the test chooses."""

    answers: Callable[[dict[str, Any]], object] = lambda message: {
        "jsonrpc": "2.0",
        "id": message.get("id"),
        "result": {"of": message["method"]},
    }
    content_type: bytes = b"application/json"
    status: int = 200
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        event = await receive()
        body: bytes = event["body"]
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        assert self.headers[-1]["content-length"] == str(len(body))
        message = cast("dict[str, Any]", json.loads(body))
        self.messages.append(message)
        is_request = "id" in message and "method" in message
        answer = self.answers(message) if is_request else b""
        status = self.status if is_request else 202
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        headers = [(b"content-type", self.content_type)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    @property
    def methods(self) -> list[str]:
        return [message["method"] for message in self.messages]


def events(*messages: Mapping[str, Any]) -> bytes:
    return b"".join(b"event: message\r\ndata: " + json.dumps(one).encode() + b"\r\n\r\n" for one in messages)


async def test_every_member_runs_as_a_request_of_its_own_and_the_answers_are_one_array() -> None:
    """JSON-RPC 2.0 §6."""
    server = Server()
    response = await post_batch(
        client_of(protect(server)),
        request("ping", id="a"),
        notification("notifications/initialized"),
        call("read_file", id=2, path="x"),
    )

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == [
        {"jsonrpc": "2.0", "id": "a", "result": {"of": "ping"}},
        {"jsonrpc": "2.0", "id": 2, "result": {"of": "tools/call"}},
    ]
    assert server.methods == ["ping", "notifications/initialized", "tools/call"]
    assert server.messages[2] == call("read_file", id=2, path="x")
    assert all("authorization" not in headers for headers in server.headers)


async def test_a_batch_of_notifications_is_accepted_without_a_body() -> None:
    """Transports: 202 Accepted with no body."""
    server = Server()
    response = await post_batch(
        client_of(protect(server)),
        notification("notifications/initialized"),
        notification("notifications/roots/list_changed"),
    )
    assert (response.status_code, response.content) == (202, b"")
    assert len(server.messages) == 2


async def test_a_batch_of_responses_is_accepted_without_a_body() -> None:
    """Answers of the client to what the server asked."""
    server = Server()
    answers: list[dict[str, Any]] = [{"jsonrpc": "2.0", "id": number, "result": {}} for number in (1, 2)]
    response = await post_batch(client_of(protect(server)), *answers)
    assert (response.status_code, response.content) == (202, b"")
    assert server.messages == answers


async def test_a_denied_member_does_not_run_and_the_others_do() -> None:
    """It is answered like a tool that does not exist."""
    server, journal = Server(), Journal()
    response = await post_batch(
        client_of(protect(server, audit=journal)),
        call("drop_everything", id=1),
        call("read_file", id=2),
        request("no/such/method", id=3),
        {"jsonrpc": "1.0", "id": 4, "method": "ping"},
    )

    denied, ran, unknown, malformed = response.json()
    assert denied["id"] == 1
    assert denied["result"]["isError"] is True
    assert denied["result"]["content"][0]["text"] == "Unknown tool: drop_everything"
    assert ran["result"] == {"of": "tools/call"}
    assert unknown["error"]["code"] == -32601
    assert (malformed["id"], malformed["error"]["code"]) == (None, -32600)
    assert [message["params"]["name"] for message in server.messages] == ["read_file"]
    assert [(event["phase"], event.get("outcome"), event.get("reason")) for event in journal.events] == [
        ("outcome", "refused", "denied"),
        ("intent", None, None),
        ("outcome", "refused", "no_rule"),
        ("outcome", "refused", "malformed_message"),
        ("outcome", "ok", None),
    ]


async def test_members_that_lack_scopes_are_one_challenge_and_nothing_runs() -> None:
    """One step-up for the whole batch, however many of its members need one."""
    server, journal = Server(), Journal()
    limits = [RateLimit("2/minute")]
    client = client_of(protect(server, audit=journal, limits=limits, limiter=MemoryLimiter(now=Clock())))
    members = (call("read_file", id=1), call("write_file", id=2), request("ping", id=3))
    response = await post_batch(client, *members)

    assert response.status_code == 403
    challenge = response.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="files:read files:write"' in challenge
    assert not server.messages
    assert [event["outcome"] for event in journal.events] == ["refused"] * 3
    assert [event["mcp"].get("name") for event in journal.events] == ["read_file", "write_file", None]
    # What was refused as a whole consumed nothing.
    assert (await post_batch(client, *members[:1], request("ping", id=2))).json()[1]["result"] == {
        "of": "ping"
    }


async def test_a_token_is_asked_before_the_batch_is_looked_at() -> None:
    """401 with the challenge."""
    server = Server()
    response = await post_batch(client_of(protect(server)), request("ping"), headers={})
    assert response.status_code == 401
    assert not server.messages


async def test_every_member_is_counted() -> None:
    """A batch is no way around a limit."""
    server = Server()
    limits = [RateLimit("2/minute")]
    client = client_of(protect(server, limits=limits, limiter=MemoryLimiter(now=Clock())))
    response = await post_batch(client, *(call("read_file", id=number) for number in range(4)))

    answers = response.json()
    assert [("isError" in answer["result"]) for answer in answers] == [False, False, True, True]
    assert "Wait 30 seconds" in answers[3]["result"]["content"][0]["text"]
    assert len(server.messages) == 2


async def test_what_cannot_be_recorded_runs_no_member() -> None:
    """503: all or nothing, and the members announced before are closed."""

    class Filling(Journal):
        async def record(self, event: Mapping[str, Any]) -> None:
            if event["phase"] == "intent" and sum(one["phase"] == "intent" for one in self.events) == 1:
                raise OSError("the disk is full")
            await super().record(event)

    server, journal = Server(), Filling()
    response = await post_batch(
        client_of(protect(server, audit=journal)), call("read_file", id=1), call("whoami", id=2)
    )
    assert response.status_code == 503
    assert not server.messages
    assert [(event["phase"], event.get("outcome")) for event in journal.events] == [
        ("intent", None),
        ("outcome", "aborted"),
        ("outcome", "refused"),
    ]
    assert journal.events[0]["call"] == journal.events[1]["call"]
    assert journal.events[2]["mcp"]["name"] == "whoami"


@pytest.mark.parametrize("revision", ["2025-06-18", "2025-11-25", "2026-07-28"])
async def test_other_revisions_have_no_batches(revision: str) -> None:
    """400, and nothing runs."""
    server = Server()
    headers = {**bearer(), "MCP-Protocol-Version": revision}
    response = await post_batch(client_of(protect(server)), request("ping"), headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32600
    assert not server.messages


async def test_a_batch_with_initialize_is_refused_as_a_whole() -> None:
    """Lifecycle: `initialize` MUST NOT be part of a batch."""
    server = Server()
    response = await post_batch(
        client_of(protect(server)), request("ping", id=1), request("initialize", id=2)
    )
    assert response.status_code == 400
    assert not server.messages


async def test_an_answer_in_an_event_stream_is_found_among_its_notifications() -> None:
    """The stream is read to its end; only the response is in the array."""

    def streamed(message: dict[str, Any]) -> bytes:
        progress: dict[str, Any] = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}
        other = {"jsonrpc": "2.0", "id": 99, "result": {"of": "somebody else"}}
        return events(progress, other, {"jsonrpc": "2.0", "id": message["id"], "result": {"n": 1}})

    server = Server(answers=streamed, content_type=b"text/event-stream")
    response = await post_batch(client_of(protect(server)), request("ping", id=7))
    assert response.json() == [{"jsonrpc": "2.0", "id": 7, "result": {"n": 1}}]


async def test_a_list_in_a_batch_is_filtered() -> None:
    """Over JSON and over SSE."""
    tools = [{"name": name} for name in ("read_file", "write_file", "drop_everything")]

    def listed(message: dict[str, Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": message["id"], "result": {"tools": tools}}

    for server in (
        Server(answers=listed),
        Server(answers=lambda message: events(listed(message)), content_type=b"text/event-stream"),
    ):
        response = await post_batch(client_of(protect(server)), request("tools/list"))
        assert response.json()[0]["result"]["tools"] == [{"name": "read_file"}]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<h1>oops</h1>",
        b'{"jsonrpc":"2.0","id":1,"id":1,"result":{}}',
        {"jsonrpc": "2.0", "id": "1", "result": {}},
        {"jsonrpc": "2.0", "id": 1},
        [],
    ],
    ids=["nothing", "HTML", "duplicate keys", "another id", "neither result nor error", "no answer"],
)
async def test_what_is_no_answer_becomes_an_error_of_that_member(answer: object) -> None:
    """Its neighbour is not harmed."""
    server = Server(
        answers=lambda message: (
            answer
            if message["method"] == "tools/call"
            else {"jsonrpc": "2.0", "id": message["id"], "result": {}}
        )
    )
    response = await post_batch(client_of(protect(server)), call("read_file", id=1), request("ping", id=2))
    broken, good = response.json()
    assert (broken["id"], broken["error"]["code"]) == (1, -32603)
    assert good == {"jsonrpc": "2.0", "id": 2, "result": {}}


async def test_a_crash_of_one_member_is_an_error_of_that_member(caplog: pytest.LogCaptureFixture) -> None:
    """Without its text, which is in the log."""

    def answers(message: dict[str, Any]) -> dict[str, Any]:
        if message["method"] == "tools/call":
            raise RuntimeError("secret detail")
        return {"jsonrpc": "2.0", "id": message["id"], "result": {}}

    journal = Journal()
    with caplog.at_level(logging.ERROR):
        response = await post_batch(
            client_of(protect(Server(answers=answers), audit=journal)),
            call("read_file", id=1),
            request("ping", id=2),
        )
    assert [answer.get("error", {}).get("code") for answer in response.json()] == [-32603, None]
    assert "secret detail" not in response.text
    assert "secret detail" in caplog.text
    assert [event["outcome"] for event in journal.events if event["phase"] == "outcome"] == ["error", "ok"]


async def test_what_a_cancelled_batch_did_not_reach_is_closed_in_the_journal() -> None:
    """Each intent has its outcome, also when the server goes down in the middle."""
    reached = anyio.Event()

    async def hanging(_scope: Scope, _receive: Receive, _send: Send) -> None:
        reached.set()
        await anyio.sleep_forever()

    journal = Journal()
    client = client_of(protect(hanging, audit=journal))
    async with anyio.create_task_group() as group:
        group.start_soon(post_batch, client, call("read_file", id=1), call("whoami", id=2))
        await reached.wait()
        group.cancel_scope.cancel()
    intents, outcomes = journal.events[:2], journal.events[2:]
    assert [event["phase"] for event in journal.events] == ["intent", "intent", "outcome", "outcome"]
    assert [event["outcome"] for event in outcomes] == ["aborted", "aborted"]
    assert {event["call"] for event in intents} == {event["call"] for event in outcomes}


async def test_no_member_begins_after_the_token_has_ended() -> None:
    """RFC 6750 §5.2: a batch of slow calls would be a way to go on calling for long."""
    clock, journal = Clock(), Journal()

    def answers(message: dict[str, Any]) -> dict[str, Any]:
        clock.time += 301
        return {"jsonrpc": "2.0", "id": message["id"], "result": {"of": "tools/call"}}

    server = Server(answers=answers)
    response = await post_batch(
        client_of(protect(server, audit=journal, now=clock)), *(call("read_file", id=id_) for id_ in range(3))
    )
    assert len(server.messages) == 2
    assert ["of" in answer["result"] for answer in response.json()] == [True, True, False]
    assert [event.get("reason") for event in journal.events if event.get("outcome") == "refused"] == [
        "token_expired"
    ]


async def test_when_all_members_meet_the_same_http_error_the_client_sees_it() -> None:
    """2025-03-26: 404 is how a client learns that its session has ended."""
    gone = {"jsonrpc": "2.0", "id": "server-error", "error": {"code": -32600, "message": "Session not found"}}
    response = await post_batch(
        client_of(protect(Server(answers=lambda _: gone, status=404))),
        request("ping", id=1),
        request("ping", id=2),
    )
    assert response.status_code == 404
    assert [answer["id"] for answer in response.json()] == [1, 2]


async def test_no_member_can_answer_more_than_there_is_room() -> None:
    """The answers of a batch are held in memory, so there is an end to them."""
    server = Server(
        answers=lambda message: (
            b'{"jsonrpc":"2.0","id":%d,"result":{"x":"%s"}}' % (message["id"], b"x" * (9 * 1024 * 1024))
        )
    )
    response = await post_batch(client_of(protect(server)), request("ping", id=1), request("ping", id=2))
    assert ["result" in answer for answer in response.json()] == [True, False]


@pytest.mark.parametrize("value", [0, -1])
def test_max_batch_must_let_a_message_through(value: int) -> None:
    """A wrong option is told when the server starts."""
    with pytest.raises(ValueError, match="max_batch: must be at least 1"):
        protect(Server(), max_batch=value)


async def test_a_large_batch_is_refused_before_anything_is_decided() -> None:
    """The number of members is bounded."""
    server, journal = Server(), Journal()
    members = [request("ping", id=number) for number in range(4)]
    response = await post_batch(client_of(protect(server, audit=journal, max_batch=3)), *members)
    assert response.status_code == 400
    assert not server.messages
    assert [event["reason"] for event in journal.events] == ["malformed_message"]


async def test_a_batch_is_not_compressed_on_its_way_here() -> None:
    """The answers are read and put together."""
    server = Server()
    await post_batch(
        client_of(protect(server)), request("ping"), headers={**bearer(), "Accept-Encoding": "gzip"}
    )
    assert "accept-encoding" not in server.headers[0]
    assert JSON_AND_EVENTS["Accept"] == server.headers[0]["accept"]
