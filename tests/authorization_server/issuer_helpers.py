"""An enterprise's identity provider and a platform, and a server that trusts them."""

from __future__ import annotations

import importlib
import json
from base64 import urlsafe_b64encode
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jwt.algorithms import get_default_algorithms

from mcpauth.events import AssertionRefused, AssertionTokenIssued, TokenRefused
from mcpauth.oauth.client import Clients
from mcpauth.oauth.client_metadata import ClientMetadata
from mcpauth.oauth.federated_identity import FederatedIdentities
from mcpauth.oauth.trusted_issuer import TrustedIssuer, Workload
from mcpauth.stores.memory import MemoryStore
from tests.authorization_server.assertion_helpers import Key, key, signed
from tests.authorization_server.core_helpers import ISSUER, NOTES, START, TASKS, Clock
from tests.authorization_server.document_helpers import Network
from tests.authorization_server.grants_helpers import Pair, Service, service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    import httpx2
    from joserfc.jwk import ECKey

    from mcpauth.oauth.fetching import Fetch
    from mcpauth.oauth.store import Store

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
IDP = "https://idp.example"
IDP_KEYS = "https://keys.idp.example/jwks"
OTHER_IDP = "https://other-idp.example"
PLATFORM = "https://platform.example/cluster"
PLATFORM_KEYS = "https://platform.example/jwks"
SUBJECT = "U019488227"
JOB = "system:serviceaccount:ci:nightly"

IDP_KEY = key("ES256", 10)
OTHER_IDP_KEY = key("ES256", 11)
PLATFORM_KEY = key("RS256", 12)


def id_jag_claims(client_id: object, **changed: object) -> dict[str, Any]:
    """Correct claims of an ID-JAG, but for what is changed; None takes one out."""
    claims = {
        "iss": IDP,
        "sub": SUBJECT,
        "aud": ISSUER,
        "client_id": client_id,
        "resource": NOTES,
        "scope": "notes:read notes:write",
        "iat": START,
        "exp": START + 300,
        "jti": "first",
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def id_jag(
    for_client: str, *, by: Key = IDP_KEY, header: Mapping[str, Any] | None = None, **changed: object
) -> str:
    """The ID-JAG with these claims; `header` changes members of the header, None leaves the type out."""
    head = {"typ": "oauth-id-jag+jwt", "kid": "idp", **(header or {})}
    head = {name: value for name, value in head.items() if name == "typ" or value is not None}
    return signed(by, id_jag_claims(**{"client_id": for_client, **changed}), **head)


def raw_jwt(by: Key, header: Mapping[str, Any], claims: object) -> str:
    """What PyJWT would not make: any header, any claims, and a signature that is right."""
    parts = [json.dumps(part).encode() for part in ({"alg": by.algorithm, **header}, claims)]
    signing_input = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = get_default_algorithms()[by.algorithm].sign(signing_input, by.private)
    return f"{signing_input.decode()}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def authlib_id_jag(key: ECKey, claims: dict[str, Any]) -> str:
    """Authlib's idea of an ID-JAG with these claims."""
    # Imported by name: the stubs do not know it.
    grant: Any = importlib.import_module("authlib.oauth2.drafts").IDJAGGrant
    others = {name: claims[name] for name in ("resource", "scope") if name in claims}
    assertion: str = grant.sign(
        key,
        issuer=claims["iss"],
        audience=claims["aud"],
        subject=claims["sub"],
        client_id=claims["client_id"],
        issued_at=claims["iat"],
        expires_at=claims["exp"],
        claims=others,
        alg="ES256",
    )
    assert set(grant.CLAIMS_OPTIONS) <= claims.keys() | {"jti"}
    return assertion


def workload_claims(**changed: object) -> dict[str, Any]:
    """Correct claims of a platform's token, but for what is changed; None takes one out."""
    claims = {
        "iss": PLATFORM,
        "sub": JOB,
        "aud": ISSUER,
        "iat": START,
        "exp": START + 3600,
        "jti": "first",
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def workload_token(
    *, by: Key = PLATFORM_KEY, header: Mapping[str, Any] | None = None, **changed: object
) -> str:
    """The token of the platform with these claims."""
    return signed(by, workload_claims(**changed), **{"kid": "platform", **(header or {})})


@dataclass
class Federation:
    """The server, the client that the identity provider knows, and what the issuers publish."""

    server: Service
    client: Pair
    network: Network
    identities: FederatedIdentities
    answers: list[httpx2.Response] = field(default_factory=list["httpx2.Response"])

    @property
    def client_id(self) -> str:
        return self.client[0].client_id

    def id_jag(self, **changed: Any) -> str:
        """A correct ID-JAG for the client, but for what is changed."""
        return id_jag(self.client_id, **changed)

    async def present(
        self, assertion: str, *, by: Pair | None = None, **changes: str | list[str] | None
    ) -> httpx2.Response:
        """Hand an ID-JAG in as a client that authenticates."""
        form: dict[str, str | list[str] | None] = {"grant_type": GRANT_TYPE, "assertion": assertion}
        return await self.server.post_as(by or self.client, "/token", **{**form, **changes})

    async def as_workload(self, assertion: str, **changes: str | list[str] | None) -> httpx2.Response:
        """Hand an assertion in without saying who one is."""
        form: dict[str, str | list[str] | None] = {"grant_type": GRANT_TYPE, "assertion": assertion}
        return await self.server.post("/token", {**form, **changes})

    async def used(self) -> int:
        """How many assertions have been used up."""
        return len(await self.server.store.list("assertion"))


async def client_of(store: Store, clock: Clock, method: str = "client_secret_basic") -> tuple[Any, str]:
    """A client that an operator registered to hand in assertions, and its secret."""
    checked = ClientMetadata((), "Robo", (GRANT_TYPE,), method, None, None, {})
    client, secret = await Clients(store, now=clock).admit(checked, source="pre-registered")
    return client, secret or ""


def identity_provider(client_id: str, **changed: Any) -> TrustedIssuer:
    values: dict[str, Any] = {
        "issuer": IDP,
        "kind": "id-jag",
        "jwks_uri": IDP_KEYS,
        "client_ids": (client_id,),
        "resources": (NOTES,),
        "scopes": ("notes:read", "notes:write"),
    }
    return TrustedIssuer(**values | changed)


def other_identity_provider(client_id: str) -> TrustedIssuer:
    jwks = {"keys": [OTHER_IDP_KEY.with_kid("idp")]}
    return identity_provider(client_id, issuer=OTHER_IDP, jwks_uri=None, jwks=jwks)


NIGHTLY = Workload(JOB, "nightly-report", (NOTES,), ("notes:read",))
DEPLOYERS = Workload(
    "system:serviceaccount:deploy:*", "deployer", (NOTES, TASKS), ("notes:write", "tasks:read")
)


def platform(**changed: Any) -> TrustedIssuer:
    values: dict[str, Any] = {
        "issuer": PLATFORM,
        "kind": "workload",
        "jwks_uri": PLATFORM_KEYS,
        "workloads": (NIGHTLY, DEPLOYERS),
    }
    return TrustedIssuer(**values | changed)


@asynccontextmanager
async def federation(
    *,
    idp: Mapping[str, Any] | None = None,
    of_platform: Mapping[str, Any] | None = None,
    method: str = "client_secret_basic",
    linked: bool = True,
    platforms: bool = True,
    fetch_internal: Fetch | None = None,
    **settings: Any,
) -> AsyncGenerator[Federation]:
    """A server that trusts two identity providers and a platform; `linked`: the subject is ada."""
    clock = Clock()
    store = MemoryStore(clock)
    pair = await client_of(store, clock, method)
    network = Network(
        {
            IDP_KEYS: {"keys": [IDP_KEY.with_kid("idp")]},
            PLATFORM_KEYS: {"keys": [PLATFORM_KEY.with_kid("platform")]},
        }
    )
    client_id = pair[0].client_id
    issuers = (
        identity_provider(client_id, **(idp or {})),
        other_identity_provider(client_id),
        *([platform(**(of_platform or {}))] if platforms else []),
    )
    async with service(store, clock, network, fetch_internal, trusted_issuers=issuers, **settings) as server:
        identities = FederatedIdentities(store, server.users, now=clock)
        if linked:
            assert await identities.link(server.ada, IDP, SUBJECT)
        yield Federation(server, pair, network, identities)


def issued(response: httpx2.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    body: dict[str, Any] = response.json()
    return body


async def refused(
    up: Federation, response: httpx2.Response, reason: str | None = None, *, error: str = "invalid_grant"
) -> None:
    """The error, the reason in the event alone; no token, no grant, and the assertion is not used up."""
    assert response.status_code == 400, response.text
    body = response.json()
    assert body["error"] == error
    assert "access_token" not in body
    assert await up.used() == 0
    assert await up.server.grants.list() == ()
    assert up.server.events(AssertionTokenIssued) == []
    told = up.server.events(AssertionRefused)[-1]
    if reason is not None:
        assert told.reason == reason
        assert reason not in response.text
    assert up.server.events(TokenRefused)[-1].error == error
