"""What is known of an authorization server whose tokens are accepted (RFC 9068, RFC 8414, RFC 7662).

A server that follows RFC 9068 needs no description beyond its issuer. For others this says, one by one,
where they differ; nothing is guessed from a token.
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from mcpauth_middleware.errors import naming
from mcpauth_middleware.tokens.discovery import check_issuer, check_url

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from mcpauth_middleware.tokens.client_credentials import ClientCredentials

ACCESS_TOKEN_TYP = "at+jwt"  # noqa: S105  a media type, RFC 9068 §2.1

NEVER_ACCEPTED = frozenset({"b64", "crit", "jku", "jwk", "x5c", "x5u"})
"""Header members by which a token brings its own key or its own rules (RFC 8725 §3.10, RFC 7515 §4.1.11)."""

_TENANT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LISTS = ("accepted_typ", "accepted_audiences", "extra_header_members", "scope_claims", "client_id_claims")
_OTHER_TOKENS = frozenset(
    {"dpop+jwt", "id_token+jwt", "logout+jwt", "oauth-authz-req+jwt", "oauth-id-jag+jwt", "secevent+jwt"}
)


@dataclass(frozen=True)
class AuthorizationServer:
    """One authorization server, and where its access tokens differ from RFC 9068.

    Raises:
        ValueError: a member is wrong; the message names it and the mend.
    """

    issuer: str
    """Spelt as the server names itself: it is compared byte for byte."""
    _: KW_ONLY
    accepted_typ: Collection[str | None] = (ACCESS_TOKEN_TYP,)
    """Values of the `typ` header; None: tokens without one. An ID token has `JWT` or none as well, so
    whatever can tell it from an access token is then looked at."""
    accepted_audiences: Collection[str] = ()
    """Values of `aud` that mean this resource, where the server cannot put its identifier there."""
    extra_header_members: Collection[str] = ()
    """Header members that the server adds. They are allowed, and not read."""
    scope_claims: Sequence[str] = ("scope", "scp")
    """Where the scopes are; the first of them that a token has counts."""
    client_id_claims: Sequence[str] = ("client_id", "azp")
    """Where the client is, likewise."""
    jwks_uri: str | None = None
    """Where the keys are. None: where the server's metadata says."""
    introspection: ClientCredentials | None = None
    """Who this resource server is to the authorization server, which is then asked about every token."""
    introspection_endpoint: str | None = None
    """Where it is asked. None: where the server's metadata says."""

    def __post_init__(self) -> None:
        with naming("issuer"):
            check_issuer(self.issuer)
        for name in _LISTS:
            if isinstance(getattr(self, name), str):
                raise ValueError(f"{name}: give a list, [{getattr(self, name)!r}]")  # noqa: TRY004  as options do
        _check_typ(self.accepted_typ)
        if forbidden := sorted(NEVER_ACCEPTED.intersection(self.extra_header_members)):
            raise ValueError(f"extra_header_members: {forbidden[0]} is never accepted; remove it")
        for name in ("jwks_uri", "introspection_endpoint"):
            if (url := getattr(self, name)) is not None:
                check_url(name, url)

    @classmethod
    def auth0(cls, issuer: str) -> AuthorizationServer:
        """A tenant of Auth0, such as `https://tenant.eu.auth0.com/`; in either of its token profiles.

        The API's identifier at Auth0 must be the resource.

        Raises:
            ValueError: the issuer does not end with a slash, as that of each tenant does.
        """
        _check_form(issuer, r".*/", "https://TENANT.auth0.com/, with the slash")
        return cls(issuer, accepted_typ=(ACCESS_TOKEN_TYP, "JWT"))

    @classmethod
    def entra(cls, tenant: str, *, audience: str) -> AuthorizationServer:
        """A tenant of Microsoft Entra ID by its id, with access tokens of version 2.0.

        `audience` is the application id of the API. Scopes of users are in `scp`, those that an
        application has by itself in `roles`.

        Raises:
            ValueError: no token of version 2.0 has this tenant, or this audience.
        """
        tenant_id = tenant.lower()
        if not _TENANT_ID.fullmatch(tenant_id):
            raise ValueError(f"tenant: give its id, as in the iss of its tokens (got {tenant!r})")
        if "://" in audience:
            raise ValueError(
                f"audience: give the application id of the API, without a URI (got {audience!r})"
            )
        return cls(
            f"https://login.microsoftonline.com/{tenant_id}/v2.0",
            accepted_typ=("JWT",),
            accepted_audiences=(audience,),
            extra_header_members=("x5t",),
            scope_claims=("scp", "roles"),
            client_id_claims=("azp",),
        )

    @classmethod
    def keycloak(cls, issuer: str, *, accepted_audiences: Collection[str] = ()) -> AuthorizationServer:
        """A realm of Keycloak, such as `https://keycloak.example/realms/main`, with or without its at+jwt.

        Raises:
            ValueError: the issuer is not that of a realm.
        """
        _check_form(issuer, r".*/realms/[^/]+", "https://HOST/realms/REALM, without a slash at its end")
        return cls(issuer, accepted_typ=(ACCESS_TOKEN_TYP, "JWT"), accepted_audiences=accepted_audiences)

    @classmethod
    def okta(cls, issuer: str, *, accepted_audiences: Collection[str] = ()) -> AuthorizationServer:
        """A custom authorization server of Okta, such as `https://dev.okta.com/oauth2/default`.

        Tokens of the org authorization server are for Okta itself; nobody else can verify them.

        Raises:
            ValueError: the issuer is not that of a custom authorization server.
        """
        _check_form(issuer, r".*/oauth2/[^/]+", "https://ORG.okta.com/oauth2/ID, without a slash at its end")
        return cls(
            issuer,
            accepted_typ=(None,),
            accepted_audiences=accepted_audiences,
            scope_claims=("scp",),
            client_id_claims=("cid",),
        )


def _check_form(issuer: str, form: str, example: str) -> None:
    # In another form it would be no `iss` of that server's, and each token refused without a word.
    if not re.fullmatch(form, issuer):
        raise ValueError(f"issuer: must be as its tokens have it, {example} (got {issuer!r})")


def distinct(servers: Iterable[AuthorizationServer]) -> tuple[AuthorizationServer, ...]:
    """The servers, each described once: of two descriptions the laxer one could be the one that counts.

    Raises:
        ValueError: two have the same issuer.
    """
    described: dict[str, AuthorizationServer] = {}
    for server in servers:
        if server.issuer in described:
            raise ValueError(f"describe each issuer once ({server.issuer!r} is there twice)")
        described[server.issuer] = server
    return tuple(described.values())


def media_type(typ: str) -> str:
    """A `typ`, RFC 7515 §4.1.9: its case does not matter, and `application/` may be left out."""
    return typ.lower().removeprefix("application/")


def _check_typ(accepted: Collection[str | None]) -> None:
    if not accepted:
        raise ValueError("accepted_typ: name at least one; None stands for tokens without typ")
    for typ in accepted:
        if typ is not None and media_type(typ) in _OTHER_TOKENS:
            raise ValueError(f"accepted_typ: {typ} marks another kind of token; remove it")
