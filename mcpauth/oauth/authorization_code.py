"""Authorization codes, RFC 6749 §4.1.2: bound to client, redirect URI, PKCE and resource, and good for once.

Where the client asks so, its code is bound to its key as well (RFC 9449 §10).

A used code is kept for a while, marked: that is how its second use is recognised and ends the grant. Nothing
but the one `replace` that sets the mark makes a code used, so of any number of simultaneous redemptions one
succeeds, and a check that fails leaves the code to its owner.
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from mcpauth.events import CodeReused, Events
from mcpauth.oauth.errors import InvalidGrant
from mcpauth.oauth.grant import Grant, Grants
from mcpauth.oauth.pkce import verifies
from mcpauth.oauth.random_text import random_text
from mcpauth.oauth.store import Record, Store, digest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mcpauth.oauth.authorization_request import AuthorizationRequest
    from mcpauth.oauth.client import Client
    from mcpauth.oauth.permission import Permission

T = TypeVar("T")

KIND = "authorization_code"

MAX_FAILURES = 5  # wrong verifiers, before a code is dead
REMEMBERED = timedelta(days=1)  # how long the second use of a code still ends its grant


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What a code stood for: the grant, what its first access token is for, and the request's `nonce`."""

    grant: Grant
    permission: Permission
    nonce: str | None


class AuthorizationCodes:
    """The codes in the store, by digest."""

    def __init__(
        self,
        store: Store,
        grants: Grants,
        *,
        events: Events,
        lifetime: timedelta = timedelta(seconds=60),
        now: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._grants = grants
        self._events = events
        self._lifetime = int(lifetime.total_seconds())
        self._now = now
        self._token_bytes = token_bytes

    async def issue(self, request: AuthorizationRequest, grant: Grant) -> str:
        """A code for what the user approved. The grant itself is stored when the code is redeemed."""
        code = random_text(self._token_bytes)
        record: Record = {
            "grant": grant.to_record(),
            "redirect_uri": request.redirect_uri,
            "redirect_uri_given": request.redirect_uri_given,
            "code_challenge": request.code_challenge,
            "dpop_jkt": request.dpop_jkt,
            "nonce": request.nonce,
            "failures": 0,
            "used": False,
        }
        await self._store.add(KIND, digest(code), record, expires_at=int(self._now()) + self._lifetime)
        return code

    async def redeem(
        self,
        code: str,
        make_answer: Callable[[Redeemed], Awaitable[T]],
        *,
        client: Client,
        redirect_uri: str | None,
        code_verifier: str,
        resource: Sequence[str] = (),
        scope: str | None = None,
        key: str | None = None,
    ) -> tuple[Redeemed, T]:
        """What the code stands for, and what `make_answer` makes of it.

        As with a refresh, the answer is made before the code is used: a store that fails in between leaves it
        good, and whoever is not the first to use it never sees what was made.

        `key` is the thumbprint of the key that the request proves its client to have.

        Raises:
            InvalidGrant: unknown, expired, used, another client's, another redirect URI, verifier or key,
                or the user has been disabled.
            InvalidTarget: the resource is not a granted one.
            InvalidScope: more than was granted.
        """
        made: list[T] = []
        while True:
            record = await self._of(code, client)
            grant = Grant.from_record(record["grant"])
            await self._refuse_used(record, grant)
            _check_redirect_uri(record, redirect_uri)
            await self._check_verifier(code, record, code_verifier)
            if record["dpop_jkt"] not in (None, key):
                raise InvalidGrant("the code is bound to another key")
            permission = grant.permission(resource, scope)
            if not await self._grants.has_active_user(grant):
                raise InvalidGrant("the code is not valid")
            redeemed = Redeemed(grant, permission, record["nonce"])
            if not made:
                made.append(await make_answer(redeemed))
            if await self._mark_used(code, record):
                return redeemed, made[0]
            # Changed meanwhile: used, which the next round refuses, or one more failure, which is not ours.

    async def _of(self, code: str, client: Client) -> Record:
        record = await self._store.get(KIND, digest(code))
        # Another client's code is answered like an unknown one, and nothing happens to it: whoever presents
        # it may have stolen it.
        if record is None or record["grant"]["client_id"] != client.client_id:
            raise InvalidGrant("the code is not valid")
        return record

    async def _refuse_used(self, record: Record, grant: Grant) -> None:
        if record["used"]:
            # §4.1.2: one of the two who used it should not have it, and we cannot tell which.
            await self._grants.revoke(grant.grant_id, reason="code_reused")
            await self._events.emit(
                CodeReused(client_id=grant.client_id, user_id=grant.user_id, grant_id=grant.grant_id)
            )
            raise InvalidGrant("the code is not valid")
        if record["failures"] >= MAX_FAILURES:
            raise InvalidGrant("the code is not valid")

    async def _check_verifier(self, code: str, record: Record, code_verifier: str) -> None:
        if verifies(code_verifier, record["code_challenge"]):
            return
        while not await self._count_failure(code, record):
            changed = await self._store.get(KIND, digest(code))
            if changed is None or changed["used"] or changed["failures"] >= MAX_FAILURES:
                break
            record = changed
        raise InvalidGrant("the code_verifier is not the one behind the code_challenge")

    async def _count_failure(self, code: str, record: Record) -> bool:
        return await self._store.replace(
            KIND, digest(code), record, {**record, "failures": record["failures"] + 1}
        )

    async def _mark_used(self, code: str, record: Record) -> bool:
        expires_at = int(self._now() + REMEMBERED.total_seconds())
        return await self._store.replace(
            KIND, digest(code), record, {**record, "used": True}, expires_at=expires_at
        )


def _check_redirect_uri(record: Record, redirect_uri: str | None) -> None:
    """RFC 6749 §4.1.3: the same as in the authorization request, and there if it was there."""
    if redirect_uri is None and not record["redirect_uri_given"]:
        return
    if redirect_uri is None or not hmac.compare_digest(
        redirect_uri.encode(), record["redirect_uri"].encode()
    ):
        raise InvalidGrant("the redirect_uri is not the one of the authorization request")
