"""Calling another API on the user's behalf: token exchange, RFC 8693, so that no token is passed through.

MCP forbids a server to send its caller's token elsewhere. Here it is exchanged at the authorization server
for one that is for the other resource, names this server as the one who acts, and is good for nothing else.
"""

from __future__ import annotations

import hashlib
import re
import time
import weakref
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from mcpauth_middleware.background import Background, CallCancelled, SharedCalls, TooManyCalls
from mcpauth_middleware.challenge import is_scope
from mcpauth_middleware.errors import InvalidToken, naming
from mcpauth_middleware.principal import current_principal
from mcpauth_middleware.resource import canonical_resource
from mcpauth_middleware.tokens.bounded_cache import BoundedCache
from mcpauth_middleware.tokens.claims import check_audience, spellings
from mcpauth_middleware.tokens.compact import read_compact
from mcpauth_middleware.tokens.discovery import DiscoveredUrl, check_issuer
from mcpauth_middleware.tokens.fetch import FetchFailed, JsonAnswer, JsonRequest, exchange_json, fetch_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import httpx2

    from mcpauth_middleware.principal import Principal
    from mcpauth_middleware.tokens.client_credentials import ClientCredentials

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  the name of a kind of token

MAX_ENTRIES = 10_000
MAX_CALLS = 100
MARGIN_SECONDS = 10
"""A token that is given out has at least so long to live."""
MAX_LIFETIME_SECONDS = 2**31
DEADLINE_SECONDS = 10.0

_OK = 200
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
"""RFC 6749 §A.12, without the space: it goes into a header, of which no server takes a longer one."""
_CODE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_AUDIENCE = re.compile(r"[\x21-\x7e]+")


class UpstreamRefused(Exception):
    """The authorization server does not give such a token; `error` is its code (RFC 8693 §2.2.2)."""

    def __init__(self, error: str) -> None:
        super().__init__(f"the authorization server refused the token exchange: {error}")
        self.error = error


class UpstreamUnavailable(Exception):
    """The authorization server cannot be asked now, or gave no answer that can be used."""


@dataclass(frozen=True, slots=True)
class UpstreamToken:
    """A token for another resource."""

    value: str = field(repr=False)
    resource: str
    expires_at: float

    @property
    def authorization(self) -> str:
        """The Authorization header for requests to that resource, and to no other."""
        return f"Bearer {self.value}"


class TokenExchange:
    """Gets tokens for other resources, in the name of whoever is calling a tool.

    Give it to `McpAuthMiddleware(..., upstream=...)`, and in a tool:

        token = await upstream.token("https://api.example.com", scopes=["calendar:read"])
        await http.get(..., headers={"Authorization": token.authorization})

    Only this object knows the callers' tokens, each as long as its request is being handled.

    Args:
        issuer: The authorization server, which must be the issuer of the callers' tokens.
        credentials: The client that this server is there.
        http_client: How the authorization server is reached; None: a client of its own.
        now: The clock, in epoch seconds.

    Raises:
        ValueError: the issuer cannot be one.
    """

    def __init__(
        self,
        issuer: str,
        credentials: ClientCredentials,
        *,
        http_client: httpx2.AsyncClient | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        with naming("issuer"):
            check_issuer(issuer)
        self.issuer = issuer
        """The authorization server, whose tokens these are."""
        self._authorization = credentials.authorization()
        self._http_client = http_client
        self._now = now
        self._callers = _CallersTokens()
        self._exchanged: BoundedCache[UpstreamToken] = BoundedCache(max_entries=MAX_ENTRIES, now=now)
        self._calls: SharedCalls[UpstreamToken] = SharedCalls(Background(), max_calls=MAX_CALLS)

        async def fetch(url: str) -> Mapping[str, Any]:
            return await fetch_json(url, client=http_client)

        self._endpoint = DiscoveredUrl(issuer, "token_endpoint", fetch=fetch, now=now)

    def keep(self, principal: Principal, token: str) -> None:
        """Remember the caller's token as long as its principal is in use. The middleware calls this."""
        if principal.issuer == self.issuer:
            self._callers.keep(principal, token)

    async def token(
        self,
        resource: str,
        *,
        scopes: Collection[str] = (),
        audience: str | None = None,
        principal: Principal | None = None,
    ) -> UpstreamToken:
        """A token for another resource, for the caller of this tool or the principal given.

        `audience` is sent in place of `resource`, to servers that know the other API by a name of their own
        (RFC 8693 §2.1). The token is still for requests to `resource`, and to no other.

        Raises:
            LookupError: no request is being handled, or its token is of another issuer.
            ValueError: the resource is none, or this server itself; or a scope or the audience is none.
            UpstreamRefused: the user or the operator did not allow it.
            UpstreamUnavailable: try again later.
        """
        caller = principal or current_principal()
        target = _other_resource(resource, caller)
        where = _target(target, audience)
        wanted = _scopes(scopes)
        subject_token = self._callers.of(caller)
        form = {
            "grant_type": GRANT_TYPE,
            "subject_token": subject_token,
            "subject_token_type": ACCESS_TOKEN,
            "requested_token_type": ACCESS_TOKEN,
            **where,
            **({"scope": wanted} if wanted else {}),
        }
        asked = "\0".join((target, *form, *form.values()))
        key = hashlib.sha256(asked.encode(errors="surrogatepass")).digest()
        if (known := self._exchanged.get(key)) is not None:
            return known
        work = partial(self._exchange, key, form, target, caller)
        try:
            return await self._calls.result(key, work)
        except (FetchFailed, CallCancelled, TooManyCalls) as error:
            raise UpstreamUnavailable(f"no token exchange: {error}") from None

    async def _exchange(
        self, key: bytes, form: Mapping[str, str], resource: str, caller: Principal
    ) -> UpstreamToken:
        request = JsonRequest(
            await self._endpoint.get(),
            method="POST",
            headers={"Authorization": self._authorization},
            form=form,
            deadline=DEADLINE_SECONDS,
        )
        try:
            answer = await exchange_json(request, client=self._http_client)
            if answer.status != _OK:
                raise _refusal(answer)
            token = _granted(answer.document(), resource, form["subject_token"], now=self._now())
        except FetchFailed:
            self._endpoint.doubt()
            raise
        if _is_for(token.value, caller.resource):
            raise FetchFailed(
                "the answer's token is good at this server too, so that the other one could use it here"
            )
        # No longer than the caller's own token: whoever still has its principal has it exchanged anew.
        self._exchanged.put(key, token, until=min(token.expires_at - MARGIN_SECONDS, caller.expires_at))
        return token


class _CallersTokens:
    """Tokens by the very principal they were verified for, and gone with it."""

    def __init__(self) -> None:
        self._tokens: dict[int, tuple[weakref.ref[Principal], str]] = {}

    def keep(self, principal: Principal, token: str) -> None:
        number = id(principal)
        self._tokens[number] = (weakref.ref(principal, lambda _: self._tokens.pop(number, None)), token)

    def of(self, principal: Principal) -> str:
        kept = self._tokens.get(id(principal))
        if kept is None or kept[0]() is not principal:
            raise LookupError(
                "no token to exchange: give this TokenExchange to McpAuthMiddleware(upstream=...), "
                "with the issuer of the callers' tokens"
            )
        return kept[1]


def _other_resource(resource: str, caller: Principal) -> str:
    with naming("resource"):
        target = canonical_resource(resource)
    if target == caller.resource:
        raise ValueError("resource: is this server itself; name the one to be called")
    return target


def _target(resource: str, audience: str | None) -> dict[str, str]:
    """What the authorization server is told that the token is for."""
    if audience is None:
        return {"resource": resource}
    if not _AUDIENCE.fullmatch(audience):
        raise ValueError(f"audience: must be the name that the authorization server knows (got {audience!r})")
    return {"audience": audience}


def _scopes(scopes: Collection[str]) -> str:
    if isinstance(scopes, str):
        raise ValueError(f"scopes: give a list, [{scopes!r}]")  # noqa: TRY004  as options do
    for scope in scopes:
        if not is_scope(scope):
            raise ValueError(f"scopes: not a scope (RFC 6749 §3.3): {scope!r}")
    return " ".join(sorted(set(scopes)))


def _refusal(answer: JsonAnswer) -> Exception:
    if answer.status not in (400, 401, 403):
        return FetchFailed(f"{answer.url}: status {answer.status}")
    error = answer.document().get("error")
    # Of the server's words only the code: a description could have anything in it.
    return UpstreamRefused(error if isinstance(error, str) and _CODE.fullmatch(error) else "refused")


def _is_for(token: str, resource: str) -> bool:
    """Whether a token names the resource as its audience, as far as that can be read."""
    try:
        check_audience(read_compact(token).claims, spellings(resource))
    except InvalidToken:
        return False
    return True


def _granted(document: Mapping[str, Any], resource: str, subject_token: str, *, now: float) -> UpstreamToken:
    value, lifetime = document.get("access_token"), document.get("expires_in", 0)
    kind, scheme = document.get("issued_token_type", ACCESS_TOKEN), document.get("token_type")
    if kind != ACCESS_TOKEN or str(scheme).lower() != "bearer":
        raise FetchFailed("the answer has no bearer access token")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise FetchFailed("the answer's access_token cannot be a token")
    if value == subject_token:
        raise FetchFailed("the answer is the caller's own token")
    if type(lifetime) is not int or not 0 <= lifetime <= MAX_LIFETIME_SECONDS:
        raise FetchFailed("the answer's expires_in is not a number of seconds")
    return UpstreamToken(value, resource, now + lifetime)
