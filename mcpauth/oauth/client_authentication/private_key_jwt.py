"""`private_key_jwt`: the client signs a short JWT, RFC 7523 §2.2 and §3, RFC 7521 §4.2.

Stricter than the RFC where a stolen or mistaken assertion would be worth something: one audience, ten minutes
at most, each used once, and no JWT of another kind passes for it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from mcpauth.oauth.client_authentication.method import Credentials, NotProven
from mcpauth.oauth.client_keys import SIGNING_ALGORITHMS, ClientKeys, KeysUnavailable
from mcpauth.oauth.client_metadata import PRIVATE_KEY_JWT
from mcpauth.oauth.errors import InvalidClient, InvalidRequest
from mcpauth.oauth.store import Store, digest
from mcpauth_middleware.errors import InvalidToken
from mcpauth_middleware.tokens.compact import CompactJws, read_compact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.form import Form

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 §2.2
KIND = "client_assertion"
# What the SDKs and others write; an access token, ID-JAG or DPoP proof says what it is (RFC 8725 §3.11).
TYPES = frozenset({"", "jwt", "client-authentication+jwt"})
LONGEST_SECONDS = 10 * 60
CLOCK_SKEW_SECONDS = 30
"""For `iat` and `nbf` only. An assertion that has expired is expired."""

_MAX_TIME = 2**53


class PrivateKeyJwt:
    """The method, over the store in which used assertions are remembered.

    `audiences` are the names of this server, of which an assertion has to have exactly one: its issuer, or
    its token endpoint.
    """

    NAME = PRIVATE_KEY_JWT

    def __init__(
        self,
        keys: ClientKeys,
        store: Store,
        *,
        audiences: Collection[str],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._store = store
        self._audiences = frozenset(audiences)
        self._now = now

    def credentials(self, headers: Mapping[str, str], form: Form) -> Credentials | None:
        """The assertion, and the client that it says it is of: `sub`, which nothing has proved yet."""
        assertion, kind = form.optional("client_assertion"), form.optional("client_assertion_type")
        if assertion is None and kind is None:
            return None
        if assertion is None or kind is None:
            raise InvalidRequest("client_assertion and client_assertion_type belong together")
        if kind != ASSERTION_TYPE:
            raise InvalidClient("the client_assertion_type is not one that this server knows")
        if form.optional("client_secret") is not None or "authorization" in headers:
            raise InvalidRequest("the client authenticates in two ways at once")
        client_id = _subject(assertion)
        if form.optional("client_id") not in (None, client_id):
            raise InvalidClient("the client_id in the body is not the one in the client_assertion")
        return Credentials(client_id, (assertion,))

    def may_use(self, client: Client) -> bool:
        """Whether it is the client's method, or one of those that its document offers."""
        return PRIVATE_KEY_JWT in client.auth_methods

    async def verify(self, client: Client | None, credentials: Credentials) -> bool:
        """Whether the assertion is the client's, for this server, and new.

        Raises:
            NotProven: it is not, and why.
        """
        if client is None or not self.may_use(client):
            return False
        jws = _read(credentials.secrets[0])
        _check_header(jws.header)
        await self._check_signature(jws, client)
        self._check_claims(jws.claims, client)
        # Last, so that nothing but the client's own assertion can use one up.
        await self._use_up(jws.claims, client)
        return True

    async def _check_signature(self, jws: CompactJws, client: Client) -> None:
        algorithm = jws.header["alg"]
        if client.metadata.get("token_endpoint_auth_signing_alg", algorithm) != algorithm:
            raise NotProven("not the algorithm that the client registered")
        try:
            keys = await self._keys.find(client, jws.header.get("kid"), algorithm)
        except KeysUnavailable as error:
            raise NotProven(f"the keys cannot be had: {error}") from None
        if not keys:
            raise NotProven("no such key")
        if not any(key.verifies(jws.signing_input, jws.signature) for key in keys):
            raise NotProven("the signature")

    def _check_claims(self, claims: Mapping[str, Any], client: Client) -> None:
        if claims.get("iss") != client.client_id or claims.get("sub") != client.client_id:
            raise NotProven("iss and sub are not the client_id")
        aud = claims.get("aud")
        audiences = cast("list[object]", aud) if isinstance(aud, list) else [aud]
        named = [name for name in audiences if isinstance(name, str) and name in self._audiences]
        # One alone: a server that is named as well could use the assertion here (RFC 9700 §4.10 in spirit).
        if len(audiences) != 1 or not named:
            raise NotProven("aud is not this server alone")
        now = self._now()
        if not now < _moment(claims, "exp") <= now + LONGEST_SECONDS:
            raise NotProven("exp has passed, or is more than ten minutes ahead")
        for name in ("iat", "nbf"):
            if name in claims and _moment(claims, name) > now + CLOCK_SKEW_SECONDS:
                raise NotProven(f"{name} is in the future")

    async def _use_up(self, claims: Mapping[str, Any], client: Client) -> None:
        token_id = claims.get("jti")
        if not isinstance(token_id, str) or not token_id:
            raise NotProven("no jti")
        # The length first, so that no two pairs of id and jti are one text.
        key = digest(f"{len(client.client_id)}:{client.client_id}{token_id}")
        if not await self._store.add(KIND, key, {}, expires_at=_moment(claims, "exp")):
            raise NotProven("used before")


def _subject(assertion: str) -> str:
    try:
        client_id = read_compact(assertion).claims.get("sub")
    except InvalidToken:
        client_id = None
    if not isinstance(client_id, str) or not client_id:
        raise InvalidClient("the client_assertion is no JWT with a sub")
    return client_id


def _read(assertion: str) -> CompactJws:
    try:
        return read_compact(assertion)
    except InvalidToken:
        raise NotProven("no JWT") from None


def _check_header(header: Mapping[str, Any]) -> None:
    # `jwk`, `jku`, `x5u` and the like are not looked at: the keys are the registered ones.
    if "crit" in header:
        raise NotProven("crit")
    if header.get("alg") not in SIGNING_ALGORITHMS:
        raise NotProven("alg")
    typ = header.get("typ", "")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") not in TYPES:
        raise NotProven("typ")
    if not isinstance(header.get("kid", ""), str):
        raise NotProven("kid")


def _moment(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    # bool is an int for Python; a fraction is cut off, so that it counts against the client.
    if isinstance(value, float) and abs(value) < _MAX_TIME:
        value = int(value)
    if type(value) is not int or not 0 <= value < _MAX_TIME:
        raise NotProven(f"{name} is no time")
    return value
