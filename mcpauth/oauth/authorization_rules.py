"""What an authorization request is held against, RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.1.

The order of the checks decides who may be told about an error: while the client or its redirect URI is in
doubt only the user, after that the client.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mcpauth.oauth.authorization_request import AuthorizationRequest
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
from mcpauth.oauth.pkce import is_s256_challenge
from mcpauth.oauth.sign_in_demands import SignInDemands

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from mcpauth.oauth.client import Client, KnownClients
    from mcpauth.oauth.resource_registry import ResourceRegistry

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
