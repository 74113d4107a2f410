"""Sign-in with a user name and a password, which is stored as an Argon2id hash, RFC 9106."""

from __future__ import annotations

import contextlib
import math
import secrets
import unicodedata
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mcpauth.oauth.store import digest
from mcpauth.oauth.user import LONGEST_NAME, User, Users, username_key
from mcpauth.signin import SignInDelayed, SignInRefused
from mcpauth.web.throttle import Attempt, Pace, Throttle
from mcpauth_middleware.throttle import subscriber

if TYPE_CHECKING:
    from mcpauth.oauth.form import Form
    from mcpauth.signin.usual_places import UsualPlaces

T = TypeVar("T")

SHORTEST_PASSWORD = 8
_LONGEST_PASSWORD = 1024
_AT_ONCE = 4  # each hash takes 64 MiB while it is computed
_WAITING = 64

# Five quick tries for one name from one place; more from everywhere but the usual places of its user, so that
# nobody elsewhere can lock them out there.
_NAME_AND_ADDRESS = Pace(burst=5, interval=12)
_NAME = Pace(burst=20, interval=30)
_ADDRESS = Pace(burst=20, interval=6)


class TooManyHashes(Exception):
    """So many passwords are being checked that another would only wait."""


class Passwords:
    """Hashes and checks passwords, in worker threads: the event loop serves others meanwhile."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self._under_way = 0
        # What the password of an unknown user is compared with: the same work, and nobody knows what would
        # match.
        self._nobody = self._hasher.hash(secrets.token_hex(32))

    async def hash(self, password: str) -> str:
        """The hash to store."""
        return await self._in_thread(partial(self._hasher.hash, _normal(password)))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the one; without a hash the same work for nothing.

        Raises:
            TooManyHashes: too many others are waiting already.

        """
        matches = await self._in_thread(
            partial(self._matches, password_hash or self._nobody, _normal(password))
        )
        return matches and password_hash is not None

    def outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: partial[T]) -> T:
        if self._under_way >= _AT_ONCE + _WAITING:
            raise TooManyHashes
        self._under_way += 1
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._limiter)
        finally:
            self._under_way -= 1


def check_password(password: str) -> str:
    """A password that may be set.

    Raises:
        ValueError: too short or too long.

    """
    if len(password) < SHORTEST_PASSWORD:
        raise ValueError(f"a password has at least {SHORTEST_PASSWORD} characters")
    if len(password) > _LONGEST_PASSWORD:
        raise ValueError(f"a password has at most {_LONGEST_PASSWORD} characters")
    return password


def _normal(password: str) -> str:
    # RFC 8265 §4.2: what looks the same on two keyboards is the same.
    return unicodedata.normalize("NFC", password)


class PasswordSignIn:
    """Turns the fields `username` and `password` into a user."""

    method = "password"
    acr = "urn:mcpauth:acr:password"
    amr: tuple[str, ...] = ("pwd",)

    def __init__(self, users: Users, passwords: Passwords, throttle: Throttle, places: UsualPlaces) -> None:
        self._users = users
        self._passwords = passwords
        self._throttle = throttle
        self._places = places

    async def authenticate(self, form: Form, *, address: str) -> User:
        """The user with this name and password; see `SignIn`."""
        # Longer ones than there can be are cut: they match nobody either way.
        username = (form.optional("username") or "")[: 2 * LONGEST_NAME]
        password = form.optional("password") or ""
        # Whoever has one IPv6 address has a whole network of them.
        name, place = username_key(username), subscriber(address)
        attempts = _attempts(name, place, usual=await self._places.has(name, place))
        wait = self._throttle.reserve(attempts)
        if wait > 0:
            raise SignInDelayed("too many tries", retry_after=math.ceil(wait))
        try:
            user = await self._check(username, password)
        except SignInDelayed:
            self._throttle.give_back(attempts)
            raise
        self._throttle.give_back(attempts)
        await self._places.add(name, place)
        await self._renew(user, password)
        return user

    async def _renew(self, user: User, password: str) -> None:
        if user.password_hash is not None and self._passwords.outdated(user.password_hash):
            # Not now, if the server is busy: the next sign-in will do.
            with contextlib.suppress(TooManyHashes):
                await self._users.rehash(user, await self._passwords.hash(password))

    async def _check(self, username: str, password: str) -> User:
        user = await self._users.by_name(username)
        try:
            password_hash = user.password_hash if user is not None else None
            right = await self._passwords.verify(password_hash, password[:_LONGEST_PASSWORD])
        except TooManyHashes:
            raise SignInDelayed("too many sign-ins at once", retry_after=2, busy=True) from None
        # Only names that exist are recorded: people type their password into the wrong field.
        if user is None:
            raise SignInRefused("unknown user")
        if not right or len(password) > _LONGEST_PASSWORD:
            raise SignInRefused("wrong password", login=user.username)
        if user.disabled:
            raise SignInRefused("user is disabled", login=user.username)
        return user


def _attempts(name: str, place: str, *, usual: bool) -> list[Attempt]:
    here = [
        Attempt(digest(f"both {name} {place}"), _NAME_AND_ADDRESS),
        Attempt(digest(f"address {place}"), _ADDRESS),
    ]
    return here if usual else [*here, Attempt(digest(f"name {name}"), _NAME)]
