"""Authorization servers that differ from RFC 9068, each described one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcpauth_middleware import AuthorizationServer, InvalidToken, JwtVerifier
from mcpauth_middleware.tokens.authorization_server import NEVER_ACCEPTED
from tests.middleware.edge_helpers import (
    ISSUER,
    NOW,
    RESOURCE,
    Clock,
    IssuerServer,
    claims,
    mint,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


def verifier(server: AuthorizationServer) -> JwtVerifier:
    documents = IssuerServer()
    path = server.issuer.removeprefix("https://").partition("/")[2].rstrip("/")
    documents.documents[f"{'/' if path else ''}{path}/.well-known/openid-configuration"] = {
        "issuer": server.issuer,
        "jwks_uri": f"{ISSUER}/jwks",
    }
    return JwtVerifier(resource=RESOURCE, issuers=[server], http_client=documents.client(), now=Clock())


def _described(members: dict[str, Any]) -> AuthorizationServer:
    return AuthorizationServer(**members)


async def refusal(server: AuthorizationServer, token: str) -> str:
    with pytest.raises(InvalidToken) as raised:
        await verifier(server).verify(token)
    return raised.value.reason


def untyped(payload: dict[str, Any], typ: str | None = None, **header: Any) -> str:
    members = {"alg": "ES256", "kid": "k1", **({"typ": typ} if typ else {}), **header}
    return mint(payload, header=members)


@pytest.mark.parametrize(("accepted", "typ"), [("JWT", "JWT"), ("jwt", "JWT"), (None, None)])
async def test_a_typ_that_was_described_is_accepted_and_no_other(
    accepted: str | None, typ: str | None
) -> None:
    """RFC 9068 §4 asks for at+jwt; what stands in its place has to be said."""
    server = AuthorizationServer(ISSUER, accepted_typ=(accepted,))

    assert (await verifier(server).verify(untyped(claims(), typ))).subject == "user-1"
    assert await refusal(server, untyped(claims(), "at+jwt")) == "typ"
    assert await refusal(AuthorizationServer(ISSUER), untyped(claims(), typ)) == "typ"


async def test_a_header_member_that_was_described_is_not_read() -> None:
    """RFC 7515 §4.1.7: `x5t` is a hint like `kid`."""
    server = AuthorizationServer(ISSUER, extra_header_members={"x5t"})
    token = untyped(claims(), "at+jwt", x5t="AAAA")

    assert (await verifier(server).verify(token)).subject == "user-1"
    assert await refusal(AuthorizationServer(ISSUER), token) == "header"
    assert await refusal(server, untyped(claims(), "at+jwt", x5t="AAAA", other=1)) == "header"


@pytest.mark.parametrize("member", sorted(NEVER_ACCEPTED))
def test_a_header_member_that_brings_a_key_cannot_be_described(member: str) -> None:
    """RFC 8725 §3.10, RFC 7515 §4.1.11."""
    with pytest.raises(ValueError, match="never accepted"):
        AuthorizationServer(ISSUER, extra_header_members=[member])


@pytest.mark.parametrize(
    "wrong",
    [
        {"accepted_typ": ()},
        {"accepted_typ": "JWT"},
        {"accepted_typ": ("dpop+jwt",)},
        {"accepted_typ": ("application/logout+jwt",)},
        {"accepted_audiences": "api"},
        {"scope_claims": "scp"},
        {"client_id_claims": "azp"},
        {"jwks_uri": "http://as.example/jwks"},
        {"introspection_endpoint": "/introspect"},
        {"issuer": "as.example"},
    ],
)
def test_a_wrong_description_is_refused_at_start(wrong: dict[str, Any]) -> None:
    """The message begins with the member that is wrong."""
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: "):
        _described({"issuer": ISSUER, **wrong})


@pytest.mark.parametrize(
    "marks",
    [
        {"nonce": "n"},
        {"at_hash": "h"},
        {"c_hash": "h"},
        {"s_hash": "h"},
        {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"typ": ["Bearer"]},
        {"token_use": "id"},
        {"typ": "Bearer", "token_use": "id"},
        {"scope": None},
        {"client_id": None},
    ],
)
@pytest.mark.parametrize("typ", ["JWT", None])
async def test_an_id_token_is_no_access_token_where_it_can_be_told(
    marks: dict[str, Any], typ: str | None
) -> None:
    """RFC 8725 §3.12: kinds of JWT must not be confused."""
    server = AuthorizationServer(ISSUER, accepted_typ=("at+jwt", "JWT", None))

    assert await refusal(server, untyped(claims(**marks), typ)) == "not_an_access_token"


async def test_roles_in_an_id_token_of_entra_are_no_scopes() -> None:
    """An API and its client may be one registration: then the ID token is for the API's audience as well."""
    server, _ = _entra()
    payload = {
        "aud": "api-guid",
        "iss": server.issuer,
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 60,
        "oid": "oid",
        "preferred_username": "user@example.com",
        "roles": ["files:read"],
        "sub": "user-1",
        "ver": "2.0",
    }

    assert await refusal(server, untyped(payload, "JWT")) == "not_an_access_token"
    own = await verifier(server).verify(untyped({**payload, "azp": "daemon"}, "JWT"))
    assert own.client_id == "daemon"
    assert own.scopes == {"files:read"}


async def test_a_kind_that_the_token_itself_states_counts_more_than_its_other_claims() -> None:
    """Keycloak before 25 puts `nonce` into access tokens, and says that they are `Bearer`."""
    server = AuthorizationServer(ISSUER, accepted_typ=("JWT",))

    assert (await verifier(server).verify(untyped(claims(typ="Bearer", nonce="n"), "JWT"))).subject


async def test_each_server_has_its_own_rules() -> None:
    """What is accepted of one is not accepted of another."""
    other = AuthorizationServer("https://other.example", accepted_typ=("JWT",), accepted_audiences=("guid",))
    documents = IssuerServer()
    subject = JwtVerifier(
        resource=RESOURCE, issuers=[ISSUER, other], http_client=documents.client(), now=Clock()
    )

    assert (await subject.verify(mint())).issuer == ISSUER
    for token in (untyped(claims(), "JWT"), mint(claims(aud="guid"))):
        with pytest.raises(InvalidToken):
            await subject.verify(token)


async def test_configured_keys_need_no_metadata() -> None:
    """For servers whose metadata names another issuer than their tokens do."""
    documents = IssuerServer(ISSUER)
    server = AuthorizationServer("https://sts.example/tenant/", jwks_uri=f"{ISSUER}/jwks")
    subject = JwtVerifier(resource=RESOURCE, issuers=[server], http_client=documents.client(), now=Clock())

    assert (await subject.verify(mint(claims(iss=server.issuer)))).issuer == server.issuer
    assert documents.requests == ["/jwks"]


TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda: AuthorizationServer.auth0("https://tenant.eu.auth0.com"), "issuer"),
        (lambda: AuthorizationServer.keycloak("https://keycloak.example"), "issuer"),
        (lambda: AuthorizationServer.keycloak("https://keycloak.example/realms/main/"), "issuer"),
        (lambda: AuthorizationServer.okta("https://dev.okta.com"), "issuer"),
        (lambda: AuthorizationServer.okta("https://dev.okta.com/oauth2/default/"), "issuer"),
        (lambda: AuthorizationServer.entra("common", audience="guid"), "tenant"),
        (lambda: AuthorizationServer.entra("contoso.onmicrosoft.com", audience="guid"), "tenant"),
        (lambda: AuthorizationServer.entra(TENANT, audience="api://guid"), "audience"),
    ],
)
def test_a_preset_in_a_form_that_no_token_of_the_server_has_is_refused_at_start(
    make: Callable[[], AuthorizationServer], wrong: str
) -> None:
    """RFC 9068 §4: `iss` is compared as it is; each token would be refused, and nothing would say why."""
    with pytest.raises(ValueError, match=f"^{wrong}: "):
        make()


def test_the_tenant_of_entra_is_spelt_as_in_its_tokens() -> None:
    """The portal shows it in either case."""
    server = AuthorizationServer.entra(TENANT.upper(), audience="guid")
    assert server.issuer == f"https://login.microsoftonline.com/{TENANT}/v2.0"


def _keycloak() -> tuple[AuthorizationServer, str]:
    issuer = "https://keycloak.example/realms/main"
    payload = {
        "exp": NOW + 60,
        "iat": NOW,
        "jti": "trrtcc:1",
        "iss": issuer,
        "aud": [RESOURCE, "account"],
        "sub": "user-1",
        "typ": "Bearer",
        "azp": "client-1",
        "scope": "files:read profile",
    }
    return AuthorizationServer.keycloak(issuer), untyped(payload, "JWT")


def _auth0() -> tuple[AuthorizationServer, str]:
    issuer = "https://tenant.eu.auth0.com/"
    payload = {
        "iss": issuer,
        "sub": "user-1",
        "aud": [RESOURCE, f"{issuer}userinfo"],
        "azp": "client-1",
        "exp": NOW + 60,
        "iat": NOW,
        "scope": "openid files:read",
    }
    return AuthorizationServer.auth0(issuer), untyped(payload, "JWT")


def _okta() -> tuple[AuthorizationServer, str]:
    issuer = "https://dev.okta.com/oauth2/default"
    payload = {
        "ver": 1,
        "jti": "AT.1",
        "iss": issuer,
        "aud": "api://default",
        "iat": NOW,
        "exp": NOW + 60,
        "cid": "client-1",
        "uid": "00u1",
        "scp": ["openid", "files:read"],
        "auth_time": NOW,
        "sub": "user-1",
    }
    return AuthorizationServer.okta(issuer, accepted_audiences=["api://default"]), untyped(payload)


def _entra() -> tuple[AuthorizationServer, str]:
    server = AuthorizationServer.entra(TENANT, audience="api-guid")
    payload = {
        "aud": "api-guid",
        "iss": server.issuer,
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 60,
        "azp": "client-1",
        "azpacr": "0",
        "oid": "oid",
        "scp": "files:read",
        "sub": "user-1",
        "tid": TENANT,
        "ver": "2.0",
    }
    return server, untyped(payload, "JWT")


@pytest.mark.parametrize("make", [_keycloak, _auth0, _okta, _entra])
async def test_tokens_in_the_form_of_well_known_servers_are_read_with_their_preset(
    make: Callable[[], tuple[AuthorizationServer, str]],
) -> None:
    """Header and claims as their documentation shows them."""
    server, token = make()
    principal = await verifier(server).verify(token)

    assert (principal.issuer, principal.subject) == (server.issuer, "user-1")
    assert principal.client_id == "client-1"
    assert "files:read" in principal.scopes
    assert await refusal(AuthorizationServer(server.issuer), token)  # and not without it
