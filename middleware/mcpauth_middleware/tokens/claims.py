"""What the claims of an access token must say, RFC 9068 §4; RFC 7662 §2.2 for those told by introspection.

Deliberately stricter than the general rules: times are whole numbers, and the audience is compared as an
exact string.
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from mcpauth_middleware.challenge import is_scope
from mcpauth_middleware.errors import InvalidToken
from mcpauth_middleware.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mcpauth_middleware.tokens.authorization_server import AuthorizationServer

CLOCK_SKEW_SECONDS = 30
"""For `nbf` and `iat` only. A token that has expired is expired."""

_MAX_TIME = 2**53

# OpenID Connect Core 1.0 §2, §3.3.2.11: what an ID token has and an access token has no use for.
_ID_TOKEN_CLAIMS = frozenset({"at_hash", "c_hash", "nonce", "s_hash"})
# Keycloak, Cognito and Hydra say in a claim of the token, or of the answer about it, what it is.
_KIND_CLAIMS = {"typ": frozenset({"bearer", "dpop"}), "token_use": frozenset({"access", "access_token"})}
_TOKEN_TYPES = frozenset({"access_token", "bearer", "dpop"})


def check_audience(claims: Mapping[str, Any], accepted: Collection[str]) -> None:
    """Refuse a token that is for others."""
    aud = claims.get("aud")
    if isinstance(aud, str) and aud in accepted:
        return
    audiences = cast("list[object]", aud) if isinstance(aud, list) else [aud]
    if not any(isinstance(audience, str) and audience in accepted for audience in audiences):
        raise InvalidToken("audience")


def check_times(claims: Mapping[str, Any], now: float) -> None:
    """Refuse a token whose time is over or has not come."""
    if _moment(claims.get("exp")) <= now:
        raise InvalidToken("expired")
    for name in ("nbf", "iat"):
        if name in claims and _moment(claims[name]) > now + CLOCK_SKEW_SECONDS:
            raise InvalidToken("not_yet_valid")


def check_is_access_token(claims: Mapping[str, Any], server: AuthorizationServer) -> None:
    """Refuse what can be told to be another token, of a server whose `typ` does not tell (RFC 8725 §3.12)."""
    if _says_its_kind(claims):
        return
    if "events" in claims or not _ID_TOKEN_CLAIMS.isdisjoint(claims):
        raise InvalidToken("not_an_access_token")
    # An ID token authorizes nobody: it has no scopes, and where it has roles (Entra) it names no client.
    for names in (server.scope_claims, server.client_id_claims):
        if not any(name in claims for name in names):
            raise InvalidToken("not_an_access_token")


def check_told_kind(answer: Mapping[str, Any]) -> None:
    """Refuse what is told to be another token: introspection knows refresh tokens too (RFC 7662 §2.1)."""
    _says_its_kind(answer)
    kind = str(answer.get("token_type") or "bearer").lower()
    if kind not in _TOKEN_TYPES:
        raise InvalidToken("not_an_access_token")
    # RFC 9449 §6.2 has the key in the same answer.
    if kind == "dpop" and "cnf" not in answer:
        raise InvalidToken("bound_in_another_way")


def _says_its_kind(claims: Mapping[str, Any]) -> bool:
    known = [name for name in _KIND_CLAIMS if name in claims]
    if any(str(claims[name]).lower() not in _KIND_CLAIMS[name] for name in known):
        raise InvalidToken("not_an_access_token")
    return bool(known)


def principal_of(claims: Mapping[str, Any], server: AuthorizationServer, *, resource: str) -> Principal:
    """The caller that verified claims tell of."""
    return Principal(
        issuer=server.issuer,
        subject=text(claims, "sub"),
        client_id=_first_text(claims, server.client_id_claims),
        scopes=_scopes(claims, server.scope_claims),
        resource=resource,
        expires_at=claims["exp"],
        token_id=optional_text(claims, "jti"),
        claims=MappingProxyType(dict(claims)),
    )


def spellings(resource: str) -> tuple[str, ...]:
    """A resource without a path is the same with a slash, and clients send it both ways."""
    has_path = "/" in resource.partition("://")[2] or "?" in resource
    return (resource,) if has_path else (resource, f"{resource}/")


def text(members: Mapping[str, Any], name: str) -> str:
    """A member that must be there, and a string."""
    value = members.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidToken(name)
    return value


def optional_text(members: Mapping[str, Any], name: str) -> str | None:
    """A member that may be missing."""
    return None if name not in members else text(members, name)


def _first_text(claims: Mapping[str, Any], names: Iterable[str]) -> str | None:
    for name in names:
        if name in claims:
            return text(claims, name)
    return None


def _scopes(claims: Mapping[str, Any], names: Iterable[str]) -> frozenset[str]:
    """A string with spaces (RFC 9068 §2.2.3), or a list where the claim is not `scope` itself."""
    for name in names:
        if name in claims:
            value = claims[name]
            if isinstance(value, str):
                return _scopes_in(value)
            if isinstance(value, list) and name != "scope":
                return _all_scopes(cast("list[object]", value))
            raise InvalidToken("scope")
    return frozenset()


@lru_cache(1024)
def _scopes_in(text: str) -> frozenset[str]:
    """A client's tokens have the same scopes again and again."""
    return _all_scopes([word for word in text.split(" ") if word])


def _all_scopes(words: Sequence[object]) -> frozenset[str]:
    scopes = [word for word in words if isinstance(word, str) and is_scope(word)]
    if len(scopes) != len(words):
        raise InvalidToken("scope")
    return frozenset(scopes)


def _moment(value: object) -> int:
    # bool is an int for Python: `"exp": true` would be the first second of 1970, or never.
    if type(value) is not int or not 0 <= value < _MAX_TIME:
        raise InvalidToken("times")
    return value
