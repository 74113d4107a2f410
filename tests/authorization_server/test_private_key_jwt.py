"""Client authentication with a signed assertion, RFC 7523."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import anyio
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from mcp.client.auth.extensions.client_credentials import SignedJWTParameters
from mcp.shared.auth import OAuthMetadata

from mcpauth.events import ClientAuthenticationFailed
from tests.authorization_server.assertion_helpers import (
    ASSERTION_TYPE,
    claims_of,
    client_with,
    form,
    key,
    signed,
)
from tests.authorization_server.document_helpers import CALLBACK, CLIENT_ID, Network, document
from tests.authorization_server.front_helpers import ISSUER, START, VERIFIER, Browser, Running, running
from tests.authorization_server.https_helpers import answering, https_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

    from mcpauth.oauth.client import Client

pytestmark = pytest.mark.anyio

JWKS_URI = "https://signer.example/jwks.json"


@pytest.fixture
def network() -> Network:
    return Network({JWKS_URI: {"keys": [key().with_kid("one")]}})


@pytest.fixture
async def server(network: Network) -> AsyncGenerator[Running]:
    async with running(fetch=network) as server:
        yield server


@pytest.fixture
async def client(server: Running) -> Client:
    return await client_with(server, key().with_kid("one"))


@pytest.fixture
async def browser(server: Running, client: Client) -> AsyncGenerator[Browser]:
    async with server.browser(client) as browser:
        yield browser


async def sent(browser: Browser, assertion: str, **more: str) -> httpx2.Response:
    return await browser.http.post("/revoke", data=form(assertion, **more))


def failures(server: Running) -> list[ClientAuthenticationFailed]:
    return [event for event in server.happened if isinstance(event, ClientAuthenticationFailed)]


async def refused(server: Running, response: httpx2.Response) -> None:
    """The one answer to every wrong credential; the assertion has not been used up."""
    assert response.status_code == 401, response.text
    assert response.json()["error"] == "invalid_client"
    assert await server.store.list("client_assertion") == []


async def test_a_client_gets_tokens_with_an_assertion_and_without_its_client_id(
    server: Running, browser: Browser, client: Client
) -> None:
    """RFC 7523 §3: `sub` says who it is; neither SDK sends a client_id or a kid."""
    code = await browser.to_code()
    parameters = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uris[0],
        "code_verifier": VERIFIER,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": signed(key(), claims_of(client.client_id)),
    }
    response = await browser.http.post("/token", data=parameters)
    assert response.status_code == 200, response.text
    assert response.json()["refresh_token"]


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "EdDSA", "Ed25519"])
async def test_each_algorithm_of_the_metadata_works(server: Running, algorithm: str) -> None:
    used = key(algorithm)
    client = await client_with(server, used.jwk)
    async with server.browser(client) as browser:
        metadata = (await browser.http.get("/.well-known/oauth-authorization-server")).json()
        response = await sent(browser, signed(used, claims_of(client.client_id)))
    assert response.status_code == 200
    assert algorithm in metadata["token_endpoint_auth_signing_alg_values_supported"]
    assert "private_key_jwt" in metadata["token_endpoint_auth_methods_supported"]


@pytest.mark.parametrize(
    "aud", [ISSUER, f"{ISSUER}/token", f"{ISSUER}/par", [ISSUER], [f"{ISSUER}/token"], [f"{ISSUER}/par"]]
)
async def test_the_audience_is_the_issuer_or_an_endpoint_where_clients_authenticate(
    browser: Browser, client: Client, aud: object
) -> None:
    """RFC 7523 §3 and RFC 9126 §2."""
    assert (await sent(browser, signed(key(), claims_of(client.client_id, aud=aud)))).status_code == 200


@pytest.mark.parametrize(
    "typ", [None, "JWT", "jwt", "client-authentication+jwt", "application/client-authentication+jwt"]
)
async def test_these_types_are_client_assertions(browser: Browser, client: Client, typ: str | None) -> None:
    assertion = signed(key(), claims_of(client.client_id), typ=typ)
    assert (await sent(browser, assertion)).status_code == 200


async def test_without_a_kid_each_key_of_the_right_type_is_tried(server: Running) -> None:
    """Clients rotate, and few send a kid."""
    client = await client_with(
        server, key("RS256").with_kid("r"), key(number=1).with_kid("a"), key(number=2).with_kid("b")
    )
    async with server.browser(client) as browser:
        for number, jti in ((1, "a"), (2, "b")):
            assertion = signed(key(number=number), claims_of(client.client_id, jti=jti))
            assert (await sent(browser, assertion)).status_code == 200
        stranger = signed(key(number=3), claims_of(client.client_id, jti="c"))
        assert (await sent(browser, stranger)).status_code == 401


async def test_a_kid_chooses_the_key(server: Running) -> None:
    client = await client_with(server, key(number=1).with_kid("a"), key(number=2).with_kid("b"))
    async with server.browser(client) as browser:
        right = signed(key(number=2), claims_of(client.client_id), kid="b")
        assert (await sent(browser, right)).status_code == 200
        wrong = signed(key(number=2), claims_of(client.client_id, jti="second"), kid="a")
        assert (await sent(browser, wrong)).status_code == 401


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"aud": "https://other.example"}, id="wrong aud"),
        pytest.param({"aud": f"{ISSUER}/"}, id="aud with a slash"),
        pytest.param({"aud": f"{ISSUER}/revoke"}, id="aud is another endpoint"),
        pytest.param({"aud": [ISSUER, "https://other.example"]}, id="aud with a stranger"),
        pytest.param({"aud": [ISSUER, f"{ISSUER}/token"]}, id="two names of this server"),
        pytest.param({"aud": []}, id="empty aud"),
        pytest.param({"aud": [[ISSUER]]}, id="nested aud"),
        pytest.param({"aud": {ISSUER: 1}}, id="aud is an object"),
        pytest.param({"aud": None}, id="no aud"),
        pytest.param({"iss": "another"}, id="iss is not sub"),
        pytest.param({"iss": ISSUER}, id="iss is this server"),
        pytest.param({"iss": None}, id="no iss"),
        pytest.param({"exp": START}, id="exp now"),
        pytest.param({"exp": START - 1}, id="exp past"),
        pytest.param({"exp": START + 601}, id="exp more than ten minutes ahead"),
        pytest.param({"exp": START + 10**9}, id="exp far ahead"),
        pytest.param({"exp": None}, id="no exp"),
        pytest.param({"exp": True}, id="exp is a boolean"),
        pytest.param({"exp": [START + 60]}, id="exp is a list"),
        pytest.param({"iat": START + 31}, id="iat in the future"),
        pytest.param({"iat": START + 10**6}, id="iat far in the future"),
        pytest.param({"iat": -1}, id="iat negative"),
        pytest.param({"nbf": START + 31}, id="nbf in the future"),
        pytest.param({"jti": None}, id="no jti"),
        pytest.param({"jti": ""}, id="empty jti"),
        pytest.param({"jti": 5}, id="jti is no text"),
        pytest.param({"jti": ["a"]}, id="jti is a list"),
    ],
)
async def test_an_assertion_with_a_wrong_claim_is_refused(
    server: Running, browser: Browser, client: Client, changed: dict[str, Any]
) -> None:
    """RFC 7523 §3."""
    # PyJWT refuses to sign some of them, so the claims are signed as bytes.
    payload = json.dumps(claims_of(client.client_id, **changed)).encode()
    assertion = jwt.PyJWS().encode(payload, key().private, algorithm="ES256")
    await refused(server, await sent(browser, assertion))
    (failure,) = failures(server)
    assert (failure.method, failure.reason) == ("private_key_jwt", "wrong_secret")
    assert failure.detail


@pytest.mark.parametrize("sub", [None, "", 7, ["a"], {"a": 1}, True])
async def test_a_sub_that_is_no_text_is_refused(server: Running, browser: Browser, sub: object) -> None:
    payload = {"iss": "a", "aud": ISSUER, "exp": START + 60, "jti": "a"} | (
        {} if sub is None else {"sub": sub}
    )
    assertion = jwt.PyJWS().encode(json.dumps(payload).encode(), key().private, algorithm="ES256")
    await refused(server, await sent(browser, assertion))


async def test_the_sub_of_an_unknown_client_is_refused(server: Running, browser: Browser) -> None:
    await refused(server, await sent(browser, signed(key(), claims_of("unknown"))))
    assert failures(server)[0].reason == "unknown_client"


async def test_a_clock_that_is_a_little_ahead_is_forgiven(browser: Browser, client: Client) -> None:
    """Thirty seconds, for iat and nbf; never for exp."""
    claims = claims_of(client.client_id, iat=START + 30, nbf=START + 30, exp=START + 600)
    assert (await sent(browser, signed(key(), claims))).status_code == 200


async def test_an_assertion_is_used_once(server: Running, browser: Browser, client: Client) -> None:
    """RFC 7523 §3: jti."""
    assertion = signed(key(), claims_of(client.client_id))
    assert (await sent(browser, assertion)).status_code == 200
    replay = await sent(browser, assertion)
    assert (replay.status_code, replay.json()["error"]) == (401, "invalid_client")
    assert failures(server)[0].detail == "used before"
    again = signed(key(), claims_of(client.client_id, exp=START + 301))
    assert (await sent(browser, again)).status_code == 401, "it is the jti that counts"


async def test_of_twenty_that_use_an_assertion_at_once_one_succeeds(browser: Browser, client: Client) -> None:
    assertion = signed(key(), claims_of(client.client_id))
    found: list[int] = []

    async def use() -> None:
        found.append((await sent(browser, assertion)).status_code)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(use)
    assert sorted(found) == [200] + [401] * 19


async def test_the_jti_of_one_client_is_free_for_another(
    server: Running, browser: Browser, client: Client
) -> None:
    other = await client_with(server, key(number=1).jwk)
    assert (await sent(browser, signed(key(), claims_of(client.client_id)))).status_code == 200
    assert (await sent(browser, signed(key(number=1), claims_of(other.client_id)))).status_code == 200


async def test_a_refused_assertion_does_not_use_up_its_jti(
    server: Running, browser: Browser, client: Client
) -> None:
    """A stranger who guesses the next jti cannot lock the client out."""
    await refused(server, await sent(browser, signed(key(number=9), claims_of(client.client_id))))
    await refused(server, await sent(browser, signed(key(), claims_of(client.client_id, aud="x"))))
    assert (await sent(browser, signed(key(), claims_of(client.client_id)))).status_code == 200


def segment(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_an_unsigned_assertion_is_refused(server: Running, browser: Browser, client: Client) -> None:
    """Alg none, with and without something in place of the signature."""
    for signature in ("", "AAAA"):
        unsigned = f"{segment({'alg': 'none'})}.{segment(claims_of(client.client_id))}.{signature}"
        await refused(server, await sent(browser, unsigned))


async def test_a_shared_key_is_never_one(server: Running, browser: Browser, client: Client) -> None:
    """HS256 with the public key as the secret (RFC 8725 §2.1)."""
    signing_input = f"{segment({'alg': 'HS256'})}.{segment(claims_of(client.client_id))}"
    for secret in (json.dumps(key().jwk), key().jwk["x"]):
        made = hmac.digest(secret.encode(), signing_input.encode(), "sha256")
        signature = urlsafe_b64encode(made).rstrip(b"=").decode()
        await refused(server, await sent(browser, f"{signing_input}.{signature}"))


async def test_another_key_is_refused(server: Running, browser: Browser, client: Client) -> None:
    for header in ({}, {"kid": "one"}, {"jwk": key(number=1).jwk}):
        forged = signed(key(number=1), claims_of(client.client_id), **header)
        await refused(server, await sent(browser, forged))


async def test_an_unknown_kid_is_refused(server: Running, browser: Browser, client: Client) -> None:
    await refused(server, await sent(browser, signed(key(), claims_of(client.client_id), kid="two")))


async def test_a_key_is_used_with_its_own_algorithm_alone(server: Running) -> None:
    """The key decides: one registered for RS256 does not verify PS256."""
    client = await client_with(server, key("RS256").jwk | {"alg": "RS256"})
    async with server.browser(client) as browser:
        other = signed(key("RS256"), claims_of(client.client_id), alg="PS256")
        await refused(server, await sent(browser, other))
        assert (await sent(browser, signed(key("RS256"), claims_of(client.client_id)))).status_code == 200


async def test_the_algorithm_that_a_client_registered_is_the_only_one(server: Running) -> None:
    """RFC 7591 §2 and OpenID Connect Registration §2: token_endpoint_auth_signing_alg."""
    client = await client_with(server, key().jwk, key("EdDSA").jwk, token_endpoint_auth_signing_alg="EdDSA")
    async with server.browser(client) as browser:
        await refused(server, await sent(browser, signed(key(), claims_of(client.client_id))))
        assert (await sent(browser, signed(key("EdDSA"), claims_of(client.client_id)))).status_code == 200


@pytest.mark.parametrize(
    "typ", ["at+jwt", "application/at+jwt", "AT+JWT", "oauth-id-jag+jwt", "dpop+jwt", "secevent+jwt", "x"]
)
async def test_a_jwt_of_another_kind_is_no_client_assertion(
    server: Running, browser: Browser, client: Client, typ: str
) -> None:
    """RFC 8725 §3.11: access tokens, ID-JAGs and DPoP proofs say what they are, even if all else fits."""
    await refused(server, await sent(browser, signed(key(), claims_of(client.client_id), typ=typ)))
    assert failures(server)[0].detail == "typ"


async def test_an_id_token_of_this_server_is_no_client_assertion(
    server: Running, browser: Browser, client: Client
) -> None:
    """It has no type of its own; it is about somebody else."""
    id_token = claims_of(client.client_id, iss=ISSUER, sub="a user", aud=client.client_id)
    await refused(server, await sent(browser, signed(key(), id_token)))


async def test_an_access_token_of_this_server_is_no_client_assertion(server: Running) -> None:
    async with server.browser() as browser:
        code = await browser.to_code()
        parameters = {
            "grant_type": "authorization_code",
            "client_id": browser.client.client_id,
            "code": code,
            "redirect_uri": browser.client.redirect_uris[0],
            "code_verifier": VERIFIER,
        }
        token = (await browser.http.post("/token", data=parameters)).json()["access_token"]
        await refused(server, await sent(browser, token))


async def test_a_header_that_must_be_understood_is_not(
    server: Running, browser: Browser, client: Client
) -> None:
    """RFC 7515 §4.1.11."""
    payload = json.dumps(claims_of(client.client_id)).encode()
    crit = jwt.PyJWS().encode(
        payload, key().private, algorithm="ES256", headers={"b64": True, "crit": ["b64"]}
    )
    await refused(server, await sent(browser, crit))


@pytest.mark.parametrize(
    "assertion", ["x", "a.b", "a.b.c", "....", "e30.e30.", "e30.e30.e30", "\u00e9.\u00e9.\u00e9", "x" * 9000]
)
async def test_what_is_no_jwt_is_refused_and_never_a_failure(
    server: Running, browser: Browser, assertion: str
) -> None:
    await refused(server, await sent(browser, assertion))


async def test_a_padded_assertion_is_refused(server: Running, browser: Browser, client: Client) -> None:
    """One assertion has one spelling, so that the same cannot come twice."""
    await refused(server, await sent(browser, signed(key(), claims_of(client.client_id)) + "="))


async def test_an_assertion_together_with_a_secret_is_invalid_request(
    server: Running, browser: Browser, client: Client
) -> None:
    """RFC 6749 §2.3: MUST NOT use more than one method."""
    assertion = signed(key(), claims_of(client.client_id))
    for more in ({"client_secret": "x"}, {"client_secret": "x", "client_id": client.client_id}):
        response = await sent(browser, assertion, **more)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    headers = {"Authorization": "Basic eDp5"}
    response = await browser.http.post("/revoke", data=form(assertion), headers=headers)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert await server.store.list("client_assertion") == []


async def test_an_assertion_of_one_client_with_the_client_id_of_another_is_refused(
    server: Running, browser: Browser, client: Client
) -> None:
    """RFC 7521 §4.2: the client_id MUST identify the same client."""
    other = await client_with(server, key(number=1).jwk)
    assertion = signed(key(), claims_of(client.client_id))
    await refused(server, await sent(browser, assertion, client_id=other.client_id))
    assert (await sent(browser, assertion, client_id=client.client_id)).status_code == 200


async def test_an_assertion_of_another_type_is_refused(
    server: Running, browser: Browser, client: Client
) -> None:
    assertion = signed(key(), claims_of(client.client_id))
    saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
    await refused(server, await sent(browser, assertion, client_assertion_type=saml))
    for half in ({"client_assertion": assertion}, {"client_assertion_type": ASSERTION_TYPE}):
        response = await browser.http.post("/revoke", data={"token": "x", **half})
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


async def test_a_client_with_keys_does_not_get_in_without_signing(
    server: Running, browser: Browser, client: Client
) -> None:
    for parameters in ({"client_id": client.client_id}, {"client_id": client.client_id, "client_secret": ""}):
        await refused(server, await browser.http.post("/revoke", data={"token": "x", **parameters}))


async def test_a_client_of_another_method_does_not_get_in_by_signing(server: Running) -> None:
    """A public client's keys, registered for something else, prove nothing."""
    client = await client_with(server, key().jwk, token_endpoint_auth_method="none")
    async with server.browser(client) as browser:
        await refused(server, await sent(browser, signed(key(), claims_of(client.client_id))))
    assert failures(server)[0].reason == "wrong_method"


async def test_keys_behind_a_uri_are_fetched_once_and_kept(server: Running, network: Network) -> None:
    client = await client_with(server, jwks=None, jwks_uri=JWKS_URI)
    async with server.browser(client) as browser:
        for jti in ("a", "b"):
            assertion = signed(key(), claims_of(client.client_id, jti=jti), kid="one")
            assert (await sent(browser, assertion)).status_code == 200
    assert network.asked == [JWKS_URI]


async def test_a_new_key_behind_a_uri_is_found_and_an_unknown_one_is_not_asked_for_again_and_again(
    server: Running, network: Network
) -> None:
    """Rotation works at once; a flood of unknown kids is one fetch a minute."""
    client = await client_with(server, jwks=None, jwks_uri=JWKS_URI)
    async with server.browser(client) as browser:
        first = signed(key(), claims_of(client.client_id, jti="a"), kid="one")
        assert (await sent(browser, first)).status_code == 200
        network.documents[JWKS_URI] = {"keys": [key(number=1).with_kid("two")]}
        server.clock.advance(61)
        second = signed(key(number=1), claims_of(client.client_id, jti="b"), kid="two")
        assert (await sent(browser, second)).status_code == 200
        for number in range(20):
            unknown = signed(key(number=1), claims_of(client.client_id, jti="c"), kid=f"k{number}")
            assert (await sent(browser, unknown)).status_code == 401
    assert len(network.asked) == 2


async def test_keys_that_must_not_be_kept_are_no_fetch_for_each_unknown_kid(
    server: Running, network: Network
) -> None:
    """Else anybody could spend the budget of fetches that the client needs."""
    network.fresh_for = 0
    client = await client_with(server, jwks=None, jwks_uri=JWKS_URI)
    async with server.browser(client) as browser:
        for number in range(20):
            unknown = signed(key(), claims_of(client.client_id, jti="c"), kid=f"k{number}")
            assert (await sent(browser, unknown)).status_code == 401
        known = signed(key(), claims_of(client.client_id, jti="a"), kid="one")
        assert (await sent(browser, known)).status_code == 200
    assert len(network.asked) == 1


async def test_a_failure_to_renew_keys_does_not_lock_out_those_that_are_known(
    server: Running, network: Network
) -> None:
    """Else anybody could, with an unknown kid, in a moment in which the client's server is away."""
    client = await client_with(server, jwks=None, jwks_uri=JWKS_URI)
    async with server.browser(client) as browser:
        first = signed(key(), claims_of(client.client_id, jti="a"), kid="one")
        assert (await sent(browser, first)).status_code == 200
        server.clock.advance(61)
        network.documents.clear()
        for number in range(3):
            unknown = signed(key(number=9), claims_of(client.client_id, jti="x"), kid=f"k{number}")
            assert (await sent(browser, unknown)).status_code == 401
        second = signed(key(), claims_of(client.client_id, jti="b"), kid="one")
        assert (await sent(browser, second)).status_code == 200
        assert len(network.asked) == 2
        server.clock.advance(540)
        late = signed(key(), claims_of(client.client_id, jti="c", exp=START + 900), kid="one")
        assert (await sent(browser, late)).status_code == 401, "but no longer than they may be kept"


@pytest.mark.parametrize(
    "keys",
    [
        None,
        {},
        {"keys": []},
        {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]},
        {"keys": ["x"]},
        [],
        {"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]},
    ],
)
async def test_keys_that_cannot_be_had_are_invalid_client(
    server: Running, network: Network, keys: object
) -> None:
    client = await client_with(server, jwks=None, jwks_uri=JWKS_URI)
    network.documents = {} if keys is None else {JWKS_URI: keys}
    async with server.browser(client) as browser:
        await refused(server, await sent(browser, signed(key(), claims_of(client.client_id))))
    assert (failures(server)[0].detail or "").startswith("the keys cannot be had")


async def test_keys_on_a_private_address_or_behind_a_redirect_are_invalid_client() -> None:
    """With the safe fetch itself: nothing is connected to, and no redirect followed."""
    moved = answering(b"{}", "Location: https://other.example/jwks", status="302 Found")
    async with https_server(moved, name="signer.example") as web:
        for fetch, connections in ((web.fetch("10.0.0.1"), 0), (web.fetch(), 1)):
            async with running(fetch=fetch) as server:
                client = await client_with(server, jwks=None, jwks_uri=JWKS_URI)
                async with server.browser(client) as browser:
                    await refused(server, await sent(browser, signed(key(), claims_of(client.client_id))))
            assert len(web.connected) == connections


async def test_a_client_that_describes_itself_can_sign(network: Network) -> None:
    """MCP: MAY use private_key_jwt with a document."""
    network.documents[CLIENT_ID] = document(
        token_endpoint_auth_method="private_key_jwt", jwks={"keys": [key().jwk]}
    )
    async with running(fetch=network) as server, server.browser() as browser:
        assert (await sent(browser, signed(key(), claims_of(CLIENT_ID)))).status_code == 200
        plain = await browser.http.post("/revoke", data={"token": "x", "client_id": CLIENT_ID})
        assert (plain.status_code, plain.json()["error"]) == (401, "invalid_client")


async def test_the_python_sdks_own_assertion_is_accepted(network: Network) -> None:
    """As `mcp` signs it: five minutes, RS256, no kid, its audience the issuer of the metadata."""
    pem = key("RS256").private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    async with running(fetch=network) as server:
        server.clock.moment = time.time()
        client = await client_with(server, key("RS256").jwk)
        async with server.browser(client) as browser:
            metadata = (await browser.http.get("/.well-known/oauth-authorization-server")).json()
            issuer = str(OAuthMetadata.model_validate(metadata).issuer)
            signing = SignedJWTParameters(
                issuer=client.client_id, subject=client.client_id, signing_key=pem.decode()
            )
            assertion = await signing.create_assertion_provider()(issuer)
            assert (await sent(browser, assertion)).status_code == 200


async def test_a_document_that_offers_both_ways_lets_its_client_choose(network: Network) -> None:
    """As ChatGPT's does."""
    network.documents[CLIENT_ID] = document(
        token_endpoint_auth_method=None,
        token_endpoint_auth_methods_supported=["none", "private_key_jwt"],
        jwks_uri=JWKS_URI,
        redirect_uris=[CALLBACK],
    )
    async with running(fetch=network) as server, server.browser() as browser:
        assert (await sent(browser, signed(key(), claims_of(CLIENT_ID)))).status_code == 200
        plain = await browser.http.post("/revoke", data={"token": "x", "client_id": CLIENT_ID})
        assert plain.status_code == 200
        forged = signed(key(number=1), claims_of(CLIENT_ID, jti="b"))
        assert (await sent(browser, forged)).status_code == 401
