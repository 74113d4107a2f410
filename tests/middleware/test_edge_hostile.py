"""Whatever is sent, the answer is a refusal (RFC 9110 §15): no error of the server's own, nothing runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.middleware.edge_helpers import Journal, RecordingApp, bearer, message, mint, protect

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import Event, Headers

pytestmark = pytest.mark.anyio

# What an ASGI server lets through as a header value.
VALUES = st.binary(max_size=200).map(
    lambda value: value.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")
)
TOKENS = st.one_of(
    VALUES,
    VALUES.map(lambda value: b"Bearer " + value),
    st.tuples(VALUES, VALUES, VALUES).map(lambda parts: b"Bearer " + b".".join(parts)),
    st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=1)).map(
        lambda change: b"Bearer " + _with_byte(mint().encode(), *change)
    ),
)


def _with_byte(token: bytes, index: int, byte: bytes) -> bytes:
    """The token with one byte changed."""
    index %= len(token)
    other = b"!" if byte in (token[index : index + 1], b"\r", b"\n", b"\0") else byte
    return token[:index] + other + token[index + 1 :]


async def answer(
    headers: Headers, *, body: bytes = b"", method: str = "POST", path: str = "/mcp", query: bytes = b""
) -> tuple[int, RecordingApp]:
    """The status of one request, sent as a server would hand it over, and the application behind."""
    app, sent = RecordingApp(), list["Event"]()

    async def receive() -> Event:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: Event) -> None:
        sent.append(event)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": headers,
        "client": None,
    }
    await protect(app, audit=Journal())(scope, receive, send)
    return sent[0]["status"], app


@given(authorization=TOKENS, host=st.one_of(st.just(b"rs.example"), VALUES), query=VALUES)
@settings(max_examples=150, deadline=None)
async def test_without_a_good_token_nothing_runs(authorization: bytes, host: bytes, query: bytes) -> None:
    """RFC 6750 §3.1."""
    headers, body = message("tools/list")
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    status, app = await answer(
        [*raw, (b"host", host), (b"authorization", authorization)], body=body, query=query
    )

    assert status in (400, 401, 421)
    assert not app.scopes


@given(
    path=st.one_of(
        st.text(max_size=50),
        st.just("/.well-known/").flatmap(lambda start: st.text(max_size=20).map(start.__add__)),
    ),
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT"]),
    origin=st.one_of(st.none(), VALUES),
)
@settings(max_examples=150, deadline=None)
async def test_without_a_token_no_path_and_no_method_leads_to_the_application(
    path: str, method: str, origin: bytes | None
) -> None:
    """Deny by default."""
    headers = [(b"host", b"rs.example"), *([(b"origin", origin)] if origin is not None else [])]

    status, app = await answer(headers, method=method, path=path)

    assert status in (200, 204, 401, 403, 404, 405)
    assert not app.scopes


@given(
    body=st.one_of(
        st.binary(max_size=300),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
        ).map(lambda value: repr(value).replace("'", '"').encode()),
        st.text(max_size=30).map(lambda method: f'{{"jsonrpc":"2.0","id":1,"method":"{method}"}}'.encode()),
    ),
    version=st.one_of(st.sampled_from([b"2025-06-18", b"2026-07-28"]), VALUES),
)
@settings(max_examples=150, deadline=None)
async def test_with_a_good_token_a_bad_message_does_not_run_and_is_no_server_error(
    body: bytes, version: bytes
) -> None:
    """JSON-RPC 2.0 §5.1."""
    headers = [
        (b"host", b"rs.example"),
        (b"content-type", b"application/json"),
        (b"mcp-protocol-version", version),
        (b"authorization", bearer()["Authorization"].encode()),
    ]

    status, app = await answer(headers, body=body)

    assert status < 500
    assert status in (400, 404) or not app.scopes or app.bodies == [body]
