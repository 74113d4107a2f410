"""Addresses of an authorization server's metadata move, RFC 8414, while a resource server runs for weeks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from mcpauth_middleware import (
    ClientCredentials,
    IntrospectionVerifier,
    InvalidToken,
    IssuerUnavailable,
    JwtVerifier,
    TokenExchange,
    UpstreamRefused,
    UpstreamUnavailable,
)
from mcpauth_middleware.tokens.discovery import DiscoveredUrl
from mcpauth_middleware.tokens.fetch import FetchFailed, fetch_json
from tests.middleware.edge_helpers import (
    ED25519_KEY,
    ISSUER,
    RESOURCE,
    Clock,
    IssuerServer,
    claims,
    client_of,
    mint,
    public_jwk,
)
from tests.middleware.test_revocation import principal
from tests.middleware.test_tokens_introspection import active, server_with
from tests.middleware.test_upstream import GRANTED

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import Receive, Scope, Send

pytestmark = pytest.mark.anyio

METADATA = "/.well-known/oauth-authorization-server"
ELSEWHERE = "https://calendar.example/mcp"


@dataclass
class Moving(IssuerServer):
    """An authorization server whose addresses move; nobody listens any more at those that are gone."""

    gone: set[str] = field(default_factory=set[str])
    statuses: dict[str, int] = field(default_factory=dict[str, int])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in self.gone:
            self.requests.append(scope["path"])
            raise httpx2.ConnectError("nobody listens")
        self.status = self.statuses.get(scope["path"])
        await super().__call__(scope, receive, send)

    def names(self, member: str, path: str) -> None:
        self.documents[METADATA][member] = f"{self.issuer}{path}"

    def looked_up(self) -> int:
        return self.requests.count(METADATA)


@dataclass
class Subject:
    """A resource server that exchanges tokens there and asks about them."""

    server: Moving = field(default_factory=Moving)
    clock: Clock = field(default_factory=Clock)

    def exchange(self) -> TokenExchange:
        return TokenExchange(
            ISSUER, ClientCredentials("rs", "secret"), http_client=client_of(self.server), now=self.clock
        )

    def introspection(self) -> IntrospectionVerifier:
        return IntrospectionVerifier(
            server_with(),
            resource=RESOURCE,
            cache_seconds=0,
            http_client=client_of(self.server),
            now=self.clock,
        )

    def keys(self) -> JwtVerifier:
        return JwtVerifier(
            resource=RESOURCE, issuers=[ISSUER], http_client=client_of(self.server), now=self.clock
        )


async def test_a_token_endpoint_at_which_nobody_listens_any_more_is_looked_up_again() -> None:
    """RFC 8414 §3: no exchange worked until the server was started anew."""
    subject, caller = Subject(), principal()
    server, upstream = subject.server, subject.exchange()
    upstream.keep(caller, "token")
    server.names("token_endpoint", "/old")
    server.gone.add("/old")
    with pytest.raises(UpstreamUnavailable):
        await upstream.token(ELSEWHERE, principal=caller)

    server.names("token_endpoint", "/new")
    server.documents["/new"] = GRANTED
    subject.clock.time += 10
    assert (await upstream.token(ELSEWHERE, principal=caller)).value == "new"


async def test_a_refused_exchange_says_nothing_against_the_endpoint() -> None:
    """RFC 8693 §2.2.2: whoever calls a tool in vain has the metadata fetched no second time."""
    subject, caller = Subject(), principal()
    upstream = subject.exchange()
    upstream.keep(caller, "token")
    subject.server.names("token_endpoint", "/token")
    subject.server.documents["/token"] = {"error": "invalid_target"}
    subject.server.statuses["/token"] = 400
    for _ in range(3):
        with pytest.raises(UpstreamRefused):
            await upstream.token(ELSEWHERE, principal=caller)

    assert subject.server.requests.count("/token") == 3
    assert subject.server.looked_up() == 1


@pytest.mark.parametrize("answer", [None, b"<html>the old server", b"[]"])
async def test_an_introspection_endpoint_that_has_moved_is_looked_up_again(answer: bytes | None) -> None:
    """RFC 8414 §3: also when something else answers in its place."""
    subject = Subject()
    server, verifier = subject.server, subject.introspection()
    server.names("introspection_endpoint", "/old")
    server.documents["/old"] = active()
    assert (await verifier.verify("opaque")).subject == "user-1"

    if answer is None:
        server.gone.add("/old")
    server.documents["/old"] = answer
    server.names("introspection_endpoint", "/new")
    server.documents["/new"] = active(sub="user-2")
    for _ in range(3):
        with pytest.raises(IssuerUnavailable):
            await verifier.verify("opaque")
    assert server.looked_up() == 1
    subject.clock.time += 10
    assert (await verifier.verify("opaque")).subject == "user-2"


async def test_tokens_and_secrets_do_not_go_on_to_an_address_that_the_metadata_has_left() -> None:
    """RFC 7662 §4: though it still answers, for an hour at most."""
    subject = Subject()
    server, verifier = subject.server, subject.introspection()
    server.names("introspection_endpoint", "/old")
    server.documents["/old"] = active(exp=None, iat=None) | {"exp": 2**40}
    await verifier.verify("opaque")
    server.names("introspection_endpoint", "/new")
    server.documents["/new"] = {"active": False}
    subject.clock.time += 3599
    await verifier.verify("opaque")
    assert server.looked_up() == 1

    subject.clock.time += 1
    with pytest.raises(InvalidToken):
        await verifier.verify("opaque")
    assert server.requests.count("/old") == 2


async def test_new_keys_are_found_where_the_metadata_has_them_now() -> None:
    """RFC 8414 §2: the old document may stay where it was, and know nothing of them."""
    subject = Subject()
    server, verifier = subject.server, subject.keys()
    await verifier.verify(mint())
    server.names("jwks_uri", "/new")
    server.documents["/new"] = {"keys": [public_jwk(ED25519_KEY, kid="k2")]}
    subject.clock.time += 10

    moved = mint(claims(sub="user-2"), key=ED25519_KEY, alg="EdDSA", kid="k2")
    assert (await verifier.verify(moved)).subject == "user-2"
    assert server.requests.count("/jwks") == 1


def address(server: Moving, clock: Clock) -> DiscoveredUrl:
    async def fetch(url: str) -> dict[str, Any]:
        return await fetch_json(url, client=client_of(server))

    return DiscoveredUrl(ISSUER, "token_endpoint", fetch=fetch, now=clock)


async def test_what_the_metadata_said_last_counts_while_it_cannot_be_had() -> None:
    """An outage of the document is none of the endpoint, and nobody asks for it again and again."""
    server, clock = Moving(), Clock()
    server.names("token_endpoint", "/token")
    url = address(server, clock)
    await url.get()

    server.statuses[METADATA] = 503
    clock.time += 3600
    for _ in range(3):
        assert await url.get() == f"{ISSUER}/token"
    assert server.looked_up() == 2
    with pytest.raises(FetchFailed):
        await address(server, clock).get()


@pytest.mark.parametrize("now_at", [None, "http://as.example/token", "https://127.0.0.1/token"])
async def test_an_address_that_the_metadata_withdraws_is_not_used(now_at: str | None) -> None:
    """RFC 8414 §2: nor what is no address for secrets."""
    server, clock = Moving(), Clock()
    server.names("token_endpoint", "/token")
    url = address(server, clock)
    await url.get()

    server.documents[METADATA]["token_endpoint"] = now_at
    url.doubt()
    clock.time += 10
    for _ in range(2):
        with pytest.raises(FetchFailed):
            await url.get()


async def test_the_operator_is_told_which_issuer_the_metadata_names() -> None:
    """RFC 8414 §3.3: most often it differs by a slash. Of a document from elsewhere, not all of it."""
    server = Moving()
    for named, shown in ((f"{ISSUER}/", f"{ISSUER}/"), ("x" * 10_000, "x" * 200)):
        server.documents[METADATA]["issuer"] = named
        with pytest.raises(FetchFailed, match=f"names the issuer '{shown}', and not '{ISSUER}'"):
            await address(server, Clock()).get()
