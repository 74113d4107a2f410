"""Authorization requests, RFC 6749 §4.1.1, checked and kept until they are answered.

The first GET of /authorize only stores: clients probe the address before they open a browser. What follows
(sign-in, consent) happens to the one stored record: no form has to carry the request, and none can change it.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from mcpauth.oauth.permission import Permission, limited, permissions_of
from mcpauth.oauth.random_text import random_text
from mcpauth.oauth.sign_in_demands import NO_DEMANDS, SignInDemands
from mcpauth.oauth.store import Record, Store, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

KIND = "authorization_request"


@dataclass(frozen=True, slots=True)
class AskingDevice:
    """The device that asks (RFC 8628): the digest of its code, and which entering of its user code this is.

    The user code is here to be shown: from then on it is of no use in any other browser.
    """

    device_code: str
    claim: str
    user_code: str


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A checked request, and what the user decided about it.

    `redirect_uri_given` tells whether the request named it: /token then has to name the same. `browser` is
    the digest of the cookie of the browser that began it. `approved` is None until the user decided, and
    empty after a no; `user_id` is who did, and `auth_time`, `acr` and `amr` say how they had signed in.
    `nonce` goes into the ID token (OpenID Connect Core §3.1.2.1). `dpop_jkt` is the thumbprint of the key to
    which the code is bound (RFC 9449 §10), `pushed` says which pushed request it came of (RFC 9126), if any.
    For a `device` there is no redirect URI (it is "") and no PKCE.
    """

    client_id: str
    redirect_uri: str
    redirect_uri_given: bool
    asked: tuple[Permission, ...]
    code_challenge: str
    state: str | None
    login_hint: str | None
    created_at: int
    browser: str
    demands: SignInDemands = NO_DEMANDS
    nonce: str | None = None
    dpop_jkt: str | None = None
    approved: tuple[Permission, ...] | None = None
    user_id: str | None = None
    auth_time: int | None = None
    acr: str | None = None
    amr: tuple[str, ...] = ()
    pushed: str | None = None
    device: AskingDevice | None = None

    def to_record(self) -> Record:
        """The request as stored."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Record) -> AuthorizationRequest:
        """The request of a stored record."""
        values: Record = {
            **record,
            "asked": permissions_of(record["asked"]),
            "demands": SignInDemands.from_record(record["demands"]),
            "amr": tuple(record["amr"]),
        }
        if record["approved"] is not None:
            values["approved"] = permissions_of(record["approved"])
        if record.get("device") is not None:
            values["device"] = AskingDevice(**record["device"])
        return cls(**values)


class AuthorizationRequests:
    """Requests under way, by the digest of an id that only the browser's own pages carry."""

    def __init__(
        self,
        store: Store,
        *,
        lifetime: timedelta = timedelta(minutes=10),
        now: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._lifetime = int(lifetime.total_seconds())
        self._now = now
        self._token_bytes = token_bytes

    async def begin(self, request: AuthorizationRequest) -> str:
        """Store the request and give its id."""
        request_id = random_text(self._token_bytes)
        expires_at = int(self._now()) + self._lifetime
        await self._store.add(KIND, digest(request_id), request.to_record(), expires_at=expires_at)
        return request_id

    async def get(self, request_id: str) -> AuthorizationRequest | None:
        """The request, while it is under way."""
        record = await self._store.get(KIND, digest(request_id))
        return AuthorizationRequest.from_record(record) if record is not None else None

    async def approve(
        self,
        request_id: str,
        request: AuthorizationRequest,
        *,
        user_id: str,
        auth_time: int | None,
        acr: str | None = None,
        amr: tuple[str, ...] = (),
        scopes: Mapping[str, Collection[str]],
    ) -> bool:
        """Write down what the user allowed: of `scopes`, by resource, those that were asked for.

        False when the request has changed or gone since it was read.
        """
        decided = replace(
            request,
            approved=limited(request.asked, scopes),
            user_id=user_id,
            auth_time=auth_time,
            acr=acr,
            amr=amr,
        )
        return await self._store.replace(KIND, digest(request_id), request.to_record(), decided.to_record())

    async def take(self, request_id: str) -> AuthorizationRequest | None:
        """The request, finished: of two callers one gets None."""
        record = await self._store.take(KIND, digest(request_id))
        return AuthorizationRequest.from_record(record) if record is not None else None
