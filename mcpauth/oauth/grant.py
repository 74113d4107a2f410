"""A grant: what a user allowed a client to do, at one resource or several (RFC 6749 §1.3, RFC 8707 §2).

Every code, refresh token and access token belongs to one grant. Ending the grant is one `add` of a marker
that every look-up of a token honours, so that it also ends tokens which are being made at that very moment.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from mcpauth.events import Events, GrantRevoked, RevocationReason
from mcpauth.oauth.errors import InvalidGrant, InvalidScope, InvalidTarget
from mcpauth.oauth.permission import Permission, permissions_of
from mcpauth.oauth.resource_registry import canonical_target, split_scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth.oauth.authorization_request import AuthorizationRequest
    from mcpauth.oauth.revocation_list import RevocationList
    from mcpauth.oauth.store import Record, Store

IsActiveUser: TypeAlias = Callable[[str], Awaitable[bool]]
"""Whether the user of this id exists and is not disabled."""

KIND = "grant"
REVOKED = "revoked_grant"
# A marker has to outlive the last access token of its grant, which may be minted in the grant's last second.
MARKER_MARGIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Grant:
    """Who allowed what to whom. `created_at` and `auth_time` are epoch seconds.

    `auth_time`, `acr` and `amr` say when and how the user had signed in (OpenID Connect Core §2).
    The first of `permissions` is that of a token request which names no resource.
    """

    grant_id: str
    user_id: str
    client_id: str
    permissions: tuple[Permission, ...]
    created_at: int
    auth_time: int | None
    acr: str | None = None
    amr: tuple[str, ...] = ()

    @classmethod
    def approved(
        cls,
        request: AuthorizationRequest,
        *,
        now: float,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Grant:
        """The grant that a user's consent makes of an authorization request.

        Raises:
            ValueError: nobody has approved the request.
        """
        if request.user_id is None or not request.approved:
            raise ValueError("only an approved authorization request becomes a grant")
        return cls(
            grant_id=token_bytes(16).hex(),
            user_id=request.user_id,
            client_id=request.client_id,
            permissions=request.approved,
            created_at=int(now),
            auth_time=request.auth_time,
            acr=request.acr,
            amr=request.amr,
        )

    @property
    def resources(self) -> tuple[str, ...]:
        """Where it allows something."""
        return tuple(each.resource for each in self.permissions)

    @property
    def scopes(self) -> tuple[str, ...]:
        """What it allows anywhere, each name once."""
        return tuple(dict.fromkeys(name for each in self.permissions for name in each.scopes))

    def allows(self, resource: str, scope: str) -> bool:
        """Whether the scope is allowed at the resource."""
        return any(each.resource == resource and scope in each.scopes for each in self.permissions)

    def permission(self, resource: Sequence[str], scope: str | None) -> Permission:
        """What the next access token is for: one resource, and what is asked for of its scopes, or all.

        Of several resources a request names the one it wants; without a name it is the first.

        Raises:
            InvalidTarget: not granted, or several at once (RFC 8707 §2.2): a token has one audience.
            InvalidScope: malformed, more than was granted (RFC 6749 §6), or nothing of this resource.
        """
        granted = self._granted(resource)
        names = split_scope(scope or "")
        if not set(names) <= set(self.scopes):
            raise InvalidScope("the scope is more than was granted")
        if not names:
            return granted
        asked = granted.limited_to(names)
        if asked is None:
            raise InvalidScope("the scope was granted at another resource")
        return asked

    def _granted(self, resource: Sequence[str]) -> Permission:
        granted = self.resources
        # What was granted as it stands is in its canonical form already.
        targets = {uri if uri in granted else canonical_target(uri) for uri in resource}
        if not targets:
            return self.permissions[0]
        if len(targets) > 1:
            raise InvalidTarget("a token is for one resource: name one of those that were granted")
        found = next((each for each in self.permissions if each.resource in targets), None)
        if found is None:
            raise InvalidTarget("the resource is not a granted one")
        return found

    def to_record(self) -> Record:
        """The grant as stored."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Record) -> Grant:
        """The grant of a stored record."""
        values: Record = {**record, "permissions": permissions_of(record["permissions"])}
        values["amr"] = tuple(record["amr"])
        return cls(**values)


class Grants:
    """The grants in the store, by user.

    `lifetime` is how long one can last, and so the absolute lifetime of its refresh tokens. A grant is in
    force only while `is_active_user` says so of its user: disabling one stops every way to new tokens.
    `revocations` is where resource servers learn that access tokens of a grant are not good any more.
    """

    def __init__(
        self,
        store: Store,
        *,
        is_active_user: IsActiveUser,
        revocations: RevocationList,
        events: Events,
        lifetime: timedelta = timedelta(days=90),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._is_active_user = is_active_user
        self._revocations = revocations
        self._events = events
        self._lifetime = int(lifetime.total_seconds())
        self._now = now

    def ends_at(self, grant: Grant) -> int:
        """When the grant ends whatever happens."""
        return grant.created_at + self._lifetime

    async def add(self, grant: Grant, *, expires_at: int | None = None) -> None:
        """Store it, until its end or an earlier moment.

        Raises:
            InvalidGrant: its user has been disabled.
        """
        moment = self.ends_at(grant) if expires_at is None else min(expires_at, self.ends_at(grant))
        await self._store.add(KIND, grant.grant_id, grant.to_record(), expires_at=moment, owner=grant.user_id)
        # Only now: whoever disables the user later finds it (`suspend`), and whoever did before is seen here.
        if not await self.has_active_user(grant):
            await self._store.take(KIND, grant.grant_id)
            raise InvalidGrant("the grant has ended")

    async def get(self, grant_id: str) -> Grant | None:
        """The grant, if it is in force: stored, not revoked, its user active."""
        grant = await self.stored(grant_id)
        return grant if grant is not None and await self.has_active_user(grant) else None

    async def stored(self, grant_id: str) -> Grant | None:
        """The grant, if it has not ended; its user may be disabled."""
        record = await self._store.get(KIND, grant_id)
        if record is None or await self.is_revoked(grant_id):
            return None
        return Grant.from_record(record)

    async def has_active_user(self, grant: Grant) -> bool:
        """Whether the user who gave it exists and is not disabled."""
        return await self.is_active_user(grant.user_id)

    async def is_active_user(self, user_id: str) -> bool:
        """Whether the user exists and is not disabled."""
        return await self._is_active_user(user_id)

    async def honours(self, grant_id: str, user_id: str) -> bool:
        """Whether an access token that was minted for the grant still counts: not revoked, its user active.

        Its record is not asked for: the last access token may outlive it.
        """
        return not await self.is_revoked(grant_id) and await self._is_active_user(user_id)

    async def is_revoked(self, grant_id: str) -> bool:
        """Whether it was ended before its time."""
        return await self._store.get(REVOKED, grant_id) is not None

    async def revoke(self, grant_id: str, *, reason: RevocationReason) -> bool:
        """End it, with every token that came or will come of it; False when it had ended already."""
        expires_at = int(self._now()) + self._lifetime + int(MARKER_MARGIN.total_seconds())
        if await self.is_revoked(grant_id):
            return False
        # The list first: a crash after it leaves access tokens that are refused while the grant lives on, and
        # whoever revokes tries again; the other order would leave tokens that nobody hears of.
        await self._revocations.add_grant(grant_id)
        # The marker before the grant: a crash between the two leaves a dead grant on a page, no living token.
        if not await self._store.add(REVOKED, grant_id, {"reason": reason}, expires_at=expires_at):
            return False
        record = await self._store.take(KIND, grant_id)
        grant = Grant.from_record(record) if record is not None else None
        await self._events.emit(
            GrantRevoked(
                grant_id=grant_id,
                client_id=grant.client_id if grant else None,
                user_id=grant.user_id if grant else None,
                reason=reason,
            )
        )
        return True

    async def revoke_all_of_client(self, client_id: str, *, reason: RevocationReason) -> int:
        """End every grant to a client, which is about to be forgotten; how many there were."""
        records = await self._store.list(KIND)
        grants = [key for key, record in records if record["client_id"] == client_id]
        return sum([await self.revoke(grant_id, reason=reason) for grant_id in grants])

    async def suspend(self, user_id: str) -> None:
        """Tell resource servers of a disabled user: the grants stay, the access tokens do not."""
        for grant in await self.list(user_id):
            await self._revocations.add_grant(grant.grant_id)

    async def resume(self, user_id: str) -> None:
        """The user is not disabled any more."""
        for grant in await self.list(user_id):
            await self._revocations.remove_grant(grant.grant_id)

    async def list(self, user_id: str | None = None) -> tuple[Grant, ...]:
        """The grants in force, of one user or all."""
        records = await self._store.list(KIND, user_id)
        # A grant can be stored after its marker: a code that comes back while its first use is under way.
        return tuple([Grant.from_record(record) for key, record in records if not await self.is_revoked(key)])
