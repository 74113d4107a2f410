"""Authorization requests, RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.1: checked and kept.

The first GET of /authorize only stores: clients probe the address before they open a browser. What follows
(sign-in, consent) happens to the one stored record: no form has to carry the request, and none can change it.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from mcpauth.oauth.dpop import checked_thumbprint
from mcpauth.oauth.errors import (
    InvalidClient,
    InvalidRequest,
    OAuthError,
    RequestNotSupported,
    RequestUriNotSupported,
    UnauthorizedClient,
    UnsupportedResponseType,
)
from mcpauth.oauth.form import Form, repeated_names
from mcpauth.oauth.identity import asked_permissions
from mcpauth.oauth.permission import Permission, limited, permissions_of
from mcpauth.oauth.pkce import is_s256_challenge
from mcpauth.oauth.random_text import random_text
from mcpauth.oauth.sign_in_demands import NO_DEMANDS, SignInDemands
from mcpauth.oauth.store import Record, Store, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from mcpauth.oauth.client import Client, KnownClients
    from mcpauth.oauth.resource_registry import ResourceRegistry

KIND = "authorization_request"

MAX_HINT = 200


class NoRedirect(OAuthError):
    """The client or its redirect URI cannot be trusted: tell the user, never redirect (RFC 6749 §4.1.2.1)."""

    def __init__(self, error: OAuthError) -> None:
        self.code = error.code
        super().__init__(error.description, status=400 if error.status_code == 401 else error.status_code)


class RedirectError(Exception):
    """Anything else that is wrong with a request: the client is told at its redirect URI."""

    def __init__(self, error: OAuthError, redirect_uri: str, state: str | None, client_id: str) -> None:
        super().__init__(error.code)
        self.error = error
        self.redirect_uri = redirect_uri
        self.state = state
        self.client_id = client_id


@dataclass(frozen=True, slots=True)
class AuthorizationRules:
    """What this server holds requests against.

    `acr_values_supported` are the kinds of sign-in that there are. With `pushed_only`, clients have to hand
    in their requests themselves (RFC 9126 §5). Without `dpop`, no code is bound to a key.
    """

    registry: ResourceRegistry
    acr_values_supported: tuple[str, ...] = ()
    pushed_only: bool = False
    dpop: bool = True


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


async def check_authorization_request(
    params: Iterable[tuple[str, str]],
    *,
    clients: KnownClients,
    rules: AuthorizationRules,
    browser: str,
    now: float,
    pushed: str | None = None,
) -> AuthorizationRequest:
    """Check the parameters of /authorize, in the order that decides who may be told about an error.

    `pushed` says which pushed request they are, None that the browser brought them; where requests have to be
    pushed, that is refused.

    Raises:
        NoRedirect: the client or its redirect URI is unknown, repeated or missing, or a parameter has a NUL.
        RedirectError: anything else.
    """
    pairs = tuple(params)
    try:
        client = await _known_client(pairs, clients)
    except OAuthError as error:
        raise NoRedirect(error) from error
    refused = pushed is None and (rules.pushed_only or client.pushes_only)
    checked = check_request_of(client, pairs, rules=rules, browser=browser, now=now, pushed_only=refused)
    return replace(checked, pushed=pushed)


def check_request_of(
    client: Client,
    pairs: Sequence[tuple[str, str]],
    *,
    rules: AuthorizationRules,
    browser: str,
    now: float,
    pushed_only: bool = False,
) -> AuthorizationRequest:
    """Check the parameters of a request that is this client's, also where it pushes it (RFC 9126 §2.1).

    Raises:
        NoRedirect, RedirectError: as `check_authorization_request`.
    """
    repeated = repeated_names(pairs)
    try:
        redirect_uri, given = _redirect_uri(pairs, repeated, client)
    except OAuthError as error:
        raise NoRedirect(error) from error
    state = None if "state" in repeated else _first(pairs, "state")
    try:
        if pushed_only:
            raise InvalidRequest("the request has to be pushed")  # RFC 9126 §4, §5, §6
        form = Form(pairs)
        _check_response_type(form, client)
        code_challenge = _code_challenge(form)
        asked = asked_permissions(form, client, rules.registry)
        demands = SignInDemands.of(form, acr_values_supported=rules.acr_values_supported)
        dpop_jkt = checked_thumbprint(form.optional("dpop_jkt")) if rules.dpop else None
    except OAuthError as error:
        raise RedirectError(error, redirect_uri, state, client.client_id) from error
    return AuthorizationRequest(
        client_id=client.client_id,
        redirect_uri=redirect_uri,
        redirect_uri_given=given,
        asked=asked,
        code_challenge=code_challenge,
        state=state,
        login_hint=_login_hint(form),
        created_at=int(now),
        browser=browser,
        demands=demands,
        nonce=form.optional("nonce"),
        dpop_jkt=dpop_jkt,
    )


def _first(pairs: Iterable[tuple[str, str]], name: str) -> str | None:
    return next((value for key, value in pairs if key == name and value), None)


async def _known_client(pairs: Sequence[tuple[str, str]], clients: KnownClients) -> Client:
    """The client that the request names."""
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise InvalidRequest("a parameter has a NUL character")
    if "client_id" in repeated_names(pairs):
        raise InvalidRequest("client_id is repeated")
    client_id = _first(pairs, "client_id")
    if client_id is None:
        raise InvalidRequest("client_id is missing")
    client = await clients.get(client_id)
    if client is None:
        raise InvalidClient("the client is not registered here")
    return client


def _redirect_uri(
    pairs: Sequence[tuple[str, str]], repeated: Collection[str], client: Client
) -> tuple[str, bool]:
    """Where the answer goes, and whether the request said so."""
    if "redirect_uri" in repeated:
        raise InvalidRequest("redirect_uri is repeated")
    redirect_uri = _first(pairs, "redirect_uri")
    if redirect_uri is None:
        if len(client.redirect_uris) != 1:
            raise InvalidRequest("redirect_uri is missing, and the client has registered several")
        return client.redirect_uris[0], False
    if not client.redirects_to(redirect_uri):
        raise InvalidRequest("the redirect_uri is not registered for this client")
    return redirect_uri, True


def _check_response_type(form: Form, client: Client) -> None:
    if form.optional("request") is not None:
        raise RequestNotSupported("request objects are not taken")
    if form.optional("request_uri") is not None:
        raise RequestUriNotSupported("request objects are not taken")
    if form.required("response_type") != "code":
        raise UnsupportedResponseType("the only response_type is code")
    if form.optional("response_mode") not in (None, "query"):
        raise InvalidRequest("the only response_mode is query")
    if "authorization_code" not in client.grant_types:
        raise UnauthorizedClient("the client is not registered for authorization codes")


def _code_challenge(form: Form) -> str:
    challenge = form.required("code_challenge")
    # RFC 7636 §4.3: absent means plain, which shows the verifier to whoever sees the request.
    if form.optional("code_challenge_method") != "S256":
        raise InvalidRequest("code_challenge_method must be S256")
    if not is_s256_challenge(challenge):
        raise InvalidRequest("code_challenge is not the base64url of a SHA-256")
    return challenge


def _login_hint(form: Form) -> str | None:
    # A hint fills in a field of the sign-in page: too long or with controls, it is no hint.
    hint = form.optional("login_hint")
    return hint if hint is not None and len(hint) <= MAX_HINT and hint.isprintable() else None
