"""Assertions as authorization grants, RFC 7523 §3: what holds for each, whoever it speaks for.

Stricter than the RFC, as with the assertions of clients: the `typ` says what kind it is (RFC 8725 §3.11), one
audience, whole numbers for times, a bounded lifetime. What is wrong with one is for the operator; the client
is told only that it is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from mcpauth.oauth.store import Store, digest
from mcpauth_middleware.errors import InvalidToken
from mcpauth_middleware.tokens.compact import CompactJws, read_compact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from mcpauth.oauth.issuer_keys import IssuerKeys
    from mcpauth.oauth.trusted_issuer import TrustedIssuer
    from mcpauth.oauth.trusted_issuers import TrustedIssuers

KIND = "assertion"
ID_JAG_TYPE = "oauth-id-jag+jwt"
WORKLOAD_TYPES = frozenset({"", "jwt", "jose"})
"""What platforms write. An access token, ID-JAG or DPoP proof says what it is."""
CLOCK_SKEW_SECONDS = 30
"""For `iat` and `nbf` only. An assertion that has expired is expired."""
MAX_NAME = 512
"""Characters of a `sub` or `jti`."""

_MAX_TIME = 2**53


class NotAccepted(Exception):
    """An assertion is not good. `reason` is for the operator alone."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True, repr=False)
class Assertion:
    """An assertion, taken apart. Until `Assertions.verify` has said so, nothing of it is proved."""

    jws: CompactJws
    kind: str
    """The kind of issuer that it has to be of."""

    @property
    def claims(self) -> Mapping[str, Any]:
        """What it says."""
        return self.jws.claims

    @property
    def issuer(self) -> str:
        """Its `iss`; "" when it has none that is a text."""
        return text(self.claims, "iss")

    @property
    def subject(self) -> str:
        """Its `sub`, in the same way."""
        return text(self.claims, "sub")

    @property
    def assertion_id(self) -> str:
        """Its `jti`, in the same way."""
        return text(self.claims, "jti")


def read(assertion: str) -> Assertion:
    """Take an assertion apart.

    Raises:
        NotAccepted: it is no JWT, or one of another type.
    """
    try:
        jws = read_compact(assertion)
    except InvalidToken:
        raise NotAccepted("no JWT") from None
    typ = jws.header.get("typ", "")
    if typ == ID_JAG_TYPE:
        return Assertion(jws, "id-jag")
    if isinstance(typ, str) and typ.lower() in WORKLOAD_TYPES:
        return Assertion(jws, "workload")
    raise NotAccepted("typ")


class Assertions:
    """Verifies assertions, over the store in which used ones are remembered."""

    def __init__(
        self,
        issuers: TrustedIssuers,
        keys: IssuerKeys,
        store: Store,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._issuers = issuers
        self._keys = keys
        self._store = store
        self._now = now

    async def verify(self, assertion: Assertion) -> TrustedIssuer:
        """The trusted issuer that made it, and not too long ago.

        Raises:
            NotAccepted: nobody whom this server trusts with it did.
            TemporarilyUnavailable: the issuer's keys cannot be had.
        """
        issuer = self._issuers.find(assertion.kind, assertion.issuer)
        if issuer is None:
            raise NotAccepted("iss is not trusted with this kind of assertion")
        await self._check_signature(assertion.jws, issuer)
        self._check_times(assertion.claims, issuer)
        if not 0 < len(assertion.subject) <= MAX_NAME or not assertion.subject.isprintable():
            raise NotAccepted("sub")
        return issuer

    async def _check_signature(self, jws: CompactJws, issuer: TrustedIssuer) -> None:
        header = jws.header
        # `jwk`, `jku`, `x5c`, `x5u` and the like are not looked at: the keys are the issuer's.
        if "crit" in header:
            raise NotAccepted("crit")
        kid, algorithm = header.get("kid"), header.get("alg")
        if algorithm not in issuer.algorithms:
            raise NotAccepted("alg")
        if kid is not None and not isinstance(kid, str):
            raise NotAccepted("kid")
        keys = await self._keys.find(issuer, kid, algorithm)
        if not keys:
            raise NotAccepted("no such key")
        if not any(key.verifies(jws.signing_input, jws.signature) for key in keys):
            raise NotAccepted("the signature")

    def _check_times(self, claims: Mapping[str, Any], issuer: TrustedIssuer) -> None:
        now = self._now()
        begins, ends = _moment(claims, "iat"), _moment(claims, "exp")
        if ends <= now:
            raise NotAccepted("exp has passed")
        if begins > now + CLOCK_SKEW_SECONDS:
            raise NotAccepted("iat is in the future")
        if "nbf" in claims and _moment(claims, "nbf") > now + CLOCK_SKEW_SECONDS:
            raise NotAccepted("nbf is in the future")
        if ends - begins > issuer.lifetime:
            raise NotAccepted("from iat to exp is longer than max_assertion_lifetime")

    async def use_up(self, assertion: Assertion) -> None:
        """Remember that it was used, until it expires.

        Raises:
            NotAccepted: it was, or it has no `jti`.
        """
        if not 0 < len(assertion.assertion_id) <= MAX_NAME:
            raise NotAccepted("no jti")
        # The length first, so that no two pairs of issuer and jti are one text.
        key = digest(f"{len(assertion.issuer)}:{assertion.issuer}{assertion.assertion_id}")
        if not await self._store.add(KIND, key, {}, expires_at=expiry(assertion)):
            raise NotAccepted("used before")


def require_audience(claims: Mapping[str, Any], audiences: Collection[str]) -> None:
    """`aud` is one of these names of this server, and no other: another server could use it here.

    Raises:
        NotAccepted: it is not.
    """
    aud = claims.get("aud")
    named = cast("list[object]", aud) if isinstance(aud, list) else [aud]
    if len(named) != 1 or not isinstance(named[0], str) or named[0] not in audiences:
        raise NotAccepted("aud is not this server alone")


def require_key(claims: Mapping[str, Any], key: str | None) -> None:
    """What is bound to a key is handed in with a proof of that key (`cnf`, RFC 7800, RFC 9449 §6).

    Raises:
        NotAccepted: it is bound otherwise, to another key, or there is no proof.
    """
    if "cnf" not in claims:
        return
    if key is None or claims["cnf"] != {"jkt": key}:
        raise NotAccepted("cnf, and no proof of that key")


def expiry(assertion: Assertion) -> int:
    """When it ends, epoch seconds.

    Raises:
        NotAccepted: `exp` is no time.
    """
    return _moment(assertion.claims, "exp")


def moment(claims: Mapping[str, Any], name: str) -> int | None:
    """A time, if there is one.

    Raises:
        NotAccepted: it is no whole number of epoch seconds.
    """
    return _moment(claims, name) if name in claims else None


def text(claims: Mapping[str, Any], name: str) -> str:
    """A claim that should be a text; "" when it is not."""
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def _moment(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    # bool is an int for Python.
    if type(value) is not int or not 0 <= value < _MAX_TIME:
        raise NotAccepted(f"{name} is no time")
    return value
