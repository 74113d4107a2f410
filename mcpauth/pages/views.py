"""What each page says, as data: the endpoints fill it in, the templates show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol
from urllib.parse import urlsplit

from mcpauth.oauth.client_id_metadata_document import SOURCE
from mcpauth.oauth.https_url import https_url
from mcpauth.oauth.redirect_uri import LOOPBACK_HOSTS, WEB, is_native
from mcpauth.pages.text import shown

if TYPE_CHECKING:
    from collections.abc import Collection

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.resource_registry import Resource, Scope


class View(Protocol):
    """What can be shown: it knows its template."""

    template: ClassVar[str]


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What a user should know about a client before trusting it."""

    name: str
    home: str
    """Where it runs: on this computer or on the web."""
    returns_to: str | None
    """Where the browser goes afterwards: host and port, or the scheme of an application; None for a device
    elsewhere, to which no browser can go."""
    vouched_for: bool
    """An operator registered it; otherwise its name is its own claim."""
    local: bool
    """It lives on the user's computer, where any program can pass for it."""
    host: str | None = None
    """Where it describes itself, which was fetched from there; None for a client that is registered here."""

    @classmethod
    def of(cls, client: Client, redirect_uri: str | None) -> ClientFacts:
        """The facts for one authorization request; that of a device has no redirect URI."""
        return cls(
            name=shown(client.client_name) or "An application without a name",
            home=_home(redirect_uri) if redirect_uri is not None else "On another device",
            returns_to=_returns_to(redirect_uri) if redirect_uri is not None else None,
            vouched_for=client.source == "pre-registered",
            local=redirect_uri is not None and is_native(redirect_uri),
            host=https_url(client.client_id).host if client.source == SOURCE else None,
        )


@dataclass(frozen=True, slots=True)
class SignInView:
    """The sign-in page."""

    template: ClassVar[str] = "sign_in"

    client: ClientFacts
    request_id: str
    csrf: str
    username: str = ""
    problem: str | None = None


FIELD = "scope "
"""What the names of the consent form's checkboxes begin with."""


@dataclass(frozen=True, slots=True)
class AskedScope:
    """A scope with its checkbox."""

    scope: Scope
    field: str


@dataclass(frozen=True, slots=True)
class AskedAt:
    """What is asked for at one resource. `is_identity`: it is who the user is, and at no server of others."""

    resource: Resource
    scopes: tuple[AskedScope, ...]
    is_identity: bool = False

    @classmethod
    def of(
        cls, number: int, resource: Resource, names: Collection[str], *, is_identity: bool = False
    ) -> AskedAt:
        """The scopes of these names; the number tells those of two resources apart that have one name."""
        scopes = tuple(scope for scope in resource.scopes if scope.name in names)
        asked = tuple(AskedScope(scope, f"{FIELD}{number} {scope.name}") for scope in scopes)
        return cls(resource, asked, is_identity)


@dataclass(frozen=True, slots=True)
class ConsentView:
    """The consent page."""

    template: ClassVar[str] = "consent"

    client: ClientFacts
    asked: tuple[AskedAt, ...]
    """At least one: servers, or the identity, or both."""
    username: str
    request_id: str
    csrf: str
    user_code: str | None = None
    """What the device shows that asks, if one does."""

    @property
    def servers(self) -> tuple[AskedAt, ...]:
        """Whose use is asked for."""
        return tuple(each for each in self.asked if not each.is_identity)

    @property
    def identity(self) -> bool:
        """Whether it is asked who the user is."""
        return len(self.servers) < len(self.asked)


@dataclass(frozen=True, slots=True)
class UserCodeView:
    """The page at which the code of a device is entered."""

    template: ClassVar[str] = "user_code"

    csrf: str
    user_code: str = ""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceDecidedView:
    """The last page: everything else happens on the device."""

    template: ClassVar[str] = "device_decided"

    allowed: bool


@dataclass(frozen=True, slots=True)
class ErrorView:
    """An error page: what happened, what the reader can do, and the code for whoever looks into it."""

    template: ClassVar[str] = "error"

    title: str
    text: str
    advice: tuple[str, ...] = ()
    code: str | None = None
    description: str | None = None


def _home(redirect_uri: str) -> str:
    web = WEB.fullmatch(redirect_uri)
    if web is None:
        return "Installed on this computer"
    return "Runs on this computer" if web["host"] in LOOPBACK_HOSTS else "Runs on the web"


def _returns_to(redirect_uri: str) -> str:
    parts = urlsplit(redirect_uri)
    return parts.netloc.lower() if parts.scheme in {"http", "https"} else f"{parts.scheme}:"
