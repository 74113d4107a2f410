"""DPoP at the token endpoint, RFC 9449: tokens are bound to the key that their client shows."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from mcpauth.events import RefreshTokenReused, TokenRefused
from mcpauth.oauth.errors import InvalidClientMetadata
from mcpauth.oauth.operator_terms import OperatorTerms
from mcpauth.settings import ConfigurationError
from mcpauth.stores.sqlite import SqliteStore
from tests.authorization_server.dpop_helpers import TOKEN, Key, Prover
from tests.authorization_server.front_helpers import SETTINGS as FRONT
from tests.authorization_server.front_helpers import VERIFIER, Browser, running
from tests.authorization_server.grants_helpers import ISSUER, NOTES, SETTINGS, Service, claims_of, service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import httpx2

    from mcpauth.oauth.client import Client

pytestmark = pytest.mark.anyio


@dataclass
class Setup:
    """A server, a public client with a key, and a machine."""

    server: Service
    client: Client
    prover: Prover

    async def post(self, form: dict[str, str | list[str]], *proofs: str) -> httpx2.Response:
        headers = [("DPoP", proof) for proof in proofs]
        return await self.server.http.post("/token", data=form, headers=headers)

    async def tokens(self, *, bound: bool = True) -> dict[str, Any]:
        """The tokens of a fresh code."""
        code = await self.server.user_code(self.client)
        response = await self.post(self.code_form(code), *([self.prover.proof()] if bound else []))
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    def code_form(self, code: str) -> dict[str, str | list[str]]:
        return {
            "grant_type": "authorization_code",
            "client_id": self.client.client_id,
            "code": code,
            "redirect_uri": self.client.redirect_uris[0],
            "code_verifier": VERIFIER,
        }

    async def refresh(self, token: str, *proofs: str, **changed: str) -> httpx2.Response:
        form = {"grant_type": "refresh_token", "client_id": self.client.client_id, "refresh_token": token}
        return await self.post({**form, **changed}, *proofs)


@asynccontextmanager
async def setup(**settings: Any) -> AsyncGenerator[Setup]:
    async with service(**settings) as server:
        yield Setup(server, await server.public_client(), Prover(server.clock))


def refused(response: httpx2.Response) -> str:
    assert response.status_code == 400, response.text
    assert response.headers["cache-control"] == "no-store"
    code: str = response.json()["error"]
    return code


async def test_tokens_are_bound_to_the_key_that_the_request_shows() -> None:
    """§5: `token_type` DPoP, and §6.1: the thumbprint in `cnf`."""
    async with setup() as at:
        body = await at.tokens()
        assert body["token_type"] == "DPoP"
        assert claims_of(body["access_token"])["cnf"] == {"jkt": at.prover.key.thumbprint()}
        notes = await at.server.server_of(NOTES)
        told = await at.server.introspect(notes, body["access_token"])
        assert (told["token_type"], told["cnf"]) == ("DPoP", {"jkt": at.prover.key.thumbprint()})


async def test_without_a_proof_a_token_is_a_bearer_token() -> None:
    async with setup() as at:
        body = await at.tokens(bound=False)
        assert body["token_type"] == "Bearer"
        assert "cnf" not in claims_of(body["access_token"])


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        ("ES256", ECKey.generate_key("P-256")),
        ("ES384", ECKey.generate_key("P-384")),
        ("EdDSA", OKPKey.generate_key("Ed25519")),
        ("Ed25519", OKPKey.generate_key("Ed25519")),
        ("RS256", RSAKey.generate_key(2048)),
        ("PS256", RSAKey.generate_key(2048)),
    ],
)
@pytest.mark.filterwarnings("ignore:EdDSA")
async def test_every_advertised_algorithm_is_taken(alg: str, key: Key) -> None:
    """§5.1."""
    async with setup() as at:
        metadata = (await at.server.http.get("/.well-known/oauth-authorization-server")).json()
        assert alg in metadata["dpop_signing_alg_values_supported"]
        at.prover.alg, at.prover.key = alg, key
        assert (await at.tokens())["token_type"] == "DPoP"


OTHER = ECKey.generate_key("P-256")
PRIVATE = ECKey.generate_key("P-256")


@pytest.mark.parametrize(
    ("header", "changed"),
    [
        ({"typ": "JWT"}, {}),
        ({"typ": None}, {}),
        ({"typ": "at+jwt"}, {}),
        ({"jwk": None}, {}),
        ({"jwk": None, "kid": "a"}, {}),
        ({"jwk": OTHER.as_dict(private=False)}, {}),
        ({"jwk": PRIVATE.as_dict(private=True)}, {}),
        ({"jwk": {}}, {}),
        ({"jwk": {"kty": "oct", "k": "c2VjcmV0"}}, {}),
        ({"crit": ["kid"], "kid": "a"}, {}),
        ({}, {"htm": "GET"}),
        ({}, {"htm": None}),
        ({}, {"htm": ["POST"]}),
        ({}, {"htu": f"{ISSUER}/revoke"}),
        ({}, {"htu": "https://evil.example/token"}),
        ({}, {"htu": None}),
        ({}, {"htu": 7}),
        ({}, {"htu": [TOKEN]}),
        ({}, {"htu": "http://[::1"}),
        ({}, {"iat": 1_800_000_000 - 60}),
        ({}, {"iat": 1_800_000_000 + 31}),
        ({}, {"iat": None}),
        ({}, {"iat": "1800000000"}),
        ({}, {"iat": 1_800_000_000.5}),
        ({}, {"iat": True}),
        ({}, {"jti": None}),
        ({}, {"jti": ""}),
        ({}, {"jti": 7}),
        ({}, {"jti": "x" * 257}),
    ],
)
async def test_a_proof_that_is_not_for_this_request_is_refused(
    header: dict[str, Any], changed: dict[str, Any]
) -> None:
    """§4.3: the code stays good, and nothing is issued."""
    async with setup() as at:
        code = await at.server.user_code(at.client)
        assert refused(await at.post(at.code_form(code), at.prover.proof(header, **changed))) == (
            "invalid_dpop_proof"
        )
        assert await at.server.store.list("grant") == []
        assert len(at.server.events(TokenRefused)) == 1
        assert (await at.post(at.code_form(code), at.prover.proof())).status_code == 200


@pytest.mark.parametrize("proof", ["", "a", "a.b", "a.b.c", "a.b.c.d", "ü.b.c", "x" * 9000])
async def test_what_is_no_proof_is_refused(proof: str) -> None:
    async with setup() as at:
        code = await at.server.user_code(at.client)
        header = [(b"DPoP", proof.encode("latin-1"))]
        response = await at.server.http.post("/token", data=at.code_form(code), headers=header)
        assert refused(response) == "invalid_dpop_proof"


async def test_unsigned_and_symmetric_proofs_are_refused() -> None:
    """§4.3: an asymmetric algorithm, and not `none`."""
    async with setup() as at:
        code = await at.server.user_code(at.client)
        head, body, signature = at.prover.proof().split(".")
        unsigned = jws.serialize_compact(
            {"alg": "HS256", "typ": "dpop+jwt", "jwk": at.prover.key.as_dict(private=False)},
            json.dumps({"jti": "a", "htm": "POST", "htu": TOKEN, "iat": int(at.server.clock())}),
            OctKey.import_key("secret-of-at-least-thirty-two-bytes"),
            registry=jws.JWSRegistry(algorithms=["HS256"], strict_check_header=False),
        )
        for proof in (f"{head}.{body}.", f"{head}.{body}.{signature[:-4]}AAAA", unsigned):
            assert refused(await at.post(at.code_form(code), proof)) == "invalid_dpop_proof"
        assert await at.server.store.list("grant") == []


async def test_two_proofs_are_refused() -> None:
    """§4.3: not more than one header."""
    async with setup() as at:
        code = await at.server.user_code(at.client)
        response = await at.post(at.code_form(code), at.prover.proof(), at.prover.proof())
        assert refused(response) == "invalid_dpop_proof"


async def test_a_proof_is_good_once_in_all_processes(tmp_path: Path) -> None:
    """§11.1."""
    path = tmp_path / "as.db"
    async with setup() as seed:
        clock = seed.server.clock
    one, two = [await SqliteStore.open(path, now=clock) for _ in range(2)]
    async with service(one, clock) as first, service(two, clock) as second:
        client = await first.public_client()
        proof = Prover(clock).proof()
        answers: list[httpx2.Response] = []

        async def ask(server: Service) -> None:
            at = Setup(server, client, Prover(clock))
            answers.append(await at.post(at.code_form(await server.user_code(client)), proof))

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(ask, (first, second)[number % 2])
        assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9
        assert {answer.json()["error"] for answer in answers if answer.status_code == 400} == {
            "invalid_dpop_proof"
        }
    await one.aclose()
    await two.aclose()


async def test_a_code_can_be_bound_to_a_key_from_the_beginning() -> None:
    """§10: `dpop_jkt`; whoever steals the code and the verifier still lacks the key."""
    async with running() as server, server.browser() as browser:
        prover, thief = Prover(server.clock), Prover(server.clock)
        code = await browser.to_code(dpop_jkt=prover.key.thumbprint())
        for proofs in ([], [thief]):
            assert refused(await _redeem(browser, code, *proofs)) == "invalid_grant"
        assert await server.store.list("grant") == []
        response = await _redeem(browser, code, prover)
        assert response.json()["token_type"] == "DPoP"


async def _redeem(browser: Browser, code: str, *provers: Prover) -> httpx2.Response:
    form = {"grant_type": "authorization_code", "client_id": browser.client.client_id, "code": code}
    form |= {"redirect_uri": browser.client.redirect_uris[0], "code_verifier": VERIFIER}
    uri = f"{FRONT.issuer}/token"
    headers = [("DPoP", prover.proof(htu=uri)) for prover in provers]
    return await browser.http.post("/token", data=form, headers=headers)


@pytest.mark.parametrize("dpop_jkt", ["x", "x" * 42, "x" * 44, "x" * 42 + "=", "é" * 43, "x" * 43 + "\n"])
async def test_a_dpop_jkt_that_is_no_thumbprint_is_refused(dpop_jkt: str) -> None:
    async with running() as server, server.browser() as browser:
        response = await browser.authorize(dpop_jkt=dpop_jkt)
        assert "error=invalid_request" in response.headers["location"]


async def test_a_public_clients_refresh_token_is_bound_to_its_key() -> None:
    """§5: nothing else proves that a refresh comes from it."""
    async with setup() as at:
        token = (await at.tokens())["refresh_token"]
        thief = Prover(at.server.clock)
        for proofs in ([], [thief.proof()]):
            assert refused(await at.refresh(token, *proofs)) == "invalid_grant"
        response = await at.refresh(token, at.prover.proof())
        assert response.status_code == 200, "the thief's tries changed nothing"
        assert response.json()["token_type"] == "DPoP"
        assert at.server.events(RefreshTokenReused) == []


async def test_a_refresh_with_a_proof_binds_what_was_not_bound() -> None:
    async with setup() as at:
        token = (await at.tokens(bound=False))["refresh_token"]
        bound = (await at.refresh(token, at.prover.proof())).json()
        assert bound["token_type"] == "DPoP"
        assert refused(await at.refresh(bound["refresh_token"])) == "invalid_grant"


async def test_a_lost_answer_is_repeated_to_the_same_key_alone() -> None:
    async with setup() as at:
        token = (await at.tokens())["refresh_token"]
        first = (await at.refresh(token, at.prover.proof())).json()
        assert (await at.refresh(token, at.prover.proof())).json() == first
        for proofs in ([], [Prover(at.server.clock).proof()]):
            assert refused(await at.refresh(token, *proofs)) == "invalid_grant"
        assert (await at.refresh(first["refresh_token"], at.prover.proof())).status_code == 200


async def test_a_confidential_client_may_change_its_key() -> None:
    """§5: its refresh tokens are bound to the client already."""
    async with service() as server:
        terms = OperatorTerms(resources=(NOTES,), scopes=("notes:read",))
        client, secret = await server.confidential_client(
            "authorization_code", "refresh_token", "client_credentials", terms=terms
        )
        auth = (client.client_id, secret)
        keys = [Prover(server.clock), Prover(server.clock)]
        code = await server.user_code(client)
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
        form["redirect_uri"] = "http://127.0.0.1:3000/callback"
        body = (await _as(server, auth, form, keys[0])).json()
        form = {"grant_type": "refresh_token", "refresh_token": body["refresh_token"]}
        response = await _as(server, auth, form, keys[1])
        assert claims_of(response.json()["access_token"])["cnf"] == {"jkt": keys[1].key.thumbprint()}
        machine = await _as(server, auth, {"grant_type": "client_credentials"}, keys[0])
        assert claims_of(machine.json()["access_token"])["cnf"] == {"jkt": keys[0].key.thumbprint()}


async def _as(
    server: Service, auth: tuple[str, str], form: dict[str, str], prover: Prover
) -> httpx2.Response:
    response = await server.http.post("/token", data=form, auth=auth, headers={"DPoP": prover.proof()})
    assert response.status_code == 200, response.text
    return response


async def test_a_nonce_is_asked_for_told_and_taken() -> None:
    """§8: the same request with the nonce succeeds, and §8.2: the answer tells the next one."""
    async with setup(dpop_nonce_required=True) as at:
        code = await at.server.user_code(at.client)
        first = await at.post(at.code_form(code), at.prover.proof())
        assert refused(first) == "use_dpop_nonce"
        nonce = first.headers["dpop-nonce"]
        assert "DPoP-Nonce" in first.headers["access-control-expose-headers"]
        for wrong in ("", "x", f"{nonce}x", 7):
            response = await at.post(at.code_form(code), at.prover.proof(nonce=wrong))
            assert refused(response) == "use_dpop_nonce"
        good = await at.post(at.code_form(code), at.prover.proof(nonce=nonce))
        assert good.status_code == 200
        assert good.headers["dpop-nonce"] == nonce
        at.server.clock.advance(600)
        late = await at.refresh(good.json()["refresh_token"], at.prover.proof(nonce=nonce))
        assert refused(late) == "use_dpop_nonce"
        assert late.headers["dpop-nonce"] != nonce


async def test_every_process_knows_the_nonces_of_the_others() -> None:
    async with setup(dpop_nonce_required=True) as at:
        code = await at.server.user_code(at.client)
        nonce = (await at.post(at.code_form(code), at.prover.proof())).headers["dpop-nonce"]
        async with service(at.server.store, at.server.clock, dpop_nonce_required=True) as other:
            elsewhere = Setup(other, at.client, at.prover)
            response = await elsewhere.post(at.code_form(code), at.prover.proof(nonce=nonce))
            assert response.status_code == 200


async def test_a_server_can_ask_every_client_for_a_proof() -> None:
    async with setup(dpop="required") as at:
        code = await at.server.user_code(at.client)
        assert refused(await at.post(at.code_form(code))) == "invalid_dpop_proof"
        assert (await at.post(at.code_form(code), at.prover.proof())).json()["token_type"] == "DPoP"


async def test_a_client_can_ask_never_to_get_an_unbound_token() -> None:
    """§5.2: `dpop_bound_access_tokens` in its registration, which is told back."""
    async with setup() as at:
        body = {"redirect_uris": ["http://127.0.0.1:3000/callback"], "dpop_bound_access_tokens": True}
        registered = (await at.server.http.post("/register", json=body)).json()
        assert registered["dpop_bound_access_tokens"] is True
        client = await at.server.clients.get(registered["client_id"])
        assert client is not None
        strict = Setup(at.server, client, at.prover)
        code = await at.server.user_code(client)
        assert refused(await strict.post(strict.code_form(code))) == "invalid_dpop_proof"
        assert (await strict.post(strict.code_form(code), at.prover.proof())).status_code == 200
        with pytest.raises(InvalidClientMetadata):
            at.server.clients.check({**body, "dpop_bound_access_tokens": "yes"})


async def test_turned_off_it_is_neither_offered_nor_done() -> None:
    async with setup(dpop="off") as at:
        metadata = (await at.server.http.get("/.well-known/oauth-authorization-server")).json()
        assert "dpop_signing_alg_values_supported" not in metadata
        assert (await at.tokens())["token_type"] == "Bearer"
    settings = replace(FRONT, dpop="off")
    async with running(settings=settings) as server, server.browser() as browser:
        code = await browser.to_code(dpop_jkt=Prover(server.clock).key.thumbprint())
        assert (await browser.redeem(code)).json()["token_type"] == "Bearer", (
            "an unknown parameter is ignored"
        )


async def test_another_way_of_it_does_not_exist() -> None:
    with pytest.raises(ConfigurationError, match="must be one of accepted, required, off"):
        type(SETTINGS)(ISSUER, SETTINGS.resources, NOTES, dpop="maybe")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
