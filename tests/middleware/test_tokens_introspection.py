"""Opaque tokens, RFC 7662: against a server of the test's own, and against this project's server."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import anyio
import anyio.lowlevel
import pytest

from mcpauth_middleware import (
    AuthorizationServer,
    ClientCredentials,
    IntrospectionVerifier,
    InvalidToken,
    IssuerUnavailable,
    JwtVerifier,
    StateHandles,
)
from mcpauth_middleware.tokens.accepted import AcceptedTokens
from mcpauth_middleware.tokens.fetch import JsonAnswer, JsonRequest
from tests.authorization_server import grants_helpers
from tests.middleware.dpop_helpers import Prover
from tests.middleware.edge_helpers import (
    ISSUER,
    NOW,
    RESOURCE,
    Clock,
    IssuerServer,
    RecordingApp,
    bearer,
    claims,
    client_of,
    mint,
    post,
    protect,
)

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import Receive, Scope, Send

pytestmark = pytest.mark.anyio

CREDENTIALS = ClientCredentials("rs 1", "s3cr:et%")


@dataclass
class Introspecting:
    """An authorization server that tells what the test puts down for a token."""

    known: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    asked: list[str] = field(default_factory=list[str])
    headers: list[dict[bytes, bytes]] = field(default_factory=list[dict[bytes, bytes]])
    status: int = 200
    body: bytes | None = None
    go_on: anyio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/introspect":
            server = IssuerServer()
            server.documents["/.well-known/oauth-authorization-server"]["introspection_endpoint"] = (
                f"{ISSUER}/introspect"
            )
            await server(scope, receive, send)
            return
        form = parse_qs((await receive())["body"].decode())
        self.asked.append(form["token"][0])
        self.headers.append(dict(scope["headers"]))
        if self.go_on is not None:
            await self.go_on.wait()
        body = self.body or json.dumps(self.known.get(form["token"][0], {"active": False})).encode()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": body})


def active(**changed: Any) -> dict[str, Any]:
    return {"active": True, **claims(**changed)}


def server_with(**description: Any) -> AuthorizationServer:
    return AuthorizationServer(ISSUER, introspection=CREDENTIALS, **description)


def verifier(
    server: Introspecting, *, clock: Clock | None = None, description: AuthorizationServer | None = None
) -> IntrospectionVerifier:
    return IntrospectionVerifier(
        description or server_with(), resource=RESOURCE, http_client=client_of(server), now=clock or Clock()
    )


async def test_an_opaque_token_is_what_the_authorization_server_says() -> None:
    """RFC 7662 §2.1 and §2.2; RFC 6749 §2.3.1 for how this server says who it is."""
    server = Introspecting({"opaque": active()})

    principal = await verifier(server).verify("opaque")

    assert (principal.subject, principal.client_id, principal.issuer) == ("user-1", "client-1", ISSUER)
    assert principal.scopes == {"files:read"}
    assert principal.expires_at == NOW + 600
    scheme, _, credentials = server.headers[0][b"authorization"].decode().partition(" ")
    assert (scheme, b64decode(credentials)) == ("Basic", b"rs+1:s3cr%3Aet%25")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"active": False}, "inactive"),
        ({}, "inactive"),
        (active(active="true"), "inactive"),
        (active(active=1), "inactive"),
        (active(aud="https://other.example"), "audience"),
        (active(aud=None), "audience"),
        (active(exp=None), "times"),
        (active(exp=NOW), "expired"),
        (active(exp=str(NOW + 600)), "times"),
        (active(nbf=NOW + 60), "not_yet_valid"),
        (active(iss="https://other.example"), "issuer"),
        (active(sub=None, client_id=None), "sub"),
        (active(scope=["a"]), "scope"),
        (active(cnf={"jkt": "x"}), "bound_to_a_key"),
        (active(token_use="refresh_token"), "not_an_access_token"),  # as Hydra says it
        (active(typ="Refresh"), "not_an_access_token"),  # as Keycloak does
        (active(typ="ID"), "not_an_access_token"),
        (active(token_type="refresh_token"), "not_an_access_token"),
        (active(token_type="Refresh"), "not_an_access_token"),
        (active(token_type=["Bearer"]), "not_an_access_token"),
        (active(token_type="DPoP"), "bound_in_another_way"),
    ],
)
async def test_an_answer_that_does_not_make_the_token_good_for_here_is_a_refusal(
    answer: dict[str, Any], reason: str
) -> None:
    """RFC 7662 §4: active says nothing of whether it is for this resource."""
    with pytest.raises(InvalidToken) as raised:
        await verifier(Introspecting({"opaque": answer})).verify("opaque")
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    "kind",
    [
        {"token_type": "Bearer", "token_use": "access_token"},
        {"token_type": "bearer", "typ": "Bearer"},
        {"token_type": "access_token"},
        {"token_type": ""},
        {"token_type": None},
    ],
)
async def test_an_access_token_may_be_called_so(kind: dict[str, Any]) -> None:
    """RFC 7662 §2.2, and what servers make of it."""
    server = Introspecting({"opaque": {**active(), **kind}})
    assert (await verifier(server).verify("opaque")).subject == "user-1"


async def test_a_client_that_acts_for_itself_needs_no_sub() -> None:
    """RFC 7662 §2.2: `sub` is usually, not always, there."""
    principal = await verifier(Introspecting({"opaque": active(sub=None)})).verify("opaque")
    assert (principal.subject, principal.client_id) == ("client-1", "client-1")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((500, None), (503, None), (401, None), (403, None), (302, None), (200, b"<html>"), (200, b"[]")),
        (200, json.dumps({**claims(), "active": False})[:-1].encode() + b', "active": true}'),
        (200, json.dumps({**claims(), "active": True, "weight": float("nan")}).encode()),
    ],
)
async def test_no_answer_is_not_the_tokens_fault(status: int, body: bytes | None) -> None:
    """503, not 401: the client would throw away a token that may be good. RFC 8259 §4 for members twice."""
    server = Introspecting({"opaque": active()}, status=status, body=body)
    subject = verifier(server)

    with pytest.raises(IssuerUnavailable):
        await subject.verify("opaque")
    server.status, server.body = 200, None
    assert (await subject.verify("opaque")).subject == "user-1"  # the failure was not remembered


async def test_no_secret_and_no_token_is_logged_or_shown(caplog: pytest.LogCaptureFixture) -> None:
    """What is logged of a failure is for everyone who reads logs."""
    with pytest.raises(IssuerUnavailable):
        await verifier(Introspecting(status=401)).verify("the-token")

    assert "check its client_id and secret" in caplog.text
    for hidden in ("the-token", "s3cr"):
        assert hidden not in caplog.text
        assert hidden not in repr(server_with())
        assert hidden not in repr(JsonRequest("https://as.example", form={"token": hidden}))
        assert hidden not in repr(JsonAnswer("https://as.example", 200, {}, hidden.encode()))


async def test_answers_hold_for_ten_seconds_both_good_and_bad() -> None:
    """Short, so that a revoked token ends soon."""
    server, clock = Introspecting({"opaque": active(), "short": active(exp=NOW + 5)}), Clock()
    subject = verifier(server, clock=clock)

    for _ in range(3):
        await subject.verify("opaque")
        await subject.verify("short")
        with pytest.raises(InvalidToken):
            await subject.verify("unknown")
    assert sorted(server.asked) == ["opaque", "short", "unknown"]

    server.known["opaque"] = {"active": False}
    clock.time += 5
    await subject.verify("opaque")
    with pytest.raises(InvalidToken):
        await subject.verify("short")
    clock.time += 5
    with pytest.raises(InvalidToken):
        await subject.verify("opaque")


async def test_an_answer_does_not_hold_longer_when_the_clock_is_set_back() -> None:
    """Ten seconds are ten seconds."""
    server, clock = Introspecting({"opaque": active(iat=None)}), Clock()
    subject = verifier(server, clock=clock)
    await subject.verify("opaque")

    server.known.clear()
    clock.time -= 3600
    with pytest.raises(InvalidToken):
        await subject.verify("opaque")


async def test_many_requests_with_one_token_ask_once_even_if_the_first_goes_away() -> None:
    """One question, whoever waits for its answer."""
    server = Introspecting({"opaque": active()}, go_on=anyio.Event())
    subject = verifier(server)
    principals: list[object] = []

    async def call() -> None:
        principals.append(await subject.verify("opaque"))

    async with anyio.create_task_group() as group:
        with anyio.move_on_after(0.02):
            await call()
        for _ in range(10):
            group.start_soon(call)
        await anyio.lowlevel.checkpoint()
        assert server.go_on is not None
        server.go_on.set()

    assert len(principals) == 10
    assert server.asked == ["opaque"]


async def test_a_flood_of_invented_tokens_does_not_reach_the_authorization_server() -> None:
    """No more than a hundred questions at a time."""
    server = Introspecting(go_on=anyio.Event())
    subject = verifier(server)
    refused: list[str] = []

    async def call(token: str) -> None:
        try:
            await subject.verify(token)
        except IssuerUnavailable as unavailable:
            refused.append(unavailable.reason)
        except InvalidToken:
            pass

    async with anyio.create_task_group() as group:
        for number in range(150):
            group.start_soon(call, f"invented-{number}")
        await anyio.sleep(0.05)
        assert server.go_on is not None
        server.go_on.set()

    assert refused == ["introspection_busy"] * 50
    assert len(server.asked) == 100


async def test_invented_tokens_beyond_the_rate_of_their_address_are_not_asked_about() -> None:
    """RFC 7662 §4: asked without end, the server would have no time for the tokens of others."""
    server, app, clock = Introspecting({"known": active(), "new": active()}), RecordingApp(), Clock()
    middleware = protect(
        app,
        verifier=None,
        authorization_servers=[
            server_with(),
            AuthorizationServer("https://other.example", jwks_uri=f"{ISSUER}/jwks"),
        ],
        revocation="off",
        http_client=client_of(server),
        failed_authentications="5/minute",
        now=clock,
    )

    async def statuses(*tokens: str, address: str = "192.0.2.7") -> list[int]:
        http = client_of(middleware, address=address)
        return [(await post(http, "tools/list", headers=bearer(token))).status_code for token in tokens]

    assert await statuses("known") == [200]
    assert await statuses(*(f"invented-{number}" for number in range(6))) == [401] * 4 + [429] * 2
    assert server.asked == ["known", *(f"invented-{number}" for number in range(4))]

    clock.time += 11  # "known" has to be asked about again, and may be
    assert await statuses("known", "new", "known") == [200, 429, 200]
    assert await statuses("new", address="198.51.100.1") == [200]
    signed = mint(claims(iss="https://other.example"))
    assert await statuses(signed, signed) == [200, 200]  # nobody is asked about those
    assert await statuses(mint()) == [429]
    assert server.asked[5:] == ["known", "new"]


async def test_the_endpoint_can_be_configured_and_must_be_https() -> None:
    """RFC 7662 §4: tokens and secrets travel to it."""
    server = Introspecting({"opaque": active()})
    described = server_with(introspection_endpoint=f"{ISSUER}/introspect")
    assert (await verifier(server, description=described).verify("opaque")).subject == "user-1"

    with pytest.raises(ValueError, match=r"^introspection_endpoint: "):
        server_with(introspection_endpoint="http://as.example/introspect")
    with pytest.raises(ValueError, match="client_secret"):
        ClientCredentials("rs", "")
    for wrong in ("s3cret\n", "s3\0cret", "s3cret\udcff"):
        with pytest.raises(ValueError, match=r"^client_secret: ") as raised:
            ClientCredentials("rs", wrong)
        assert "s3" not in repr(raised.value)
    with pytest.raises(ValueError, match=r"^cache_seconds: "):
        IntrospectionVerifier(server_with(), resource=RESOURCE, cache_seconds=11)
    with pytest.raises(ValueError, match=r"^introspection: "):
        IntrospectionVerifier(AuthorizationServer(ISSUER), resource=RESOURCE)


def accepted(server: Introspecting) -> AcceptedTokens:
    other = "https://other.example"
    http_client = client_of(server)
    return AcceptedTokens(
        JwtVerifier(
            resource=RESOURCE,
            issuers=[AuthorizationServer(other, jwks_uri=f"{ISSUER}/jwks")],
            http_client=http_client,
            now=Clock(),
        ),
        introspection={ISSUER: verifier(server)},
        verified=None,
    )


async def test_a_token_is_told_only_to_the_server_that_can_have_issued_it() -> None:
    """Whoever is asked about a token learns it."""
    server = Introspecting({"opaque": active()})
    ours = mint()
    server.known[ours] = active(sub="asked")
    subject = accepted(server)

    assert (await subject.verify("opaque")).subject == "user-1"
    assert (await subject.verify(ours)).subject == "asked"
    assert (await subject.verify(mint(claims(iss="https://other.example")))).subject == "user-1"
    with pytest.raises(InvalidToken):
        await subject.verify(mint(claims(iss="https://third.example")))

    assert server.asked == ["opaque", ours]


async def test_a_token_that_names_no_issuer_is_asked_about() -> None:
    """RFC 7662 §1.1: the token is opaque to the resource server, also when it is a JWT."""
    token = mint(claims(iss=None))
    server = Introspecting({token: active()})
    subject = accepted(server)
    assert subject.asks_about(token)
    assert (await subject.verify(token)).subject == "user-1"


@pytest.mark.parametrize("token", ["v1.abc.def", "a.b", "a.b.c.d.e", "abc=", "..", "~"])
async def test_an_opaque_token_may_look_like_anything(token: str) -> None:
    """RFC 6750 §2.1: any b64token."""
    server = Introspecting({token: active()})
    assert (await accepted(server).verify(token)).subject == "user-1"


async def test_over_the_middleware_no_answer_is_503_and_nothing_runs() -> None:
    """RFC 9110 §15.6.4; the next request asks again."""
    server, app = Introspecting({"opaque": active()}, status=500), RecordingApp()
    middleware = protect(
        app,
        verifier=None,
        authorization_servers=[server_with()],
        revocation="off",
        http_client=client_of(server),
    )
    http = client_of(middleware)

    down = await post(http, "tools/list", headers=bearer("opaque"))
    assert down.status_code == 503
    assert down.headers["Retry-After"]
    assert not app.scopes

    server.status = 200
    assert (await post(http, "tools/list", headers=bearer("opaque"))).status_code == 200
    assert (await post(http, "tools/list", headers=bearer("other"))).status_code == 401


async def test_a_bound_opaque_token_needs_its_proof() -> None:
    """RFC 9449 §6.2: introspection tells `cnf`."""
    prover = Prover()
    server = Introspecting({"opaque": active(cnf={"jkt": prover.thumbprint}, token_type="DPoP")})
    middleware = protect(
        RecordingApp(),
        verifier=None,
        authorization_servers=[server_with()],
        revocation="off",
        http_client=client_of(server),
    )
    http = client_of(middleware)

    assert (await post(http, "tools/list", headers=bearer("opaque"))).status_code == 401
    assert (await post(http, "tools/list", headers=prover.headers("opaque"))).status_code == 200


async def test_lone_surrogates_in_an_answer_are_no_error_of_this_server() -> None:
    """RFC 8259 §8.2: what a client was called at the authorization server may come back like that."""
    answer = active(sub="ada\ud800", cnf={"jkt": "\ud800"})
    server = Introspecting({"opaque": answer})
    middleware = protect(
        RecordingApp(),
        verifier=None,
        authorization_servers=[server_with()],
        revocation="off",
        http_client=client_of(server),
    )

    refused = await post(client_of(middleware), "tools/list", headers=Prover().headers("opaque"))
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_token")

    del answer["cnf"]
    ada, handles = await verifier(server).verify("opaque"), StateHandles()
    handle = handles.mint(ada)
    assert handles.check(handle.value, ada) == handle


def test_two_servers_with_opaque_tokens_cannot_be_told_apart() -> None:
    """A token would have to be shown to both."""
    one = verifier(Introspecting())
    with pytest.raises(ValueError, match="only one"):
        AcceptedTokens(None, introspection={ISSUER: one, "https://b.example": one}, verified=None)


async def test_without_introspection_an_opaque_token_is_malformed() -> None:
    """It can be nobody's."""
    with pytest.raises(InvalidToken) as raised:
        await AcceptedTokens(None, introspection={}, verified=None).verify("opaque")
    assert raised.value.reason == "malformed"


async def test_our_own_server_answers_and_a_revoked_grant_ends_its_tokens() -> None:
    """Test 114, from the other side."""
    async with grants_helpers.service() as service:
        client = await service.public_client()
        resource_server, secret = await service.server_of(grants_helpers.NOTES)
        tokens = await service.user_tokens(client)
        subject = IntrospectionVerifier(
            AuthorizationServer(
                grants_helpers.ISSUER,
                introspection=ClientCredentials(resource_server.client_id, secret),
            ),
            resource=grants_helpers.NOTES,
            http_client=service.http,
            now=service.clock,
        )

        principal = await subject.verify(tokens["access_token"])
        assert principal.subject == service.ada.user_id
        assert principal.client_id == client.client_id
        assert principal.scopes == {"notes:read", "notes:write"}

        await service.revoke(client, tokens["refresh_token"])
        service.clock.moment += 10
        with pytest.raises(InvalidToken) as raised:
            await subject.verify(tokens["access_token"])
        assert raised.value.reason == "inactive"
