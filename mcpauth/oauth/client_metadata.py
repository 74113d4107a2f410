"""Client metadata, RFC 7591 §2: what a client says about itself, checked, completed and cut to what we keep.

Unknown members are ignored and not echoed (§2), null and empty ones count as absent, and grant and response
types that this server does not know are left out, not refused: clients list all they could do anywhere.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from mcpauth.oauth.client_keys import SIGNING_ALGORITHMS, check_keys
from mcpauth.oauth.dpop import CLIENT_MEMBER
from mcpauth.oauth.errors import InvalidClientMetadata, InvalidRedirectUri
from mcpauth.oauth.redirect_uri import PRIVATE_USE_SCHEMES, check_redirect_uri, is_native
from mcpauth.oauth.resource_registry import SCOPE_TOKEN

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
# What a client gets that names none.
DEFAULT_GRANT_TYPES = ("authorization_code", "refresh_token")
GRANT_TYPES = (*DEFAULT_GRANT_TYPES, DEVICE_CODE)
# How a user comes to allow a client something.
BEGINNINGS = frozenset({"authorization_code", DEVICE_CODE})
RESPONSE_TYPES = ("code",)
PUBLIC = "none"
PRIVATE_KEY_JWT = "private_key_jwt"
AUTH_METHODS = (PUBLIC, "client_secret_basic", "client_secret_post", PRIVATE_KEY_JWT)
APPLICATION_TYPES = ("native", "web")

MAX_REDIRECT_URIS = 20
MAX_ITEMS = 50
MAX_NAME = 200
MAX_TEXT = 2000

URL_MEMBERS = ("client_uri", "logo_uri", "tos_uri", "policy_uri")
SWITCHES = (CLIENT_MEMBER, "require_pushed_authorization_requests")  # RFC 9449 §5.2, RFC 9126 §6
TEXT_MEMBERS = ("software_id", "software_version")
# No user information: `https://known.example@other.example` reads like the one and leads to the other.
WEB_URL = re.compile(
    r"https?://[A-Za-z0-9\[][A-Za-z0-9.\-:\]]*(?:[/?#][A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*)?"
)
# Controls, bidi and other invisible formatting, surrogates, private use, line and paragraph separators.
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class ClientMetadata:
    """Checked metadata. `rest` is what is kept only to be told back."""

    redirect_uris: tuple[str, ...]
    client_name: str
    grant_types: tuple[str, ...]
    token_endpoint_auth_method: str
    scope: str | None
    client_uri: str | None
    rest: Mapping[str, Any]

    @property
    def is_public(self) -> bool:
        """Whether the client gets no secret (RFC 6749 §2.1)."""
        return self.token_endpoint_auth_method == PUBLIC

    @property
    def has_secret(self) -> bool:
        """Whether it proves itself with a secret that this server gives it."""
        return self.token_endpoint_auth_method.startswith("client_secret_")


def check_client_metadata(
    metadata: object,
    *,
    scopes: Collection[str] | None = None,
    private_use_schemes: Collection[str] = PRIVATE_USE_SCHEMES,
    grant_types: Collection[str] = GRANT_TYPES,
) -> ClientMetadata:
    """Check the metadata of a registration; `scopes` are those this server knows, None lets all pass.

    `grant_types` are those that clients can register for here.

    Raises:
        InvalidRedirectUri: there is no redirect URI where one is needed, or one that must not be registered.
        InvalidClientMetadata: not a JSON object, a wrong type, too long, nothing left that we can do.
    """
    if not isinstance(metadata, dict):
        raise InvalidClientMetadata("the client metadata is not a JSON object")
    members = {
        name: value for name, value in cast("dict[str, Any]", metadata).items() if value not in (None, "", [])
    }
    usable = _grant_types(members, grant_types)
    redirects = "authorization_code" in usable
    redirect_uris = _redirect_uris(members, private_use_schemes, needed=redirects)
    urls = {name: _url(members, name) for name in URL_MEMBERS}
    return ClientMetadata(
        redirect_uris=redirect_uris,
        client_name=_client_name(members),
        grant_types=usable,
        token_endpoint_auth_method=_auth_method(members, redirect_uris),
        scope=_scope(members, scopes),
        client_uri=urls.pop("client_uri"),
        rest=_present(
            urls
            | {name: visible(_text(members, name) or "") for name in TEXT_MEMBERS}
            | {name: _switch(members, name) for name in SWITCHES}
            | {
                "response_types": _response_types(members) if redirects else [],
                "application_type": _application_type(members),
                "contacts": [visible(contact) for contact in _texts(members, "contacts")],
            }
            | _keys(members)
        ),
    )


def _present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value}


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise InvalidClientMetadata(f"{name} is not a text of at most {MAX_TEXT} characters")
    return value


def _switch(members: Mapping[str, Any], name: str) -> bool:
    value = members.get(name, False)
    if not isinstance(value, bool):
        raise InvalidClientMetadata(f"{name} is not true or false")
    return value


def _texts(members: Mapping[str, Any], name: str) -> list[str]:
    values: Any = members.get(name, [])
    if not isinstance(values, list):
        raise InvalidClientMetadata(f"{name} is not a list")
    items = cast("list[object]", values)
    if len(items) > MAX_ITEMS or not all(isinstance(item, str) and len(item) <= MAX_TEXT for item in items):
        raise InvalidClientMetadata(f"{name} is not a list of at most {MAX_ITEMS} texts")
    return cast("list[str]", items)


def _url(members: Mapping[str, Any], name: str) -> str | None:
    # Only ever shown or linked, never fetched; the scheme matters because a link could run a script.
    value = _text(members, name)
    if value is not None and not WEB_URL.fullmatch(value):
        raise InvalidClientMetadata(f"{name} is not an http or https URL")
    return value


def _redirect_uris(
    members: Mapping[str, Any], private_use_schemes: Collection[str], *, needed: bool
) -> tuple[str, ...]:
    if "redirect_uris" not in members and needed:
        raise InvalidRedirectUri("redirect_uris is missing: the authorization code grant needs one")
    redirect_uris = tuple(_texts(members, "redirect_uris"))
    if len(redirect_uris) > MAX_REDIRECT_URIS:
        raise InvalidRedirectUri(f"redirect_uris has more than {MAX_REDIRECT_URIS} entries")
    for uri in redirect_uris:
        check_redirect_uri(uri, private_use_schemes=private_use_schemes)
    return redirect_uris


def _client_name(members: Mapping[str, Any]) -> str:
    value = members.get("client_name", "")
    if not isinstance(value, str):
        raise InvalidClientMetadata("client_name is not a text")
    return visible(value)[:MAX_NAME].rstrip()


def visible(text: str) -> str:
    """The text without what misleads a reader unseen (bidi overrides, controls), in single spaces."""
    kept = (char for char in text if unicodedata.category(char) not in INVISIBLE or char.isspace())
    return " ".join("".join(kept).split())


def _grant_types(members: Mapping[str, Any], offered: Collection[str]) -> tuple[str, ...]:
    # RFC 7591 §2 lets absent mean authorization_code alone, and §3.2.1 lets the server choose: clients that
    # leave it out want to refresh all the same.
    asked = _texts(members, "grant_types") or DEFAULT_GRANT_TYPES
    usable = tuple(grant_type for grant_type in offered if grant_type in asked)
    if not BEGINNINGS & set(usable):
        raise InvalidClientMetadata("grant_types has none here by which a user can allow the client anything")
    return usable


def _response_types(members: Mapping[str, Any]) -> list[str]:
    asked = _texts(members, "response_types") or RESPONSE_TYPES
    if "code" not in asked:
        raise InvalidClientMetadata("response_types has no code")
    return list(RESPONSE_TYPES)


def _auth_method(members: Mapping[str, Any], redirect_uris: Collection[str]) -> str:
    method = _text(members, "token_endpoint_auth_method")
    if method is None:
        # A program on the user's device cannot keep a secret (RFC 8252 §8.5), so it gets none.
        return PUBLIC if all(is_native(uri) for uri in redirect_uris) else "client_secret_basic"
    if method not in AUTH_METHODS:
        raise InvalidClientMetadata("token_endpoint_auth_method is not one of this server's")
    return method


def _keys(members: Mapping[str, Any]) -> dict[str, Any]:
    keys = check_keys(members)
    if members.get("token_endpoint_auth_method") != PRIVATE_KEY_JWT:
        return keys
    if not keys:
        raise InvalidClientMetadata("private_key_jwt needs jwks or jwks_uri")
    algorithm = _text(members, "token_endpoint_auth_signing_alg")
    if algorithm is None:
        return keys
    if algorithm not in SIGNING_ALGORITHMS:
        raise InvalidClientMetadata("token_endpoint_auth_signing_alg is not one of this server's")
    return keys | {"token_endpoint_auth_signing_alg": algorithm}


def _application_type(members: Mapping[str, Any]) -> str | None:
    # Told back, and not used: whether a client is native shows in its redirect URIs, and many do not send it.
    value = _text(members, "application_type")
    return value if value in APPLICATION_TYPES else None


def _scope(members: Mapping[str, Any], scopes: Collection[str] | None) -> str | None:
    value = _text(members, "scope")
    names = (value or "").split()
    known = (
        name for name in names if (name in scopes if scopes is not None else SCOPE_TOKEN.fullmatch(name))
    )
    return " ".join(dict.fromkeys(known)) or None
