"""Device codes, RFC 8628: a device asks, and its user decides in a browser elsewhere.

All that happens to a device's request happens to one record, each time by one `replace`: the browser that
entered the user code first may decide and no other one (`claim`), it decides once, and of any number of
simultaneous polls one gets the grant. A used code is kept for a while, marked: its second use ends the grant.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn, TypeVar

from mcpauth.events import DeviceCodeReused, Events
from mcpauth.oauth.authorization_request import AskingDevice, AuthorizationRequest
from mcpauth.oauth.errors import (
    AccessDenied,
    AuthorizationPending,
    ExpiredToken,
    InvalidGrant,
    SlowDown,
    TemporarilyUnavailable,
)
from mcpauth.oauth.grant import Grant, Grants
from mcpauth.oauth.permission import Permission, permissions_of
from mcpauth.oauth.random_text import random_text
from mcpauth.oauth.store import Record, Store, digest
from mcpauth.oauth.user_code import as_entered, as_shown, keyed_digest, make_user_code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mcpauth.oauth.client import Client

T = TypeVar("T")

KIND = "device_code"
USER_CODE = "user_code"

LIFETIME = timedelta(minutes=10)
INTERVAL = 5  # seconds; §3.5: what a device that is told none assumes, too
SLOWER = 5  # seconds that each slow_down adds (§3.5)
# A device waits from when it asked, the server counts from when it was asked: two travel times may differ.
JITTER = 0.5
REMEMBERED = timedelta(days=1)  # how long the second use of a code still ends its grant
TOLD_OF_ITS_END = timedelta(hours=1)  # how long an expired code is expired_token, not an unknown one
_TRIES = 20


@dataclass(frozen=True, slots=True, repr=False)
class DeviceAuthorization:
    """What a device is told, §3.2: both codes, this once."""

    device_code: str
    user_code: str
    expires_in: int
    interval: int


class DeviceCodes:
    """The device codes in the store, by digest. `user_code_key` is what user codes are stored under."""

    def __init__(
        self,
        store: Store,
        grants: Grants,
        *,
        user_code_key: bytes,
        events: Events,
        now: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._grants = grants
        self._user_code_key = user_code_key
        self._events = events
        self._now = now
        self._token_bytes = token_bytes

    async def begin(self, client: Client, asked: Sequence[Permission]) -> DeviceAuthorization:
        """Codes for what a device asks for.

        Raises:
            TemporarilyUnavailable: so many user codes are in use that none was free.
        """
        device_code = random_text(self._token_bytes)
        lifetime = int(LIFETIME.total_seconds())
        expires_at = int(self._now()) + lifetime
        user_code = await self._free_user_code(digest(device_code), expires_at)
        record: Record = {
            "client_id": client.client_id,
            "asked": [asdict(permission) for permission in asked],
            "created_at": int(self._now()),
            "expires_at": expires_at,
            "interval": INTERVAL,
            "polled_at": None,
            "browser": None,
            "claim": None,
            "status": "pending",
            "grant": None,
        }
        kept_until = expires_at + int(TOLD_OF_ITS_END.total_seconds())
        await self._store.add(KIND, digest(device_code), record, expires_at=kept_until)
        return DeviceAuthorization(device_code, as_shown(user_code), lifetime, INTERVAL)

    async def claim(self, entered: str, *, browser: str) -> AuthorizationRequest | None:
        """The request behind a user code, for the browser of this digest to decide from now on.

        None for a code that is unknown, expired, decided, or was entered in another browser. The same browser
        may enter it again; what it began before cannot be decided any more.
        """
        code = as_entered(entered)
        if code is None:
            return None
        found = await self._store.get(USER_CODE, keyed_digest(self._user_code_key, code))
        while found is not None and (record := await self._pending(found["device_code"])) is not None:
            if record["browser"] not in {None, browser}:
                return None
            asking = AskingDevice(found["device_code"], self._token_bytes(16).hex(), as_shown(code))
            claimed = {**record, "browser": browser, "claim": asking.claim}
            if await self._store.replace(KIND, asking.device_code, record, claimed):
                return _request(claimed, asking, now=self._now())
            # The device polled in between, or another browser was quicker.
        return None

    async def decide(self, asking: AskingDevice, grant: Grant | None) -> bool:
        """Write down what the user decided, None for no; False when there is nothing to decide any more."""
        while (record := await self._pending(asking.device_code)) is not None:
            if record["claim"] != asking.claim:
                return False
            decided = {
                **record,
                "status": "denied" if grant is None else "approved",
                "grant": grant.to_record() if grant is not None else None,
            }
            if await self._store.replace(KIND, asking.device_code, record, decided):
                return True
        return False

    async def redeem(
        self,
        device_code: str,
        make_answer: Callable[[Grant, Permission], Awaitable[T]],
        *,
        client: Client,
        resource: Sequence[str] = (),
        scope: str | None = None,
    ) -> T:
        """What `make_answer` makes of what the user allowed, and of what the first access token may do.

        As with an authorization code, it is made before the code is used: a store that fails in between
        leaves the code good, and whoever polls second never sees what was made.

        Raises:
            InvalidGrant: unknown, used, another client's, or the user has been disabled.
            AuthorizationPending, SlowDown: the user has not decided yet (§3.5).
            AccessDenied: the user said no.
            ExpiredToken: nobody decided in time, or the device asked too late.
            InvalidTarget: the resource is not a granted one.
            InvalidScope: more than was granted.
        """
        key = digest(device_code)
        made: list[T] = []
        while True:
            record = await self._of(key, client)
            if record["status"] == "pending":
                polled, answer = self._waiting(record)
                if await self._store.replace(KIND, key, record, polled):
                    raise answer
                continue
            grant = Grant.from_record(record["grant"])
            permission = grant.permission(resource, scope)
            if not await self._grants.has_active_user(grant):
                raise InvalidGrant("the device_code is not valid")
            if not made:
                made.append(await make_answer(grant, permission))
            used_until = int(self._now() + REMEMBERED.total_seconds())
            if await self._store.replace(
                KIND, key, record, {**record, "status": "used"}, expires_at=used_until
            ):
                return made[0]
            # Changed meanwhile: used, which the next round refuses.

    async def _of(self, key: str, client: Client) -> Record:
        """The record of a code that is still good for something."""
        record = await self._store.get(KIND, key)
        # Another client's code is answered like an unknown one, and nothing happens to it.
        if record is None or record["client_id"] != client.client_id:
            raise InvalidGrant("the device_code is not valid")
        if record["status"] == "used":
            await self._end(Grant.from_record(record["grant"]))
        if record["status"] == "denied":
            raise AccessDenied("the user said no", status=400)
        if self._now() >= record["expires_at"]:
            raise ExpiredToken("the device_code has expired; begin again")
        return record

    def _waiting(self, record: Record) -> tuple[Record, AuthorizationPending]:
        """The record of a device that has asked once more, and its answer."""
        now = self._now()
        polled = {**record, "polled_at": now}
        if record["polled_at"] is None or now >= record["polled_at"] + record["interval"] - JITTER:
            return polled, AuthorizationPending("the user has not decided yet")
        return polled | {"interval": record["interval"] + SLOWER}, SlowDown(
            "wait five seconds longer each time"
        )

    async def _pending(self, key: str) -> Record | None:
        """The record of a request that its user can still decide."""
        record = await self._store.get(KIND, key)
        if record is None or record["status"] != "pending" or self._now() >= record["expires_at"]:
            return None
        return record

    async def _free_user_code(self, device_code: str, expires_at: int) -> str:
        for _ in range(_TRIES):
            code = make_user_code(self._token_bytes)
            key = keyed_digest(self._user_code_key, code)
            if await self._store.add(USER_CODE, key, {"device_code": device_code}, expires_at=expires_at):
                return code
        raise TemporarilyUnavailable("no user_code is free; try again")

    async def _end(self, grant: Grant) -> NoReturn:
        # As with authorization codes: one of the two who used it should not have it.
        await self._grants.revoke(grant.grant_id, reason="device_code_reused")
        await self._events.emit(
            DeviceCodeReused(client_id=grant.client_id, user_id=grant.user_id, grant_id=grant.grant_id)
        )
        raise InvalidGrant("the device_code is not valid")


def _request(record: Record, asking: AskingDevice, *, now: float) -> AuthorizationRequest:
    """What the user is asked, as for a client that came to /authorize; but the answer is not a redirect."""
    return AuthorizationRequest(
        client_id=record["client_id"],
        redirect_uri="",
        redirect_uri_given=False,
        asked=permissions_of(record["asked"]),
        code_challenge="",
        state=None,
        login_hint=None,
        created_at=int(now),
        browser=record["browser"],
        device=asking,
    )
