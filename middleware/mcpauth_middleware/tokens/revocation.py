"""Revoked access tokens end within seconds, although RFC 9068 tokens are verified without asking anyone.

This project's authorization server publishes a list of what was revoked and may still be in use
(docs/authorization-server.md has its contract), and answers a waiting request as soon as the list changes.
One task follows it while there is traffic. Other authorization servers have no such list; their tokens are
good until they expire, unless they are asked about each (RFC 7662).
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import anyio

from mcpauth_middleware.background import Background, SharedRun
from mcpauth_middleware.errors import InvalidToken, Unavailable
from mcpauth_middleware.tokens.discovery import discover
from mcpauth_middleware.tokens.fetch import FetchFailed, JsonRequest, exchange_json, fetch_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx2

    from mcpauth_middleware.principal import Principal

RevocationMode = Literal["followed", "required", "off"]

METADATA_MEMBER = "mcpauth_revocation_list_uri"
MAX_LIST_BYTES = 8 * 1024 * 1024

_OK, _NOT_MODIFIED = 200, 304
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a list is asked for, in seconds."""

    wait: int = 20
    """How long the server may hold a request back until something changes."""
    pause: float = 1.0
    """At least so long between two requests: a server that does not hold them back is polled at this pace."""
    retry: float = 5.0
    silence: float = 60.0
    """After so long without an answer it is not known any more what has been revoked."""
    idle: float = 900.0
    """Without traffic for so long nobody asks; the next request begins anew."""
    absent: float = 3600.0
    """So long a server whose metadata names no list is not asked for one."""


class RevocationList:
    """What one authorization server has revoked. `changed` is called when there is more of it."""

    def __init__(
        self,
        issuer: str,
        *,
        required: bool,
        changed: Callable[[], None],
        in_use: Callable[[], bool],
        background: Background,
        now: Callable[[], float],
        http_client: httpx2.AsyncClient | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._issuer = issuer
        self._required = required
        self._changed = changed
        self._in_use = in_use
        self._now = now
        self._http_client = http_client
        self._pace = pace or Pace()
        self._loading = SharedRun(self._look, background)
        self._following = SharedRun(self._follow, background)
        self._url: str | None = None
        self._absent_at = -math.inf
        self._had_list = False
        self._etag: str | None = None
        self._revoked: frozenset[tuple[str, str]] = frozenset()
        self._heard_at = -math.inf
        self._used_at = -math.inf
        self._is_silent = False

    async def check(self, principal: Principal) -> None:
        """Refuse a principal whose token or grant was revoked.

        Raises:
            InvalidToken: it was.
            Unavailable: that cannot be told, and it has to be.
        """
        self._used_at = self._now()
        if not self._following.is_running and not self._is_absent():
            # Only here does a request wait: for the first list, or after an idle time.
            await self._loading.wait()
            if not self._is_absent():
                self._following.start()
        if self._revoked and self.has_revoked(principal):
            raise InvalidToken("revoked")
        if self._required and abs(self._now() - self._heard_at) > self._pace.silence:
            raise Unavailable("revocation_unknown", retry_after=math.ceil(self._pace.retry))

    def has_revoked(self, principal: Principal) -> bool:
        """Whether the list names the token or its grant."""
        if not self._revoked or principal.issuer != self._issuer:
            return False
        grant_id = principal.claims.get("grant_id")
        return ("jti", principal.token_id) in self._revoked or (
            isinstance(grant_id, str) and ("grant_id", grant_id) in self._revoked
        )

    def _is_absent(self) -> bool:
        return abs(self._now() - self._absent_at) < self._pace.absent

    async def _follow(self) -> None:
        while (self._now() - self._used_at < self._pace.idle or self._in_use()) and not self._is_absent():
            await self._look(wait=self._pace.wait)
            await anyio.sleep(self._pace.retry if self._is_silent else self._pace.pause)

    async def _look(self, *, wait: int = 0) -> None:
        """Ask once. Failure is remembered, not raised."""
        try:
            if self._url is None:
                self._url = await self._discover()
            if self._url is not None:
                await self._ask(self._url, wait)
        except FetchFailed as error:
            if not self._is_silent:
                _logger.warning("The revocation list of %s cannot be had: %s", self._issuer, error)
            self._is_silent = True
            self._url = None  # it may have moved
        else:
            self._heard_at = self._now()
            self._is_silent = False

    async def _discover(self) -> str | None:
        async def fetch(url: str) -> Mapping[str, Any]:
            return await fetch_json(url, client=self._http_client)

        metadata = await discover(self._issuer, fetch)
        if METADATA_MEMBER in metadata.document:
            return metadata.url(METADATA_MEMBER)
        if self._required or self._had_list:
            # An answer of an older version, while servers are exchanged, does not end what was there.
            because = "it is required" if self._required else "there was one"
            raise FetchFailed(f"{self._issuer}: publishes none, and {because}")
        self._absent_at = self._now()
        return None

    async def _ask(self, url: str, wait: int) -> None:
        known = {"If-None-Match": self._etag} if self._etag is not None else {}
        # Nothing to wait for when nothing is known yet.
        request = JsonRequest(
            f"{url}?wait={wait}" if wait and known else url,
            headers=known,
            deadline=wait + 5.0,
            max_bytes=MAX_LIST_BYTES,
        )
        answer = await exchange_json(request, client=self._http_client)
        if answer.status == _NOT_MODIFIED and known:
            return
        if answer.status != _OK:
            raise FetchFailed(f"{url}: status {answer.status}")
        revoked = _entries(answer.document())
        self._had_list = True
        self._etag = _etag(answer.headers)
        has_more = not revoked <= self._revoked
        self._revoked = revoked
        if has_more:
            self._changed()


def is_revoked(lists: Mapping[str, RevocationList], principal: Principal) -> bool:
    """Whether the list of the principal's issuer, if there is one among these, names its token or grant."""
    followed = lists.get(principal.issuer)
    return followed is not None and followed.has_revoked(principal)


def _etag(headers: Mapping[str, str]) -> str | None:
    """What can be sent back, RFC 9110 §8.8.3; anything else is none."""
    etag = headers.get("etag", "")
    return etag if etag.isascii() and etag.isprintable() and etag else None


def _entries(document: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    listed = document.get("revoked")
    if not isinstance(listed, list):
        raise FetchFailed("not a revocation list")
    entries = cast("list[object]", listed)
    return frozenset(
        (claim, value)
        for entry in entries
        if isinstance(entry, dict)
        for claim, value in cast("dict[str, object]", entry).items()
        if claim in ("grant_id", "jti") and isinstance(value, str)
    )
