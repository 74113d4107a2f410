"""The keys of trusted issuers: fetched seldom, from where the settings say, and a failure is no refusal."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from mcpauth.events import AssertionRefused
from mcpauth.oauth.fetching import FetchFailed
from mcpauth.web.fetch import SafeFetch, internal_fetch
from mcpauth.web.public_address import Address, is_public_or_internal
from tests.authorization_server.assertion_helpers import key
from tests.authorization_server.https_helpers import Server, answering, https_server, trusting
from tests.authorization_server.issuer_helpers import (
    IDP_KEY,
    IDP_KEYS,
    Federation,
    federation,
    id_jag_claims,
    issued,
    raw_jwt,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    import httpx2

pytestmark = pytest.mark.anyio

NEW_KEY = key("ES256", 40)
INTERNAL = "idp.corp.internal"


@pytest.fixture
async def up() -> AsyncGenerator[Federation]:
    async with federation() as up:
        yield up


async def unavailable(up: Federation, response: httpx2.Response) -> None:
    """Nobody could tell: 503, and the assertion is good for later."""
    assert response.status_code == 503, response.text
    assert response.json()["error"] == "temporarily_unavailable"
    assert response.headers["retry-after"] == "60"
    assert await up.used() == 0
    assert not up.server.events(AssertionRefused)[-1].proved


async def test_they_are_fetched_once_and_kept(up: Federation) -> None:
    for number in range(5):
        issued(await up.present(up.id_jag(jti=f"number {number}")))
    assert up.network.asked == [IDP_KEYS]


async def test_they_are_kept_for_an_hour_at_most(up: Federation) -> None:
    up.network.fresh_for = 7 * 24 * 3600
    issued(await up.present(up.id_jag()))
    up.server.clock.advance(3601)
    now = int(up.server.clock())
    issued(await up.present(up.id_jag(jti="second", iat=now, exp=now + 60)))
    assert len(up.network.asked) == 2


async def test_keys_that_cannot_be_had_are_a_503_and_not_a_refusal(up: Federation) -> None:
    """A client that is told invalid_grant throws its assertion away."""
    published = up.network.documents.pop(IDP_KEYS)
    assertion = up.id_jag()
    await unavailable(up, await up.present(assertion))
    assert up.server.events(AssertionRefused)[0].reason == "status 404"
    # Nobody asks again for a minute.
    await unavailable(up, await up.present(assertion))
    assert len(up.network.asked) == 1
    up.network.documents[IDP_KEYS] = published
    up.server.clock.advance(61)
    issued(await up.present(assertion))


@pytest.mark.parametrize(
    "document", ["[]", '"x"', "{}", '{"keys": "x"}', f'{{"keys": [{"{}, " * 32}{{}}]}}', "null"]
)
async def test_what_is_no_set_of_keys_is_a_503(up: Federation, document: str) -> None:
    up.network.documents[IDP_KEYS] = json.loads(document)
    await unavailable(up, await up.present(up.id_jag()))


async def test_a_set_without_a_usable_key_knows_no_such_key(up: Federation) -> None:
    up.network.documents[IDP_KEYS] = {"keys": [{"kty": "oct", "k": "AAAA", "kid": "idp"}, {"kty": "RSA"}]}
    await refused(up, await up.present(up.id_jag()), "no such key")


async def test_a_new_key_is_found_and_a_stranger_makes_nobody_fetch_more_than_once_a_minute(
    up: Federation,
) -> None:
    """An unknown kid is worth a look, once a minute."""
    issued(await up.present(up.id_jag()))
    for number in range(5):
        unknown = up.id_jag(jti="second", header={"kid": f"unknown {number}"})
        response = await up.present(unknown)
        assert response.json()["error"] == "invalid_grant"
    assert len(up.network.asked) == 1
    up.server.clock.advance(61)
    up.network.documents[IDP_KEYS] = {"keys": [IDP_KEY.with_kid("idp"), NEW_KEY.with_kid("new")]}
    issued(await up.present(up.id_jag(jti="second", by=NEW_KEY, header={"kid": "new"})))
    assert len(up.network.asked) == 2
    for number in range(5):
        await up.present(up.id_jag(jti="third", header={"kid": f"unknown {number}"}))
    assert len(up.network.asked) == 2


async def test_a_new_key_that_cannot_be_looked_for_is_a_503(up: Federation) -> None:
    """The key may be the issuer's: only the issuer could tell."""
    issued(await up.present(up.id_jag()))
    up.server.clock.advance(61)
    up.network.documents.pop(IDP_KEYS)
    new = up.id_jag(jti="second", by=NEW_KEY, header={"kid": "new"})
    for _ in range(2):
        response = await up.present(new)
        assert response.status_code == 503
        assert response.json()["error"] == "temporarily_unavailable"
    assert len(up.network.asked) == 2
    # What is known goes on.
    issued(await up.present(up.id_jag(jti="third")))


async def test_a_key_that_was_taken_back_verifies_nothing_after_its_time(up: Federation) -> None:
    issued(await up.present(up.id_jag()))
    up.network.documents[IDP_KEYS] = {"keys": [NEW_KEY.with_kid("new")]}
    up.server.clock.advance(601)
    now = int(up.server.clock())
    response = await up.present(up.id_jag(jti="second", iat=now, exp=now + 60))
    assert response.json()["error"] == "invalid_grant"
    assert up.server.events(AssertionRefused)[-1].reason == "no such key"


async def test_without_a_kid_each_key_of_the_algorithm_is_tried(up: Federation) -> None:
    up.network.documents[IDP_KEYS] = {"keys": [NEW_KEY.with_kid("new"), IDP_KEY.with_kid("idp")]}
    issued(await up.present(up.id_jag(header={"kid": None})))
    header = {"typ": "oauth-id-jag+jwt", "kid": 7}
    await up.present(raw_jwt(IDP_KEY, header, id_jag_claims(up.client_id, jti="second")))
    assert up.server.events(AssertionRefused)[-1].reason == "kid"


async def test_keys_in_the_settings_are_never_fetched() -> None:
    jwks = {"keys": [IDP_KEY.with_kid("idp")]}
    async with federation(idp={"jwks_uri": None, "jwks": jwks}) as up:
        for number in range(2):
            issued(await up.present(up.id_jag(jti=f"number {number}")))
        await refused_with_unknown_kid(up)
        assert up.network.asked == []


async def refused_with_unknown_kid(up: Federation) -> None:
    response = await up.present(up.id_jag(jti="third", header={"kid": "unknown"}))
    assert response.json()["error"] == "invalid_grant"


# On a private network.


def reaching(listening: Server, made_by: Callable[..., SafeFetch], *addresses: str) -> SafeFetch:
    """A fetch for which every name has these addresses, led to the server."""
    found = [ip_address(address) for address in addresses]

    async def resolve(host: str, port: int) -> list[Address]:
        return found

    return made_by(resolve=resolve, connect=listening.connect, ssl_context=trusting())


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.0.1", "172.16.0.1", "127.0.0.1", "::1", "fd00::1"])
async def test_keys_on_a_private_network_are_fetched_only_when_the_operator_says_so(address: str) -> None:
    document = json.dumps({"keys": [IDP_KEY.with_kid("idp")]}).encode()
    async with https_server(answering(document), name=INTERNAL) as listening:
        url = f"https://{INTERNAL}/keys"
        inside = reaching(listening, internal_fetch, address)
        assert (await inside(url, max_bytes=1000)).document == json.loads(document)
        outside = reaching(listening, SafeFetch, address)
        for name in (url, "https://idp.example/keys"):
            with pytest.raises(FetchFailed):
                await outside(name, max_bytes=1000)
        assert len(listening.requests) == 1


async def test_the_setting_decides_which_way_an_issuers_keys_are_fetched() -> None:
    document = json.dumps({"keys": [IDP_KEY.with_kid("idp")]}).encode()
    async with https_server(answering(document), name=INTERNAL) as listening:
        inside = reaching(listening, internal_fetch, "10.1.2.3")
        idp = {"jwks_uri": f"https://{INTERNAL}/keys", "private_network": True}
        async with federation(idp=idp, fetch_internal=inside) as up:
            issued(await up.present(up.id_jag()))
            assert up.network.asked == []
        assert listening.names == [INTERNAL]


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.170.2", "0.0.0.1", "224.0.0.1", "255.255.255.255", "100.64.0.1"),
        *("fe80::1", "::", "ff02::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1%eth0"),
        *("::1%eth0", "::ffff:10.0.0.1"),
    ],
)
def test_a_private_network_is_not_the_metadata_service_of_a_cloud(address: str) -> None:
    """Link-local addresses hand out credentials to whoever asks from the machine."""
    assert not is_public_or_internal(ip_address(address))


def test_public_addresses_are_public_there_as_well() -> None:
    assert is_public_or_internal(ip_address("93.184.215.14"))
    assert not is_public_or_internal(ip_address("2001:db8::1"))
