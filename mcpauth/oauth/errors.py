"""The error codes of RFC 6749 §5.2 and its companions, one class a code, each with its HTTP status.

RFC 6749 §4.1.2.1 and §5.2, RFC 7591 §3.2.2, RFC 8628 §3.5, RFC 8707 §2, RFC 9449 §5, OpenID Connect Core
§3.1.2.6. Raise one where the rule is broken; `mcpauth.web.responses` turns it into an answer. The description
is a constant text for the client's developer: nothing of the request goes into it, and Authlib's base class
refuses characters outside RFC 6749 §5.2.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from authlib.oauth2.base import OAuth2Error

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class OAuthError(OAuth2Error):
    """What all errors of this server have: `code` (on the wire: `error`), `description`, `status_code`."""

    code: str = "server_error"
    status: int = 400

    def __init__(
        self, description: str, *, status: int | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        # Authlib's stubs leave some parameters of its constructor untyped.
        super().__init__(description=description, error=self.code)  # pyright: ignore[reportUnknownMemberType]
        self.error = self.code
        self.status_code = self.status if status is None else status
        self.headers = headers


class InvalidRequest(OAuthError):
    """A parameter is missing, repeated or malformed."""

    code = "invalid_request"


class InvalidClient(OAuthError):
    """The client is unknown, or did not prove who it is (RFC 6749 §5.2: 401)."""

    code = "invalid_client"
    status = 401


class InvalidGrant(OAuthError):
    """The code or refresh token is unknown, expired, spent, revoked, or another client's."""

    code = "invalid_grant"


class UnauthorizedClient(OAuthError):
    """The client may not use this grant type."""

    code = "unauthorized_client"


class UnsupportedGrantType(OAuthError):
    """The server does not know the grant type."""

    code = "unsupported_grant_type"


class UnsupportedResponseType(OAuthError):
    """The server answers only `response_type=code`."""

    code = "unsupported_response_type"


class InvalidScope(OAuthError):
    """The scope is malformed, unknown, or more than was granted."""

    code = "invalid_scope"


class InvalidTarget(OAuthError):
    """RFC 8707 §2: the resource is malformed, unknown, or not the one that was granted."""

    code = "invalid_target"


class AccessDenied(OAuthError):
    """The user, or the server for them, said no."""

    code = "access_denied"
    status = 403


class AuthorizationPending(OAuthError):
    """RFC 8628 §3.5: the user has not decided yet; ask again after the interval."""

    code = "authorization_pending"


class SlowDown(AuthorizationPending):
    """RFC 8628 §3.5: the same, and the device asked too early; its interval is five seconds longer now."""

    code = "slow_down"


class ExpiredToken(OAuthError):
    """RFC 8628 §3.5: the device_code has expired."""

    code = "expired_token"


class LoginRequired(OAuthError):
    """OpenID Connect Core §3.1.2.6: `prompt=none`, and nobody is signed in."""

    code = "login_required"


class ConsentRequired(OAuthError):
    """OpenID Connect Core §3.1.2.6: `prompt=none`, and the user has to be asked."""

    code = "consent_required"


class RequestNotSupported(OAuthError):
    """OpenID Connect Core §3.1.2.6: request objects (RFC 9101) are not taken."""

    code = "request_not_supported"


class RequestUriNotSupported(OAuthError):
    """OpenID Connect Core §3.1.2.6: request objects by reference are not taken."""

    code = "request_uri_not_supported"


class InvalidRequestUri(OAuthError):
    """RFC 9101 §7: the request_uri leads to no authorization request of this client."""

    code = "invalid_request_uri"


class ServerError(OAuthError):
    """Something broke here; the log has the details."""

    code = "server_error"
    status = 500


class TemporarilyUnavailable(OAuthError):
    """Try again in a moment."""

    code = "temporarily_unavailable"
    status = 503


class InvalidToken(OAuthError):
    """RFC 6750 §3.1: no Bearer token, or one that is not good for this."""

    code = "invalid_token"
    status = 401

    def __init__(self, description: str) -> None:
        super().__init__(description, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


class InvalidDpopProof(OAuthError):
    """RFC 9449 §5: the proof of possession is missing or not good for this request."""

    code = "invalid_dpop_proof"


class UseDpopNonce(OAuthError):
    """RFC 9449 §8: the proof needs the nonce that comes with this answer."""

    code = "use_dpop_nonce"

    def __init__(self, nonce: str, *, status: int | None = None) -> None:
        headers = {"DPoP-Nonce": nonce}
        if status == 401:
            headers["WWW-Authenticate"] = 'DPoP error="use_dpop_nonce"'
        super().__init__("put the nonce of this answer into the proof", status=status, headers=headers)
        self.nonce = nonce


class InsufficientScope(OAuthError):
    """RFC 6750 §3.1: the token is good, and lacks a scope."""

    code = "insufficient_scope"
    status = 403

    def __init__(self, scope: str) -> None:
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        super().__init__("the token lacks a scope", headers={"WWW-Authenticate": challenge})


class UnmetAuthenticationRequirements(OAuthError):
    """RFC 9470 §5: no way to sign in here is what the client demands."""

    code = "unmet_authentication_requirements"


class InvalidRedirectUri(OAuthError):
    """RFC 7591 §3.2.2: a redirect URI that cannot be registered."""

    code = "invalid_redirect_uri"


class InvalidClientMetadata(OAuthError):
    """RFC 7591 §3.2.2: any other member that cannot be registered."""

    code = "invalid_client_metadata"
