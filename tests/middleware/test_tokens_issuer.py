"""From an issuer to its keys: RFC 8414, RFC 7517, and what happens when the issuer cannot be asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from mcpauth_middleware import InvalidToken, IssuerUnavailable, JwtVerifier
from mcpauth_middleware.tokens import fetch
from mcpauth_middleware.tokens.discovery import metadata_urls
from mcpauth_middleware.tokens.jwks import keys_of
from tests.middleware.edge_helpers import (
    ED25519_KEY,
    ES256_KEY,
    ES384_KEY,
    ISSUER,
    RESOURCE,
    RSA_KEY,
    Clock,
    IssuerServer,
    b64,
    claims,
    client_of,
    mint,
    public_jwk,
    served,
)

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import Receive, Scope, Send

pytestmark = pytest.mark.anyio

AS_METADATA = "/.well-known/oauth-authorization-server"


def verifier(server: IssuerServer, *, clock: Clock | None = None, issuer: str = ISSUER) -> JwtVerifier:
    return JwtVerifier(resource=RESOURCE, issuers=[issuer], http_client=server.client(), now=clock or Clock())


async def test_metadata_is_looked_for_in_the_order_of_the_specification() -> None:
    """MCP 2026-07-28, "Authorization Server Metadata Discovery"; RFC 8414 §3.1 for the slash at the end."""
    assert metadata_urls("https://as.example") == [
        "https://as.example/.well-known/oauth-authorization-server",
        "https://as.example/.well-known/openid-configuration",
    ]
    with_path = [
        "https://as.example/.well-known/oauth-authorization-server/tenant1",
        "https://as.example/.well-known/openid-configuration/tenant1",
        "https://as.example/tenant1/.well-known/openid-configuration",
    ]
    assert metadata_urls("https://as.example/tenant1") == with_path
    assert metadata_urls("https://as.example/tenant1/") == with_path


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_each_form_of_the_metadata_is_found(place: int) -> None:
    """RFC 8414 §5: OpenID providers publish at other places."""
    issuer = f"{ISSUER}/tenant1"
    server = IssuerServer()
    path = metadata_urls(issuer)[place].removeprefix(ISSUER)
    server.documents[path] = {"issuer": issuer, "jwks_uri": f"{ISSUER}/jwks"}

    assert (await verifier(server, issuer=issuer).verify(mint(claims(iss=issuer)))).subject == "user-1"
    assert len(server.requests) == place + 2


@pytest.mark.parametrize(
    "document", [b"<html>a page</html>", b"[]", {"issuer": f"{ISSUER}/", "jwks_uri": f"{ISSUER}/evil"}, {}]
)
async def test_a_document_that_is_not_this_issuers_metadata_is_passed_over(document: object) -> None:
    """RFC 8414 §3.3: identical, or it MUST NOT be used."""
    server = IssuerServer()
    server.documents["/.well-known/openid-configuration"] = server.documents[AS_METADATA]
    server.documents[AS_METADATA] = document

    assert (await verifier(server).verify(mint())).subject == "user-1"
    assert "/evil" not in server.requests


@pytest.mark.parametrize(
    "jwks_uri",
    [
        "http://as.example/jwks",
        "http://127.0.0.1/jwks",
        "https://127.0.0.1/jwks",
        "https://localhost:8443/jwks",
        "https://[::1]/jwks",
        "file:///etc/passwd",
        "/jwks",
        None,
        7,
        "https://u:p@as.example/",
    ],
)
async def test_keys_are_fetched_over_https_only(jwks_uri: object) -> None:
    """RFC 8414 §2: `jwks_uri` is an https URL; loopback, be it by https, is for an issuer on loopback."""
    server = IssuerServer()
    server.documents[AS_METADATA]["jwks_uri"] = jwks_uri

    with pytest.raises(IssuerUnavailable):
        await verifier(server).verify(mint())
    assert server.requests == [AS_METADATA]


async def test_an_issuer_on_loopback_may_use_http() -> None:
    """For development."""
    server = IssuerServer("http://127.0.0.1:9000")

    assert (
        await verifier(server, issuer="http://127.0.0.1:9000").verify(
            mint(claims(iss="http://127.0.0.1:9000"))
        )
    ).subject == "user-1"


async def test_one_fetch_serves_everyone_who_waits() -> None:
    """The first hundred requests after a start must not become a hundred requests to the issuer."""
    server = IssuerServer()
    subject = verifier(server)
    principals: list[object] = []

    async def call() -> None:
        principals.append(await subject.verify(mint()))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(call)

    assert len(principals) == 20
    assert server.requests == [AS_METADATA, "/jwks"]


async def test_a_new_key_is_found_at_once_and_an_invented_kid_asks_at_most_every_thirty_seconds() -> None:
    """RFC 7517 §4.5 leaves rotation to the `kid`; anyone can send one."""
    server, clock = IssuerServer(), Clock()
    subject = verifier(server, clock=clock)
    await subject.verify(mint())

    server.publish(public_jwk(ES256_KEY, kid="k1"), public_jwk(ED25519_KEY, kid="k2"))
    assert (await subject.verify(mint(key=ED25519_KEY, alg="EdDSA", kid="k2"))).subject == "user-1"
    assert server.requests.count("/jwks") == 2

    for number in range(10):
        with pytest.raises(InvalidToken):
            await subject.verify(mint(kid=f"invented-{number}"))
    assert server.requests.count("/jwks") == 2

    clock.time += 30
    with pytest.raises(InvalidToken):
        await subject.verify(mint(kid="invented"))
    assert server.requests.count("/jwks") == 3


async def test_an_unreachable_issuer_is_not_the_tokens_fault_and_is_not_asked_by_everyone() -> None:
    """RFC 9110 §15.6.4: the token may be good."""
    server, clock = IssuerServer(status=503), Clock()
    subject = verifier(server, clock=clock)

    for _ in range(5):
        with pytest.raises(IssuerUnavailable) as raised:
            await subject.verify(mint())
        assert 1 <= raised.value.retry_after <= 10
    assert len(server.requests) == 1

    server.status = None
    clock.time += 10
    assert (await subject.verify(mint())).subject == "user-1"


async def test_keys_at_hand_outlive_an_outage_for_a_day() -> None:
    """Stale keys are better than none, but a key that was withdrawn must not live for ever."""
    server, clock = IssuerServer(), Clock()
    subject = verifier(server, clock=clock)
    await subject.verify(mint())

    server.status = 500
    clock.time += 3600
    assert (await subject.verify(mint(claims(exp=int(clock.time) + 600)))).subject == "user-1"
    with pytest.raises(IssuerUnavailable):  # it may be a key that came meanwhile
        await subject.verify(mint(claims(exp=int(clock.time) + 600), kid="new"))

    clock.time += 86_400
    with pytest.raises(IssuerUnavailable):
        await subject.verify(mint(claims(exp=int(clock.time) + 600)))


async def test_a_clock_that_is_set_back_keeps_no_key_and_no_failure() -> None:
    """What happened an hour ahead of now is not news for an hour."""
    server, clock = IssuerServer(), Clock()
    subject, good = verifier(server, clock=clock), mint(claims(iat=None))
    server.status = 503
    with pytest.raises(IssuerUnavailable):
        await subject.verify(good)

    server.status = None
    clock.time -= 3600
    assert (await subject.verify(good)).subject == "user-1"

    server.publish(public_jwk(ED25519_KEY, kid="k2"))
    clock.time -= 3600
    with pytest.raises(InvalidToken):
        await subject.verify(good)


async def test_a_withdrawn_key_is_refused_after_ten_minutes() -> None:
    """The longest that a key lives on after its issuer took it back."""
    server, clock = IssuerServer(), Clock()
    subject = verifier(server, clock=clock)
    await subject.verify(mint())

    server.publish(public_jwk(ED25519_KEY, kid="k2"))
    clock.time += 600
    with pytest.raises(InvalidToken):
        await subject.verify(mint(claims(exp=int(clock.time) + 600)))


async def test_requests_use_the_old_keys_while_one_of_them_fetches_the_new() -> None:
    """A slow issuer must not make everyone wait."""
    server, clock = IssuerServer(), Clock()
    asked, go_on = anyio.Event(), anyio.Event()
    slow = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if slow:
            asked.set()
            await go_on.wait()
        await server(scope, receive, send)

    subject = JwtVerifier(resource=RESOURCE, issuers=[ISSUER], http_client=client_of(app), now=clock)
    await subject.verify(mint())
    slow, clock.time = True, clock.time + 600
    token = mint(claims(exp=int(clock.time) + 600))

    async with anyio.create_task_group() as group:
        group.start_soon(subject.verify, token)
        await asked.wait()
        with anyio.fail_after(1):
            assert (await subject.verify(token)).subject == "user-1"
        go_on.set()


async def test_a_waiter_that_is_cancelled_does_not_take_the_others_with_it() -> None:
    """The client of the first request may go away while the keys are fetched."""
    server = IssuerServer()
    asked, go_on = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await go_on.wait()
        await server(scope, receive, send)

    subject = JwtVerifier(resource=RESOURCE, issuers=[ISSUER], http_client=client_of(app), now=Clock())
    principals: list[object] = []

    async def call() -> None:
        principals.append(await subject.verify(mint()))

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as first:

            async def stop_first() -> None:
                await asked.wait()
                group.start_soon(call)
                await anyio.lowlevel.checkpoint()
                first.cancel()
                go_on.set()

            group.start_soon(stop_first)
            await subject.verify(mint())

    assert len(principals) == 1


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_redirects_are_not_followed(status: int) -> None:
    """A redirect could lead to an address that nobody configured."""
    server = IssuerServer(status=status)

    with pytest.raises(IssuerUnavailable):
        await verifier(server).verify(mint())
    assert "/elsewhere" not in server.requests


@pytest.mark.parametrize(
    "jwks",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"keys":' + b" " * fetch.MAX_DOCUMENT_BYTES + b"[]}",
        {},
        {"keys": "none"},
        {"keys": ["a key"] * 33},
    ],
)
async def test_a_key_set_that_is_none_makes_the_issuer_unavailable(jwks: object) -> None:
    """RFC 7517 §5."""
    server = IssuerServer()
    server.documents["/jwks"] = jwks

    with pytest.raises(IssuerUnavailable):
        await verifier(server).verify(mint())


async def test_a_compressed_answer_is_refused() -> None:
    """It was not asked for, and a small one could unfold into a large one."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-encoding", b"gzip")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"\x1f\x8b"})

    subject = JwtVerifier(resource=RESOURCE, issuers=[ISSUER], http_client=client_of(app), now=Clock())
    with pytest.raises(IssuerUnavailable):
        await subject.verify(mint())


async def test_a_server_that_does_not_answer_is_given_up_on() -> None:
    """One deadline for the whole exchange."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await anyio.sleep_forever()

    with pytest.raises(fetch.FetchFailed, match="TimeoutError"):
        await fetch.fetch_json(f"{ISSUER}/jwks", client=client_of(app), deadline=0.05)


@pytest.mark.parametrize("chunk", [b" " * 64 * 1024, b" "])
async def test_an_answer_without_an_end_is_left_at_its_limit(chunk: bytes) -> None:
    """What is read is counted as it comes; the server hears of it at the latest when its buffers are full."""
    sent: list[int] = []
    gone = anyio.Event()

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with anyio.create_task_group() as group:

            async def leave() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                gone.set()
                group.cancel_scope.cancel()

            group.start_soon(leave)
            while True:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                sent.append(len(chunk))
                await anyio.lowlevel.checkpoint()

    async with served(lambda _: app, lifespan="off") as url:
        request = fetch.JsonRequest(f"{url}/jwks", max_bytes=2_000)
        with pytest.raises(fetch.FetchFailed, match="longer than 2000 bytes"):
            await fetch.exchange_json(request)
        await gone.wait()
    assert sum(sent) < 16 * 1024 * 1024


async def test_keys_come_over_real_http_with_the_client_that_is_made_when_none_is_given() -> None:
    """Nothing has to be started or closed by the application."""
    server = IssuerServer()

    def listening_at(url: str) -> IssuerServer:
        server.documents[AS_METADATA] = {"issuer": url, "jwks_uri": f"{url}/jwks"}
        return server

    async with served(listening_at, lifespan="off") as url:
        subject = JwtVerifier(resource=RESOURCE, issuers=[url], now=Clock())
        assert (await subject.verify(mint(claims(iss=url)))).subject == "user-1"


async def test_nobody_listening_makes_the_issuer_unavailable() -> None:
    """With the client that is made when none is given."""
    subject = JwtVerifier(resource=RESOURCE, issuers=["http://127.0.0.1:9"], now=Clock())

    with pytest.raises(IssuerUnavailable):
        await subject.verify(mint(claims(iss="http://127.0.0.1:9")))


def _set_of(*jwks: object) -> IssuerServer:
    server = IssuerServer()
    server.documents["/jwks"] = {"keys": list(jwks)}
    return server


@pytest.mark.parametrize(
    "jwk",
    [
        public_jwk(ES256_KEY, kid="k1", use="enc"),
        public_jwk(ES256_KEY, kid="k1", key_ops=["sign"]),
        public_jwk(ES256_KEY, kid="k1", key_ops="verify"),
        public_jwk(ES256_KEY, kid="k1", alg="HS256"),
        public_jwk(ES256_KEY, kid="k1", alg="ES384"),
        public_jwk(ES256_KEY, kid="k1", alg=["ES256"]),
        {**public_jwk(ES256_KEY, kid="k1"), "crv": "P-384"},
        {**public_jwk(ES256_KEY, kid="k1"), "x": 5},
        {**public_jwk(ES256_KEY, kid="k1"), "x": "AAAA"},
        {**public_jwk(ES256_KEY, kid="k1"), "kty": ["EC"]},
        {"kty": "oct", "kid": "k1", "k": "c2VjcmV0"},
        {},
        "a string",
        None,
    ],
)
async def test_a_key_that_is_not_for_verifying_is_skipped(jwk: object) -> None:
    """RFC 7517 §4.2 to §4.4, and §5: members that are not understood are ignored."""
    with pytest.raises(InvalidToken):
        await verifier(_set_of(jwk, public_jwk(ED25519_KEY, kid="k2"))).verify(mint())

    assert (await verifier(_set_of(jwk, public_jwk(ES256_KEY, kid="k1"))).verify(mint())).subject == "user-1"


async def test_an_rsa_key_is_bound_to_the_algorithm_it_names() -> None:
    """RFC 8725 §3.1."""
    server = _set_of(public_jwk(RSA_KEY, kid="k1", alg="PS256"))

    assert (await verifier(server).verify(mint(key=RSA_KEY, alg="PS256"))).subject == "user-1"
    with pytest.raises(InvalidToken):
        await verifier(server).verify(mint(key=RSA_KEY, alg="RS256"))


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
async def test_an_edwards_key_verifies_under_either_name_and_only_under_that_it_states(alg: str) -> None:
    """RFC 9864 §2.2, RFC 8725 §3.1: `Ed25519` is what `EdDSA` was with such a key."""
    header = {"typ": "at+jwt", "alg": alg, "kid": "k2"}
    signing_input = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims()).encode())}"
    token = f"{signing_input}.{b64(ED25519_KEY.sign(signing_input.encode()))}"
    other = {"EdDSA": "Ed25519", "Ed25519": "EdDSA"}[alg]

    for named in (public_jwk(ED25519_KEY, kid="k2"), public_jwk(ED25519_KEY, kid="k2", alg=alg)):
        assert (await verifier(_set_of(named)).verify(token)).subject == "user-1"
    with pytest.raises(InvalidToken):
        await verifier(_set_of(public_jwk(ED25519_KEY, kid="k2", alg=other))).verify(token)


async def test_short_rsa_keys_are_not_used() -> None:
    """RFC 7518 §3.3: 2048 bits or more."""
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  to be refused
    with pytest.raises(InvalidToken):
        await verifier(_set_of(public_jwk(short, kid="k1"))).verify(mint(key=short, alg="RS256"))


@pytest.mark.parametrize("member", [{"n": b64(b"\xff" * 1025)}, {"e": b64(b"\xff" * 255)}])
def test_an_rsa_key_that_takes_long_to_verify_with_is_not_used(member: dict[str, str]) -> None:
    """RFC 7517 §5: a token that names no key is tried with each, and anyone can send one."""
    jwk = public_jwk(RSA_KEY)

    assert len(list(keys_of(jwk))) == 2
    assert not list(keys_of({**jwk, **member}))


async def test_two_keys_with_one_kid_are_both_tried() -> None:
    """RFC 7517 §4.5: different keys may share a `kid` when their types differ."""
    server = _set_of(public_jwk(ES384_KEY, kid="k1"), public_jwk(ES256_KEY, kid="k1"))

    assert (await verifier(server).verify(mint())).subject == "user-1"
    assert (await verifier(server).verify(mint(key=ES384_KEY, alg="ES384"))).subject == "user-1"


async def test_a_verifier_works_in_one_event_loop_after_another() -> None:
    """Test clients and workers start loops of their own, and nothing of an old one may linger."""
    import asyncio

    server = IssuerServer()
    subject = verifier(server)

    def in_a_loop_of_its_own() -> None:
        asyncio.run(_verify(subject))

    await anyio.to_thread.run_sync(in_a_loop_of_its_own)
    assert (await subject.verify(mint())).subject == "user-1"


async def _verify(subject: JwtVerifier) -> None:
    assert (await subject.verify(mint())).subject == "user-1"


async def test_no_token_is_sent_to_the_issuer() -> None:
    """The keys are public; the token is none of the issuer's requests."""
    seen: list[httpx2.Headers] = []
    server = IssuerServer()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(httpx2.Headers(scope["headers"]))
        await server(scope, receive, send)

    subject = JwtVerifier(resource=RESOURCE, issuers=[ISSUER], http_client=client_of(app), now=Clock())
    await subject.verify(mint())

    assert all("authorization" not in headers for headers in seen)
