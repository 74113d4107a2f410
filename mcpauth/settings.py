"""What an operator decides: one frozen, checked object.

`mcpauth.settings_file` reads it from a TOML file and the environment; a program may as well build it by hand
and gets the same checks. The server makes its secrets itself at the first start and keeps them in its store;
the only one that can be set is the key that encrypts them there, and the settings file cannot hold it.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, get_args
from urllib.parse import urlsplit

from mcpauth.oauth.client_metadata import DEVICE_CODE, GRANT_TYPES
from mcpauth.oauth.domain_policy import DomainPolicy
from mcpauth.oauth.encryption_keys import KEY_BYTES, EncryptionKeys
from mcpauth.oauth.identity import identity_resource
from mcpauth.oauth.key_pair import ALGORITHMS, DEFAULT_ALGORITHM
from mcpauth.oauth.redirect_uri import BROWSER_SCHEMES, PRIVATE_USE_SCHEMES
from mcpauth.oauth.resource_registry import Resource, ResourceRegistry
from mcpauth.oauth.token_exchange import ExchangeRule, ExchangeRules
from mcpauth.oauth.trusted_issuers import TrustedIssuers
from mcpauth_middleware.resource import is_loopback_host
from mcpauth_middleware.tokens.dpop import DpopMode

if TYPE_CHECKING:
    from mcpauth.oauth.trusted_issuer import TrustedIssuer

_ISSUER = re.compile(
    r"(?P<scheme>[a-z]+)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9._-]*[a-z0-9])?)(:[0-9]{1,5})?(?P<path>(/[A-Za-z0-9._~-]+)*)"
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
DPOP_MODES: tuple[DpopMode, ...] = get_args(DpopMode)
_LONGEST_ACCESS_TOKEN = timedelta(hours=24)
_LONGEST = timedelta(days=3660)
_LONGEST_REPLAY_WINDOW = timedelta(minutes=5)
_EVERY_DOMAIN = DomainPolicy()


class ConfigurationError(ValueError):
    """A setting is wrong: which one, what it got, and how to mend it.

    `source` is the file or "environment"; it is unknown while a program builds `Settings` by hand.
    """

    def __init__(self, field: str, problem: str, *, source: str | None = None) -> None:
        self.field = field
        self.problem = problem
        self.source = source
        super().__init__(": ".join(part for part in (source, field, problem) if part))


DEFAULT_DATABASE = "mcpauth.db"


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of the authorization server.

    Raises:
        ConfigurationError: a value cannot be right.

    """

    issuer: str
    """Its name, byte for byte: in the metadata, in `iss`, in every token."""
    resources: tuple[Resource, ...] = ()
    default_resource: str | None = None
    """The identifier of the resource of a request that names none."""
    database: str = DEFAULT_DATABASE
    """A path, or `memory:` for a store that ends with the process."""
    host: str = "127.0.0.1"
    port: int = 9000
    access_token_lifetime: timedelta = timedelta(minutes=10)
    refresh_token_idle_lifetime: timedelta = timedelta(days=30)
    refresh_token_absolute_lifetime: timedelta = timedelta(days=90)
    refresh_token_replay_window: timedelta = timedelta(seconds=30)
    """How long a refresh token that was just used still gets the same answer again; zero: never."""
    session_lifetime: timedelta = timedelta(hours=12)
    registration: bool = True
    """Whether clients may register themselves (RFC 7591)."""
    registration_token_required: bool = False
    """Whether they need an initial access token for it (RFC 7591 §3), which an operator hands out."""
    registrations_per_hour: int = 30
    """How many may come from one network address."""
    unconfirmed_client_lifetime: timedelta = timedelta(days=1)
    """How long a registration lasts by which nobody ever got a token."""
    authorization_requests_per_hour: int = 10_000
    """How many may be begun from one network address, by one user who is signed in, or by one client that an
    operator registered with a secret or key."""
    require_pushed_authorization_requests: bool = False
    """Whether clients have to hand in their authorization requests themselves (RFC 9126)."""
    client_id_metadata_documents: DomainPolicy = _EVERY_DOMAIN
    """Whether clients may describe themselves at an https URL, and on which domains."""
    device_authorization: bool = False
    """Whether devices without a browser may ask (RFC 8628). Off: a code can be sent to somebody who then lets
    the sender's device in (§5.4)."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of proxies whose X-Forwarded-For tells where a request comes from."""
    private_use_schemes: tuple[str, ...] = tuple(sorted(PRIVATE_USE_SCHEMES))
    """Schemes of redirect URIs besides https, loopback and reversed domain names (RFC 8252 §7.1)."""
    dpop: DpopMode = "accepted"
    """Whether tokens are bound to a key of their client (RFC 9449): where it shows one, always, or never."""
    dpop_nonce_required: bool = False
    """Whether a proof needs a nonce of this server (§8): it cannot have been made long before its use."""
    openid: bool = True
    """Whether clients may ask who the user is (OpenID Connect)."""
    token_exchange: tuple[ExchangeRule, ...] = ()
    """Which resource servers may exchange users' tokens, and for what (RFC 8693)."""
    trusted_issuers: tuple[TrustedIssuer, ...] = ()
    """Whose assertions become tokens: identity providers of enterprises, and platforms (RFC 7523)."""
    audit_journal: str | None = None
    """A path for the server's own audit journal, `-` for standard output."""

    signing_algorithm: str = DEFAULT_ALGORITHM
    """How new keys sign tokens: ES256, RS256 or EdDSA. A resource can have another one for its own."""
    id_token_signing_algorithm: str | None = None
    """Another one for ID tokens."""
    signing_key_lifetime: timedelta = timedelta(days=90)
    """How long a key signs before the next one does; zero: until an operator has it changed."""
    encryption_keys: tuple[bytes, ...] = dataclasses.field(default=(), repr=False)
    """What the server's own secrets are encrypted with in the store: the first encrypts, all decrypt."""

    def __post_init__(self) -> None:
        _check_issuer(self.issuer)
        _check_address(self)
        _check_lifetimes(self)
        _check_schemes(self.private_use_schemes)
        _check_keys(self)
        _check_ceilings(self)
        if not self.database:
            raise ConfigurationError(
                "database", "must not be empty: a path, or memory: for a store that ends with the process"
            )
        try:
            self.registry()
        except ValueError as error:
            raise ConfigurationError("resources", str(error).removeprefix("resources: ")) from None
        try:
            self.exchange_rules()
        except ValueError as error:
            raise ConfigurationError("token_exchange", str(error)) from None
        try:
            self.trusted()
        except ValueError as error:
            field, _, problem = str(error).partition(": ")
            raise ConfigurationError(f"trusted_issuers{field}", problem) from None

    @property
    def in_memory(self) -> bool:
        """Whether everything is forgotten when the process ends."""
        return self.database == "memory:"

    @property
    def secure(self) -> bool:
        """Whether browsers reach this server over https: cookies are then `__Host-` and `Secure`."""
        return self.issuer.startswith("https://")

    @property
    def path(self) -> str:
        """The path of the issuer, under which all endpoints lie; empty for most."""
        return urlsplit(self.issuer).path

    @property
    def registrable_grant_types(self) -> tuple[str, ...]:
        """The grant types that clients can register for."""
        return tuple(name for name in GRANT_TYPES if name != DEVICE_CODE or self.device_authorization)

    @property
    def further_signing_algorithms(self) -> frozenset[str]:
        """Those besides `signing_algorithm` with which something is to be signed."""
        registry = self.registry()
        wanted = set(registry.signing_algorithms.values())
        if registry.identity is not None and self.id_token_signing_algorithm is not None:
            wanted.add(self.id_token_signing_algorithm)
        return frozenset(wanted - {self.signing_algorithm})

    def encryption(self) -> EncryptionKeys:
        """What opens the server's own secrets."""
        return EncryptionKeys(self.encryption_keys)

    def registry(self) -> ResourceRegistry:
        """The resources, checked against each other."""
        identity = identity_resource(self.issuer) if self.openid else None
        return ResourceRegistry(self.resources, default=self.default_resource, identity=identity)

    def exchange_rules(self) -> ExchangeRules:
        """The rules of token exchange, checked against the resources."""
        return ExchangeRules(self.token_exchange, self.registry())

    def trusted(self) -> TrustedIssuers:
        """The trusted issuers, checked against the resources."""
        return TrustedIssuers(self.trusted_issuers, self.registry(), own=self.issuer)


def _check_issuer(issuer: str) -> None:
    if not issuer:
        raise ConfigurationError(
            "issuer", "is missing: the https URL under which browsers and clients reach this server"
        )
    bare = re.split("[?#]", issuer)[0].rstrip("/")
    parts = _ISSUER.fullmatch(bare)
    if parts is None or {".", ".."} & set(parts["path"].split("/")):
        raise ConfigurationError(
            "issuer",
            f"must be a URL such as https://auth.example.com, its host in lower case (got {issuer!r})",
        )
    if parts["scheme"] != "https" and not (parts["scheme"] == "http" and is_loopback_host(parts["host"])):
        raise ConfigurationError("issuer", f"must be https (got {issuer}); http is allowed only on loopback")
    if "?" in issuer or "#" in issuer:
        raise ConfigurationError("issuer", f"must have no query and no fragment (RFC 8414 §2): use {bare}")
    if issuer != bare:
        raise ConfigurationError(
            "issuer", f"must not end with a slash, because clients compare it byte for byte: use {bare}"
        )


def _check_address(settings: Settings) -> None:
    if not 0 <= settings.port <= 65535:
        raise ConfigurationError("port", f"must be between 0 and 65535 (got {settings.port})")
    if not settings.secure and not is_loopback_host(settings.host):
        raise ConfigurationError(
            "host",
            f"must be a loopback address such as 127.0.0.1 while the issuer is http (got {settings.host}):"
            " passwords and tokens would cross the network in clear. An https issuer may listen elsewhere",
        )


def _check_lifetimes(settings: Settings) -> None:
    for field in (
        "access_token_lifetime",
        "refresh_token_idle_lifetime",
        "refresh_token_absolute_lifetime",
        "session_lifetime",
        "unconfirmed_client_lifetime",
    ):
        lifetime: timedelta = getattr(settings, field)
        longest = _LONGEST_ACCESS_TOKEN if field == "access_token_lifetime" else _LONGEST
        if not timedelta(seconds=1) <= lifetime <= longest:
            raise ConfigurationError(
                field, f"must be between 1s and {longest // timedelta(hours=1)}h (got {lifetime})"
            )
    if settings.refresh_token_absolute_lifetime < settings.refresh_token_idle_lifetime:
        raise ConfigurationError(
            "refresh_token_absolute_lifetime", "must not be shorter than refresh_token_idle_lifetime"
        )
    if not timedelta(0) <= settings.refresh_token_replay_window <= _LONGEST_REPLAY_WINDOW:
        raise ConfigurationError(
            "refresh_token_replay_window",
            f"must be between 0s (off) and 5m (got {settings.refresh_token_replay_window})",
        )


def _check_keys(settings: Settings) -> None:
    if settings.dpop not in DPOP_MODES:
        raise ConfigurationError("dpop", f"must be one of {', '.join(DPOP_MODES)} (got {settings.dpop!r})")
    if any(len(key) != KEY_BYTES for key in settings.encryption_keys):
        raise ConfigurationError("encryption_keys", f"must have {KEY_BYTES} bytes each")
    _check_algorithm("signing_algorithm", settings.signing_algorithm)
    if settings.id_token_signing_algorithm is not None:
        _check_algorithm("id_token_signing_algorithm", settings.id_token_signing_algorithm)
    # Below a day, the published keys of a day's tokens would be more than resource servers expect.
    if settings.signing_key_lifetime and not timedelta(days=1) <= settings.signing_key_lifetime <= _LONGEST:
        raise ConfigurationError(
            "signing_key_lifetime",
            f"must be between 1d and {_LONGEST.days}d, or 0s to turn automatic rotation off"
            f" (got {settings.signing_key_lifetime})",
        )


def _check_algorithm(field: str, algorithm: str) -> None:
    if algorithm not in ALGORITHMS:
        raise ConfigurationError(field, f"must be one of {', '.join(ALGORITHMS)} (got {algorithm!r})")


def _check_ceilings(settings: Settings) -> None:
    if settings.registrations_per_hour < 1:
        raise ConfigurationError(
            "registrations_per_hour",
            f"must be at least 1 (got {settings.registrations_per_hour});"
            " to let nobody register, use registration = false",
        )
    if settings.authorization_requests_per_hour < 1:
        raise ConfigurationError(
            "authorization_requests_per_hour",
            f"must be at least 1 (got {settings.authorization_requests_per_hour})",
        )
    for proxy in settings.trusted_proxies:
        try:
            ip_network(proxy)
        except ValueError:
            raise ConfigurationError(
                "trusted_proxies", f"must be addresses or networks such as 10.0.0.0/8 (got {proxy!r})"
            ) from None


def _check_schemes(schemes: tuple[str, ...]) -> None:
    for scheme in schemes:
        if not _SCHEME.fullmatch(scheme):
            raise ConfigurationError(
                "private_use_schemes",
                f"must be schemes without a colon, in lower case, such as cursor (got {scheme!r})",
            )
        if scheme in BROWSER_SCHEMES:
            raise ConfigurationError(
                "private_use_schemes", f"must be schemes that belong to one application (got {scheme})"
            )
