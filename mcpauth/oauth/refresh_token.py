"""Refresh tokens, RFC 6749 §6, RFC 9700 §4.14: each is good for once, and one that comes back ends its grant.

All refresh tokens of a grant are one record. A token is its family's secret (128 bits, which finds the
record) and its own (256 bits, of which the record has the newest digest). Rotating is one `replace` on that
record: of any number of simultaneous refreshes one succeeds. Whoever has the family's secret with another own
secret holds a token that was rotated away, so that every earlier token is recognised although none is kept.

Those of a public client are bound to its key, where it has shown one (RFC 9449 §5): nothing else proves that
a refresh comes from it.

The very last one may come back for a short while (`replay_window`), with the same question: it gets the same
answer, which the rotation stored in the same step. An earlier one, or a later moment, is reuse.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from mcpauth.events import Events, RefreshTokenReused
from mcpauth.oauth.errors import InvalidGrant, InvalidScope, InvalidTarget
from mcpauth.oauth.random_text import random_text
from mcpauth.oauth.refresh_replay import seal, unseal
from mcpauth.oauth.store import Record, Store, digest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.grant import Grant, Grants
    from mcpauth.oauth.permission import Permission

KIND = "refresh_token"

FAMILY_BYTES = 16
SECRET_BYTES = 32
TOKEN = re.compile(r"(?P<family>[A-Za-z0-9\-_]{22})(?P<secret>[A-Za-z0-9\-_]{43})")


Answer: TypeAlias = dict[str, Any]
"""A token response, RFC 6749 §5.1."""

MakeAnswer: TypeAlias = "Callable[[Grant, Permission, str], Awaitable[Answer]]"
"""Makes the answer of the grant, what the access token is for, and the next refresh token."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a refresh asks for. `key` is the thumbprint of the key that its client has shown."""

    resource: Sequence[str] = ()
    scope: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Refreshed:
    """What a refresh gives. `repeated`: it is an answer that was given before."""

    grant: Grant
    answer: Answer
    repeated: bool


class RefreshTokens:
    """The refresh tokens in the store.

    `idle_lifetime` is how long one lives unused; with its grant it ends in any case (`Grants.ends_at`).
    `replay_window` is how long the last used one gets its answer again; zero is never.
    """

    def __init__(
        self,
        store: Store,
        grants: Grants,
        *,
        events: Events,
        idle_lifetime: timedelta = timedelta(days=30),
        replay_window: timedelta = timedelta(seconds=30),
        now: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._grants = grants
        self._events = events
        self._idle_lifetime = int(idle_lifetime.total_seconds())
        self._replay_window = replay_window.total_seconds()
        self._now = now
        self._token_bytes = token_bytes

    async def issue(self, grant: Grant, client: Client, *, key: str | None = None) -> str:
        """The first refresh token of a grant; `key` is the one that the client has shown."""
        family = random_text(self._token_bytes, FAMILY_BYTES)
        secret = random_text(self._token_bytes, SECRET_BYTES)
        record: Record = {
            "grant_id": grant.grant_id,
            "client_id": grant.client_id,
            "key": _bound(client, key),
            "newest": digest(secret),
            "previous": None,
        }
        await self._store.add(KIND, digest(family), record, expires_at=self._expires_at(grant))
        return family + secret

    async def refresh(
        self, token: str, make_answer: MakeAnswer, *, client: Client, question: Question
    ) -> Refreshed:
        """Exchange a refresh token for the next one, or repeat what it was exchanged for a moment ago.

        The answer is made before anything changes, and stored with the change: a failure in between leaves
        the token good.

        Raises:
            InvalidGrant: unknown, expired, revoked, used before, of another client, bound to another key.
            InvalidTarget: the resource is not a granted one.
            InvalidScope: more than was granted.
        """
        family, secret = _split(token)
        while True:
            record, grant = await self._find(family, client)
            if not _is(record["newest"], secret):
                answer = await self._repeated(record, grant, token, question)
                return Refreshed(grant, answer, repeated=True)
            if record["key"] not in (None, question.key):
                raise InvalidGrant("the refresh token is bound to another key")
            permission = grant.permission(question.resource, question.scope)
            following = random_text(self._token_bytes, SECRET_BYTES)
            answer = await make_answer(grant, permission, family + following)
            new = {**record, "key": _bound(client, question.key), "newest": digest(following)}
            new["previous"] = self._kept(token, answer, permission.resource, question)
            expires_at = self._expires_at(grant)
            if await self._store.replace(KIND, digest(family), record, new, expires_at=expires_at):
                return Refreshed(grant, answer, repeated=False)
            # Somebody rotated it since we read it: in the next round this is its second use.

    async def _find(self, family: str, client: Client) -> tuple[Record, Grant]:
        """The record of the family, and the grant, if it is in force."""
        record = await self._store.get(KIND, digest(family))
        # Another client's token is answered like an unknown one, and nothing happens to it.
        if record is None or record["client_id"] != client.client_id:
            raise InvalidGrant("the refresh token is not valid")
        grant = await self._grants.get(record["grant_id"])
        if grant is None:
            raise InvalidGrant("the refresh token is not valid")
        return record, grant

    def _kept(self, token: str, answer: Answer, resource: str, question: Question) -> Record | None:
        """The answer for the token that it was given to, should that come back with the same question."""
        if not self._replay_window:
            return None
        now = self._now()
        expires_at = int(now) + int(answer["expires_in"])
        kept = {"answer": answer, "expires_at": expires_at, "resource": resource, "key": question.key}
        return {
            "secret": digest(_split(token)[1]),
            "until": now + self._replay_window,
            "answer": seal(kept, token, token_bytes=self._token_bytes),
        }

    async def _repeated(self, record: Record, grant: Grant, token: str, question: Question) -> Answer:
        """The answer that this token got before, if it was the last one used, a moment ago."""
        previous: Record | None = record["previous"]
        now = self._now()
        if previous is None or not _is(previous["secret"], _split(token)[1]) or now >= previous["until"]:
            await self._end(grant)
        kept = unseal(previous["answer"], token)
        if not _asks_the_same(kept, grant, question):
            # Not the client that lost its answer; nor is it a thief's doing beyond doubt.
            raise InvalidGrant("the refresh token was used with other parameters")
        answer: Answer = kept["answer"]
        return answer | {"expires_in": max(0, kept["expires_at"] - int(now))}

    async def find(self, token: str) -> Record | None:
        """The record (`grant_id`, `client_id`) of a token, the newest or an earlier one, if there is one."""
        match = TOKEN.fullmatch(token)
        return await self._store.get(KIND, digest(match["family"])) if match else None

    async def is_newest(self, token: str) -> bool:
        """Whether it is the one token of its family that has not been used."""
        match = TOKEN.fullmatch(token)
        record = await self.find(token)
        return match is not None and record is not None and _is(record["newest"], match["secret"])

    async def _end(self, grant: Grant) -> NoReturn:
        await self._grants.revoke(grant.grant_id, reason="refresh_token_reused")
        await self._events.emit(RefreshTokenReused(client_id=grant.client_id, grant_id=grant.grant_id))
        raise InvalidGrant("the refresh token is not valid")

    def _expires_at(self, grant: Grant) -> int:
        return min(int(self._now()) + self._idle_lifetime, self._grants.ends_at(grant))


def _split(token: str) -> tuple[str, str]:
    match = TOKEN.fullmatch(token)
    if match is None:
        raise InvalidGrant("the refresh token is not valid")
    return match["family"], match["secret"]


def _is(stored: str, secret: str) -> bool:
    return hmac.compare_digest(stored, digest(secret))


def _bound(client: Client, key: str | None) -> str | None:
    # A confidential client proves itself at each refresh, and may change its key (RFC 9449 §5).
    return key if client.is_public else None


def _asks_the_same(kept: Record, grant: Grant, question: Question) -> bool:
    try:
        permission = grant.permission(question.resource, question.scope)
    except (InvalidTarget, InvalidScope):
        return False
    asked = (permission.resource, permission.scope, question.key)
    return asked == (kept["resource"], kept["answer"]["scope"], kept["key"])
