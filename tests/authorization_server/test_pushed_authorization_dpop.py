"""DPoP with pushed authorization requests, RFC 9449 §10.1: the code is bound to the key that is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mcpauth.events import AuthorizationPushRefused
from tests.authorization_server.dpop_helpers import Prover
from tests.authorization_server.front_helpers import ISSUER, SETTINGS, Browser, Running, answer_of, running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

    from tests.authorization_server.front_helpers import Value

pytestmark = pytest.mark.anyio

PAR = f"{ISSUER}/par"
TOKEN = f"{ISSUER}/token"


@pytest.fixture
async def server() -> AsyncGenerator[Running]:
    async with running() as server:
        yield server


@pytest.fixture
async def browser(server: Running) -> AsyncGenerator[Browser]:
    async with server.browser() as browser:
        yield browser


@pytest.fixture
def prover(server: Running) -> Prover:
    return Prover(server.clock)


async def push(browser: Browser, *proofs: str, **changed: Value) -> httpx2.Response:
    headers = [("DPoP", proof) for proof in proofs]
    return await browser.http.post("/par", data=browser.request_parameters(**changed), headers=headers)


async def code_of(browser: Browser, pushed: httpx2.Response) -> str:
    assert pushed.status_code == 201, pushed.text
    query = {"client_id": browser.client.client_id, "request_uri": pushed.json()["request_uri"]}
    page = await browser.follow(await browser.http.get("/authorize", params=query))
    return answer_of(await browser.decide(await browser.sign_in(page)))["code"]


async def redeemed(browser: Browser, code: str, proof: str | None = None) -> httpx2.Response:
    browser.http.headers |= {"DPoP": proof} if proof is not None else {}
    response = await browser.redeem(code)
    browser.http.headers.pop("DPoP", None)
    return response


async def refused(server: Running, response: httpx2.Response, error: str) -> None:
    assert (response.status_code, response.json()["error"]) == (400, error)
    assert await server.store.list("pushed_authorization_request") == []
    told = [event for event in server.happened if isinstance(event, AuthorizationPushRefused)]
    assert told[-1].error == error


@pytest.mark.parametrize("named", [False, True])
async def test_the_code_is_bound_to_the_key_of_the_proof(
    server: Running, browser: Browser, prover: Prover, named: bool
) -> None:
    """As if dpop_jkt had named it, and also where it does."""
    thumbprint = prover.key.thumbprint() if named else None
    code = await code_of(browser, await push(browser, prover.proof(htu=PAR), dpop_jkt=thumbprint))
    for proof in (None, Prover(server.clock).proof(htu=TOKEN)):
        response = await redeemed(browser, code, proof)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    response = await redeemed(browser, code, prover.proof(htu=TOKEN))
    assert response.status_code == 200, response.text
    assert response.json()["token_type"] == "DPoP"


async def test_a_pushed_dpop_jkt_binds_the_code_without_a_proof(browser: Browser, prover: Prover) -> None:
    """RFC 9449 §10."""
    code = await code_of(browser, await push(browser, dpop_jkt=prover.key.thumbprint()))
    assert (await redeemed(browser, code)).json()["error"] == "invalid_grant"
    assert (await redeemed(browser, code, prover.proof(htu=TOKEN))).status_code == 200


async def test_two_keys_are_refused(server: Running, browser: Browser, prover: Prover) -> None:
    """RFC 9449 §10.1: MUST reject when the proof and dpop_jkt do not match."""
    other = Prover(server.clock).key.thumbprint()
    response = await push(browser, prover.proof(htu=PAR), dpop_jkt=other)
    await refused(server, response, "invalid_request")


async def test_a_proof_is_for_this_endpoint_and_once(
    server: Running, browser: Browser, prover: Prover
) -> None:
    """RFC 9449 §4.3: the same checks as at the token endpoint."""
    wrong = (
        prover.proof(htu=TOKEN),
        prover.proof(htu=PAR, htm="GET"),
        prover.proof(htu=PAR, iat=0),
        prover.proof(htu=PAR, jti=None),
    )
    for proofs in (*((proof,) for proof in wrong), ("x",), ("",), (prover.proof(htu=PAR), wrong[0])):
        await refused(server, await push(browser, *proofs), "invalid_dpop_proof")
    proof = prover.proof(htu=PAR)
    assert (await push(browser, proof)).status_code == 201
    again = await push(browser, proof)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_dpop_proof")


async def test_a_client_that_does_not_authenticate_uses_no_proof_up(
    server: Running, browser: Browser, prover: Prover
) -> None:
    proof = prover.proof(htu=PAR)
    assert (await push(browser, proof, client_id="unknown")).status_code == 401
    assert (await push(browser, proof)).status_code == 201


async def test_no_proof_is_needed_where_tokens_need_one() -> None:
    """RFC 9449 §5.2 is about token requests; a client may show its key there for the first time."""
    async with running(settings=replace(SETTINGS, dpop="required")) as server, server.browser() as browser:
        code = await code_of(browser, await push(browser))
        assert (await redeemed(browser, code)).json()["error"] == "invalid_dpop_proof"
        assert (await redeemed(browser, code, Prover(server.clock).proof(htu=TOKEN))).status_code == 200


async def test_a_nonce_is_asked_for_told_and_taken() -> None:
    """RFC 9449 §8."""
    settings = replace(SETTINGS, dpop_nonce_required=True)
    async with running(settings=settings) as server, server.browser() as browser:
        prover = Prover(server.clock)
        first = await push(browser, prover.proof(htu=PAR))
        await refused(server, first, "use_dpop_nonce")
        nonce = first.headers["dpop-nonce"]
        good = await push(browser, prover.proof(htu=PAR, nonce=nonce))
        assert good.status_code == 201
        assert good.headers["dpop-nonce"] == nonce
        plain = await push(browser)
        assert plain.status_code == 201
        assert "dpop-nonce" not in plain.headers
