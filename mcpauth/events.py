"""What happened, as data: the audit journal, or anyone else, listens.

Events carry what an operator needs and a client must not be told (which check failed, whose grant ended).
None carries a code, token, secret or verifier.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

ClientAuthenticationFailure: TypeAlias = Literal["unknown_client", "wrong_method", "wrong_secret"]

logger = logging.getLogger(__name__)

RevocationReason: TypeAlias = Literal[
    "client", "code_reused", "device_code_reused", "refresh_token_reused", "user", "operator"
]


@dataclass(frozen=True, slots=True)
class Event:
    """What every event is."""

    refused: ClassVar[bool] = False
    """Whether somebody asked in vain: the journal says so."""


@dataclass(frozen=True, slots=True)
class SignedIn(Event):
    """A user proved who they are."""

    user_id: str
    method: str


@dataclass(frozen=True, slots=True)
class SignInFailed(Event):
    """Somebody did not. `login` is what they typed, as far as it may be recorded."""

    refused = True

    login: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ConsentGiven(Event):
    """A user let a client act for them; `grant_id` is what came of it. `allowed`: scopes by resource."""

    user_id: str
    client_id: str
    allowed: Mapping[str, tuple[str, ...]]
    grant_id: str


@dataclass(frozen=True, slots=True)
class ConsentDenied(Event):
    """A user said no. `asked`: scopes by resource."""

    refused = True

    user_id: str
    client_id: str
    asked: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class AuthorizationRefused(Event):
    """An authorization request was not let in. `redirected`: the client was told, not only the user."""

    refused = True

    client_id: str | None
    error: str
    description: str
    redirected: bool


@dataclass(frozen=True, slots=True)
class AuthorizationPushed(Event):
    """A client handed in an authorization request (RFC 9126)."""

    client_id: str


@dataclass(frozen=True, slots=True)
class AuthorizationPushRefused(Event):
    """A client tried to, and the request was not let in."""

    refused = True

    client_id: str
    error: str
    description: str


@dataclass(frozen=True, slots=True)
class TokenIssued(Event):
    """A code, of an authorization or of a device, became tokens."""

    client_id: str
    user_id: str
    grant_id: str
    resource: str
    scopes: tuple[str, ...]
    token_id: str
    refresh_token: bool


@dataclass(frozen=True, slots=True)
class TokenRefreshed(Event):
    """A refresh token became new tokens."""

    client_id: str
    user_id: str
    grant_id: str
    resource: str
    scopes: tuple[str, ...]
    token_id: str


@dataclass(frozen=True, slots=True)
class RefreshRepeated(Event):
    """A refresh token that had just been used got the same answer again; nothing new was issued."""

    client_id: str
    user_id: str
    grant_id: str


@dataclass(frozen=True, slots=True)
class ClientTokenIssued(Event):
    """A client got an access token in its own name."""

    client_id: str
    resource: str
    scopes: tuple[str, ...]
    token_id: str


@dataclass(frozen=True, slots=True)
class AssertionTokenIssued(Event):
    """An assertion (RFC 7523) became an access token: `subject` of `issuer` is the user here, or the client.

    User and grant are None where a workload got it in its own name.
    """

    client_id: str
    user_id: str | None
    grant_id: str | None
    issuer: str
    subject: str
    assertion_id: str | None
    resource: str
    scopes: tuple[str, ...]
    token_id: str


@dataclass(frozen=True, slots=True)
class AssertionRefused(Event):
    """An assertion did not. `reason` says what the answer must not.

    What it says of itself is cut to a length that a journal can bear, and is its issuer's word only if
    `proved`.
    """

    refused = True

    client_id: str
    issuer: str | None
    subject: str | None
    assertion_id: str | None
    proved: bool
    reason: str


@dataclass(frozen=True, slots=True)
class UserProvisioned(Event):
    """Somebody whom an identity provider vouches for became a user."""

    user_id: str
    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class TokenExchanged(Event):
    """A resource server got a token at another resource for the one it was called with (`subject_token_id`).

    `actors` are those who act for the user, the latest first; the last is the client that the user allowed.
    """

    client_id: str
    user_id: str
    grant_id: str
    subject_token_id: str
    resource: str
    scopes: tuple[str, ...]
    token_id: str
    actors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenRefused(Event):
    """An authenticated client asked for tokens in vain. `grant_type` is None when it is no known one."""

    refused = True

    client_id: str
    grant_type: str | None
    error: str
    description: str


@dataclass(frozen=True, slots=True)
class ClientAuthenticationFailed(Event):
    """A request named a client and did not prove it. `reason` says what the answer must not.

    `client_id` is what the request says, cut to a length that a journal can bear.
    """

    refused = True

    client_id: str
    method: str
    reason: ClientAuthenticationFailure
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class CodeReused(Event):
    """An authorization code came back after its use (RFC 6749 §4.1.2); its grant has ended."""

    refused = True

    client_id: str
    user_id: str
    grant_id: str


@dataclass(frozen=True, slots=True)
class DeviceAuthorizationBegun(Event):
    """A device asks (RFC 8628). `asked`: scopes by resource."""

    client_id: str
    asked: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class DeviceAuthorizationRefused(Event):
    """An authenticated client asked for a device in vain."""

    refused = True

    client_id: str
    error: str
    description: str


@dataclass(frozen=True, slots=True)
class UserCodeRefused(Event):
    """Somebody entered a user code that is not good for anything, or too many of them."""

    refused = True

    reason: Literal["wrong", "too_many"]


@dataclass(frozen=True, slots=True)
class DeviceCodeReused(Event):
    """A device code came back after its use (RFC 8628); its grant has ended."""

    refused = True

    client_id: str
    user_id: str
    grant_id: str


@dataclass(frozen=True, slots=True)
class RefreshTokenReused(Event):
    """A rotated refresh token came back (RFC 9700 §4.14.2); its grant has ended."""

    refused = True

    client_id: str
    grant_id: str


@dataclass(frozen=True, slots=True)
class GrantRevoked(Event):
    """A grant ended before its time. Client and user are None when its tokens never came to be."""

    grant_id: str
    client_id: str | None
    user_id: str | None
    reason: RevocationReason


@dataclass(frozen=True, slots=True)
class TokenRevoked(Event):
    """One access token ended before its time; no grant ended with it."""

    client_id: str
    token_id: str


@dataclass(frozen=True, slots=True)
class ClientRegistered(Event):
    """A client came to be, by itself or through an operator."""

    client_id: str
    client_name: str
    redirect_uris: tuple[str, ...]
    source: Literal["pre-registered", "dynamic", "client_id_metadata_document"]


@dataclass(frozen=True, slots=True)
class ClientUpdated(Event):
    """A client changed its registration (RFC 7592 §2.2)."""

    client_id: str
    client_name: str
    redirect_uris: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClientDeleted(Event):
    """A client ended its registration (RFC 7592 §2.3), and every grant to it with it."""

    client_id: str


@dataclass(frozen=True, slots=True)
class RegistrationTokenRefused(Event):
    """The registration access token of one client was used on another (RFC 7592 §2); it has been revoked."""

    refused = True

    client_id: str
    tried: str


@dataclass(frozen=True, slots=True)
class ClientDocumentRefused(Event):
    """A client ID metadata document was not accepted. `reason` says what the client is not told."""

    refused = True

    client_id: str
    error: str
    reason: str


@dataclass(frozen=True, slots=True)
class RegistrationRefused(Event):
    """A registration was not accepted."""

    refused = True

    error: str
    description: str


Listener: TypeAlias = Callable[[Event], Awaitable[None] | None]


class Events:
    """Tells every listener what happened, in order.

    A listener that fails is logged and does not stop the others: what it is told of has happened already.
    """

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    async def emit(self, event: Event) -> None:
        """Tell them."""
        for listener in self._listeners:
            try:
                answer = listener(event)
                if answer is not None:
                    await answer
            except Exception:
                logger.exception("a listener failed on %s", type(event).__name__)
