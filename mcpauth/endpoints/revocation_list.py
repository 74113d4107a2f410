"""The revocation list: resource servers hear within a second which access tokens are not good any more.

This endpoint is our own; no standard has one. It is for resource servers that verify JWTs without asking
about each (RFC 7009 §3 leaves to the server how they learn of revocations). docs/authorization-server.md has
its contract. It tells random ids and moments, so anybody may read it.
"""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import anyio
from starlette.responses import JSONResponse, Response, StreamingResponse

from mcpauth.oauth.errors import InvalidRequest
from mcpauth.oauth.form import Form, parse_query
from mcpauth.oauth.revocation_feed import RevocationFeed, Snapshot, TooManyWaiting
from mcpauth.oauth.store import StoreUnavailable
from mcpauth.web.responses import oauth_errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

    from anyio.abc import TaskGroup
    from starlette.requests import Request

    from mcpauth.oauth.revocation_list import Revocation

logger = logging.getLogger(__name__)

METADATA_MEMBER = "mcpauth_revocation_list_uri"

MAX_WAIT_SECONDS = 60
HEARTBEAT_SECONDS = 15
STREAM_SECONDS = 600  # a stream ends then, so that none outlives its reader for long
EVENT_STREAM = "text/event-stream"

WAIT = re.compile(r"[0-9]{1,4}")
# A cache may keep it and has to ask us each time.
NO_CACHE = {"Cache-Control": "no-cache", "Vary": "Accept"}
UNBUFFERED = {**NO_CACHE, "X-Accel-Buffering": "no"}  # what nginx wants to pass events on as they come


class RevocationListEndpoint:
    """Answers `GET /revoked`: at once, after `?wait=SECONDS` at the latest, or as an event stream.

    Raises:
        InvalidRequest: `wait` is no number of seconds.
        StoreUnavailable: 503, never a list that may lack something.
    """

    def __init__(self, feed: RevocationFeed) -> None:
        self._feed = feed

    @oauth_errors
    async def get(self, request: Request) -> Response:
        """The list."""
        wait = _wait(Form(parse_query(request.scope["query_string"])))
        if request.method == "GET" and EVENT_STREAM in _header(request, "accept"):
            return await self._stream()
        known = _known(_header(request, "if-none-match"))
        snapshot = await self._feed.current()
        if wait and snapshot.version in known:
            snapshot = await self._changed(request, snapshot, wait)
        headers = {"ETag": f'"{snapshot.version}"', **NO_CACHE}
        if snapshot.version in known:
            return Response(status_code=304, headers=headers)
        return JSONResponse(_document(snapshot.revocations), headers=headers)

    async def _changed(self, request: Request, snapshot: Snapshot, seconds: int) -> Snapshot:
        """The next list, unless the time is over, the client has gone, or too many wait."""
        failure: StoreUnavailable | None = None
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(_cancel_when_gone, request, waiting)
            try:
                snapshot = await self._feed.after(snapshot.version, seconds)
            except TooManyWaiting:
                logger.warning("too many wait for the revocation list; one more is answered at once")
            except StoreUnavailable as error:
                failure = error
            waiting.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return snapshot

    async def _stream(self) -> Response:
        first = await self._feed.current()
        return StreamingResponse(self._events(first), media_type=EVENT_STREAM, headers=UNBUFFERED)

    async def _events(self, snapshot: Snapshot) -> AsyncGenerator[str]:
        """The whole list, then what comes to it. Ends when the list cannot be read: the reader asks again."""
        yield _event(snapshot.version, snapshot.revocations)
        for _ in range(STREAM_SECONDS // HEARTBEAT_SECONDS):
            try:
                following = await self._feed.after(snapshot.version, HEARTBEAT_SECONDS)
            except (StoreUnavailable, TooManyWaiting):
                return
            if self._feed.is_closed:
                return
            new = set(following.revocations) - set(snapshot.revocations)
            yield _event(following.version, sorted(new)) if new else ": still here\n\n"
            snapshot = following


async def _cancel_when_gone(request: Request, waiting: TaskGroup) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    waiting.cancel_scope.cancel()


def _wait(query: Form) -> int:
    text = query.optional("wait")
    if text is None:
        return 0
    if not WAIT.fullmatch(text):
        raise InvalidRequest("wait is a whole number of seconds")
    return min(int(text), MAX_WAIT_SECONDS)


def _header(request: Request, name: str) -> str:
    """All that a list header says, on however many lines (RFC 9110 §5.3)."""
    return ", ".join(request.headers.getlist(name))


def _known(if_none_match: str) -> frozenset[str]:
    """The versions that the client has (RFC 9110 §13.1.2: compared weakly)."""
    return frozenset(re.findall(r'(?:W/)?"([0-9a-f]+)"', if_none_match))


def _document(revocations: Iterable[Revocation]) -> Mapping[str, Any]:
    return {"revoked": [{each.claim: each.value, "until": each.until} for each in revocations]}


def _event(version: str, revocations: Iterable[Revocation]) -> str:
    return f"event: revoked\nid: {version}\ndata: {json.dumps(_document(revocations))}\n\n"
