"""What keeps an open registration from being a dump: sharing, expiry, a ceiling, initial access tokens."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpx2
import pytest

from mcpauth.events import ClientRegistered, RegistrationRefused
from mcpauth.oauth.registration_token import RegistrationTokens
from mcpauth.settings import ConfigurationError
from tests.authorization_server.failing_store import Failing, FailingStore
from tests.authorization_server.front_helpers import (
    ISSUER,
    LOOPBACK,
    SETTINGS,
    VERIFIER,
    Browser,
    Clock,
    Running,
    running,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

WEB = "https://client.example/cb"
DAY = 24 * 60 * 60
NATIVE = {"client_name": "Desk", "redirect_uris": [LOOPBACK], "token_endpoint_auth_method": "none"}


@asynccontextmanager
async def started(**settings: Any) -> AsyncGenerator[Running]:
    async with running(settings=replace(SETTINGS, **settings)) as server:
        yield server


async def post(
    server: Running,
    metadata: object,
    *,
    address: str = "192.0.2.7",
    token: str | None = None,
    **headers: str,
) -> httpx2.Response:
    transport = httpx2.ASGITransport(server.app, client=(address, 5000))
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    sent = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER, headers=sent) as http:
        return await http.post("/register", json=metadata)


async def registered(server: Running, metadata: object, **options: Any) -> dict[str, Any]:
    response = await post(server, metadata, **options)
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


async def allowed(server: Running, client_id: str) -> httpx2.Response:
    """A user allows the client, and it gets its tokens."""
    client = await server.clients.get(client_id)
    assert client is not None
    async with server.browser(client) as browser:
        return await redeemed(browser, await browser.to_code())


async def redeemed(browser: Browser, code: str) -> httpx2.Response:
    form = {
        "grant_type": "authorization_code",
        "client_id": browser.client.client_id,
        "code": code,
        "redirect_uri": browser.client.redirect_uris[0],
        "code_verifier": VERIFIER,
    }
    return await browser.http.post("/token", data=form)


# The same again


async def test_a_native_client_that_registers_again_gets_the_same_client_id() -> None:
    """A program that registers at each start is one client; and only one was told of."""
    async with started() as server:
        first = await registered(server, NATIVE)
        second = await registered(server, NATIVE)
        assert first == second
        assert len(await server.clients.list()) == 1
        assert len([event for event in server.happened if isinstance(event, ClientRegistered)]) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"client_name": "Other"},
        {"redirect_uris": ["http://127.0.0.1:3001/callback"]},
        {"redirect_uris": [LOOPBACK, "http://localhost:3000/callback"]},
        {"grant_types": ["authorization_code"]},
        {"scope": "notes:read"},
        {"client_uri": "https://desk.example"},
        {"software_version": "2"},
    ],
)
async def test_other_metadata_is_another_client(changed: dict[str, Any]) -> None:
    async with started() as server:
        first = await registered(server, NATIVE)
        second = await registered(server, NATIVE | changed)
        assert first["client_id"] != second["client_id"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"redirect_uris": [WEB], "token_endpoint_auth_method": "none"},
        {"redirect_uris": [WEB]},
        {"redirect_uris": [LOOPBACK], "token_endpoint_auth_method": "client_secret_post"},
        {"redirect_uris": [LOOPBACK, WEB], "token_endpoint_auth_method": "none"},
    ],
)
async def test_clients_on_the_web_and_those_with_a_secret_are_never_shared(metadata: dict[str, Any]) -> None:
    """One of them could manage, or pass for, the other."""
    async with started() as server:
        first, second = await registered(server, metadata), await registered(server, metadata)
        assert first["client_id"] != second["client_id"]
        assert first["registration_access_token"] != second["registration_access_token"]


async def test_nobody_may_manage_a_shared_client() -> None:
    """Else one installation could end it for all, or change where the others' codes go."""
    async with started() as server:
        for _ in range(2):
            body = await registered(server, NATIVE)
            assert not {"registration_access_token", "registration_client_uri"} & body.keys()


async def test_a_client_that_an_operator_registered_is_not_given_away() -> None:
    async with started() as server:
        ours, _ = await server.clients.register(NATIVE, source="pre-registered")
        assert (await registered(server, NATIVE))["client_id"] != ours.client_id


async def test_a_shared_client_that_an_operator_removed_comes_anew_under_another_client_id() -> None:
    """What was issued to the old one stays dead."""
    async with started() as server:
        first = await registered(server, NATIVE)
        await server.clients.remove(first["client_id"])
        second = await registered(server, NATIVE)
        assert first["client_id"] != second["client_id"]
        assert (await registered(server, NATIVE))["client_id"] == second["client_id"]


async def test_twenty_that_register_the_same_at_once_are_one_client() -> None:
    async with started() as server:
        found: set[str] = set()

        async def register() -> None:
            found.add((await registered(server, NATIVE))["client_id"])

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(register)
        assert len(found) == len(await server.clients.list()) == 1


# Expiry


async def test_a_registration_that_nobody_used_ends() -> None:
    async with started() as server:
        for metadata in (NATIVE, {"redirect_uris": [WEB]}):
            client_id = (await registered(server, metadata))["client_id"]
            server.clock.advance(DAY - 1)
            assert await server.clients.get(client_id) is not None
            server.clock.advance(2)
            assert await server.clients.get(client_id) is None
        assert await server.clients.list() == ()


async def test_the_operator_says_how_long_it_lasts() -> None:
    async with started(unconfirmed_client_lifetime=timedelta(hours=1)) as server:
        client_id = (await registered(server, NATIVE))["client_id"]
        server.clock.advance(3601)
        assert await server.clients.get(client_id) is None


@pytest.mark.parametrize("redirect_uris", [[LOOPBACK], [WEB]])
async def test_a_registration_that_led_to_a_token_stays(redirect_uris: list[str]) -> None:
    """And goes on being shared, where it is."""
    metadata = {"redirect_uris": redirect_uris, "token_endpoint_auth_method": "none"}
    async with started() as server:
        client_id = (await registered(server, metadata))["client_id"]
        assert (await allowed(server, client_id)).status_code == 200
        server.clock.advance(400 * DAY)
        client = await server.clients.get(client_id)
        assert client is not None
        assert client.confirmed
        if redirect_uris == [LOOPBACK]:
            assert (await registered(server, metadata))["client_id"] == client_id


async def test_a_store_that_failed_after_the_first_token_ends_no_registration() -> None:
    """The client refreshes long before its registration would end, and that keeps it, too."""
    clock, failing = Clock(), Failing()
    async with running(FailingStore(clock, failing), SETTINGS) as server:
        client_id = (await registered(server, NATIVE))["client_id"]
        client = await server.clients.get(client_id)
        assert client is not None
        async with server.browser(client) as browser:
            code = await browser.to_code()
            failing.at = 4  # after the grant, the refresh token and the mark on the code
            tokens = (await browser.redeem(code)).json()
            assert failing.at == 0
            unkept = await server.clients.get(client_id)
            assert unkept is not None
            assert not unkept.confirmed
            form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
            refreshed = await browser.http.post("/token", data={**form, "client_id": client_id})
            assert refreshed.status_code == 200
        clock.advance(DAY + 1)
        assert await server.clients.get(client_id) is not None


async def test_a_code_that_was_never_redeemed_confirms_nothing() -> None:
    async with started() as server:
        client_id = (await registered(server, NATIVE))["client_id"]
        client = await server.clients.get(client_id)
        assert client is not None
        async with server.browser(client) as browser:
            await browser.to_code()
        server.clock.advance(DAY + 1)
        assert await server.clients.get(client_id) is None


async def test_registering_again_gives_the_whole_time_again() -> None:
    async with started() as server:
        client_id = (await registered(server, NATIVE))["client_id"]
        for _ in range(3):
            server.clock.advance(DAY - 10)
            assert (await registered(server, NATIVE))["client_id"] == client_id
        server.clock.advance(DAY + 1)
        assert (await registered(server, NATIVE))["client_id"] != client_id


async def test_what_an_operator_registered_never_ends() -> None:
    async with started() as server:
        client, _ = await server.clients.register(NATIVE, source="pre-registered")
        server.clock.advance(10_000 * DAY)
        assert await server.clients.get(client.client_id) is not None


# The ceiling


def numbered(number: int) -> dict[str, Any]:
    return {"client_name": f"Client {number}", "redirect_uris": [WEB]}


async def test_one_address_registers_no_more_than_the_ceiling() -> None:
    """RFC 6585 §4: 429 with Retry-After; nothing is stored."""
    async with started(registrations_per_hour=5) as server:
        for number in range(5):
            await registered(server, numbered(number))
        refusal = await post(server, numbered(6))
        assert refusal.status_code == 429
        assert refusal.json()["error"] == "temporarily_unavailable"
        assert 0 < int(refusal.headers["retry-after"]) <= 720
        assert refusal.headers["cache-control"] == "no-store"
        assert len(await server.clients.list()) == 5
        assert isinstance(server.happened[-1], RegistrationRefused)
        await registered(server, numbered(7), address="192.0.2.8")
        server.clock.advance(int(refusal.headers["retry-after"]))
        await registered(server, numbered(8))
        assert (await post(server, numbered(9))).status_code == 429


async def test_thirty_an_hour_is_the_ceiling_unless_it_is_set() -> None:
    async with started() as server:
        answers = [(await post(server, numbered(number))).status_code for number in range(32)]
    assert answers == [201] * 30 + [429] * 2


async def test_refused_registrations_count_too() -> None:
    async with started(registrations_per_hour=3) as server:
        answers = [(await post(server, {"redirect_uris": ["javascript:x"]})).status_code for _ in range(5)]
    assert answers == [400, 400, 400, 429, 429]


async def test_registering_the_same_again_costs_nothing() -> None:
    async with started(registrations_per_hour=2) as server:
        for _ in range(20):
            await registered(server, NATIVE)


async def test_the_addresses_of_one_ipv6_network_are_one_source() -> None:
    async with started(registrations_per_hour=2) as server:
        for number in range(2):
            await registered(server, numbered(number), address=f"2001:db8:1:2::{number}")
        assert (await post(server, numbered(3), address="2001:db8:1:2:ffff::1")).status_code == 429
        await registered(server, numbered(4), address="2001:db8:1:3::1")


async def test_a_mapped_address_is_the_one_that_it_holds() -> None:
    async with started(registrations_per_hour=1) as server:
        await registered(server, numbered(1), address="192.0.2.9")
        assert (await post(server, numbered(2), address="::ffff:192.0.2.9")).status_code == 429


async def test_a_forwarded_address_of_a_stranger_does_not_reset_the_ceiling() -> None:
    """X-Forwarded-For is anybody's to write; only a configured proxy is believed."""
    for trusted in ((), ("10.0.0.0/8",)):
        async with started(registrations_per_hour=2, trusted_proxies=trusted) as server:
            answers = [
                (await post(server, numbered(number), X_Forwarded_For=f"198.51.100.{number}")).status_code
                for number in range(4)
            ]
        assert answers == [201, 201, 429, 429]


async def test_behind_a_trusted_proxy_the_address_is_the_one_that_it_saw() -> None:
    """The last one that no trusted proxy has: what stands before it the client may have written itself."""
    async with started(registrations_per_hour=1, trusted_proxies=("10.0.0.0/8",)) as server:
        forwarded = {"address": "10.1.2.3", "X_Forwarded_For": "198.51.100.1"}
        await registered(server, numbered(1), **forwarded)
        assert (await post(server, numbered(2), **forwarded)).status_code == 429
        spoofed = "203.0.113.5, 198.51.100.1, 10.9.9.9"
        again = await post(server, numbered(3), address="10.1.2.3", X_Forwarded_For=spoofed)
        assert again.status_code == 429
        await registered(server, numbered(4), address="10.1.2.3", X_Forwarded_For="198.51.100.2")


@pytest.mark.parametrize("forwarded", ["", ",", "junk", "x" * 5000, "\u00e9", "1.2.3.4:5", "[::1"])
async def test_a_proxy_that_forwards_nonsense_is_no_failure(forwarded: str) -> None:
    async with started(trusted_proxies=("10.0.0.1",)) as server:
        response = await post(server, numbered(1), address="10.0.0.1", X_Forwarded_For=forwarded)
    assert response.status_code == 201


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("registrations_per_hour", 0),
        ("registrations_per_hour", -1),
        ("trusted_proxies", ("example.com",)),
        ("trusted_proxies", ("*",)),
        ("trusted_proxies", ("10.0.0.1/8",)),
        ("unconfirmed_client_lifetime", timedelta(0)),
    ],
)
def test_settings_that_cannot_be_right_are_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=field):
        replace(SETTINGS, **cast("dict[str, Any]", {field: value}))


# Initial access tokens


async def test_without_the_initial_access_token_that_is_required_nobody_registers() -> None:
    """RFC 7591 §3 and RFC 6750 §3."""
    async with started(registration_token_required=True) as server:
        tokens = RegistrationTokens(server.store, now=server.clock)
        token = await tokens.add("the office")
        for wrong in (None, "wrong", token[:-1], token.swapcase()):
            refusal = await post(server, NATIVE, token=wrong)
            assert refusal.status_code == 401
            assert refusal.json()["error"] == "invalid_token"
            assert refusal.headers["www-authenticate"].startswith("Bearer")
        assert (await post(server, NATIVE, Authorization=f"Basic {token}")).status_code == 401
        assert await server.clients.list() == ()
        await registered(server, NATIVE, token=token)
        assert token not in str(await server.store.list("registration_token"))


async def test_an_initial_access_token_works_until_it_ends_or_is_removed() -> None:
    async with started(registration_token_required=True) as server:
        tokens = RegistrationTokens(server.store, now=server.clock)
        short = await tokens.add("short", lifetime=timedelta(days=1))
        lasting = await tokens.add("lasting")
        assert {token.name for token in await tokens.list()} == {"short", "lasting"}
        for number, token in enumerate((short, short, lasting)):
            await registered(server, numbered(number), token=token)
        server.clock.advance(DAY + 1)
        assert (await post(server, NATIVE, token=short)).status_code == 401
        (left,) = await tokens.list()
        assert await tokens.remove(left.token_id)
        assert not await tokens.remove(left.token_id)
        assert (await post(server, NATIVE, token=lasting)).status_code == 401


async def test_without_the_setting_a_token_is_not_looked_at() -> None:
    async with started() as server:
        await registered(server, NATIVE, token="whatever")


async def test_registration_that_is_off_is_404_and_not_advertised() -> None:
    async with started(registration=False) as server, server.browser() as browser:
        metadata = (await browser.http.get("/.well-known/oauth-authorization-server")).json()
        assert "registration_endpoint" not in metadata
        assert (await post(server, NATIVE)).status_code == 404
        for method in ("GET", "PUT", "DELETE"):
            path = f"/register/{browser.client.client_id}"
            assert (await browser.http.request(method, path)).status_code == 404


# Keys


EC_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
WITH_KEYS = {"redirect_uris": [WEB], "token_endpoint_auth_method": "private_key_jwt"}


async def test_a_client_with_keys_registers_and_gets_no_secret() -> None:
    """RFC 7591 §2: jwks, told back without what is not its own."""
    async with started() as server:
        body = await registered(server, WITH_KEYS | {"jwks": {"keys": [EC_KEY | {"kid": "a", "x-more": 1}]}})
        assert body["token_endpoint_auth_method"] == "private_key_jwt"
        assert body["jwks"] == {"keys": [EC_KEY | {"kid": "a"}]}
        assert "client_secret" not in body
        odd: tuple[Any, ...] = (1, [[]], {"a": 1})
        unreadable = [EC_KEY | {name: value} for name in ("kid", "key_ops", "use") for value in odd]
        among_others = {"jwks": {"keys": [*unreadable, EC_KEY]}}
        assert (await registered(server, WITH_KEYS | among_others))["jwks"] == {"keys": [EC_KEY]}
        uri = "https://client.example/jwks?tenant=1"
        assert (await registered(server, WITH_KEYS | {"jwks_uri": uri}))["jwks_uri"] == uri


@pytest.mark.parametrize(
    "keys",
    [
        {"jwks": None},
        {"jwks": {"keys": None}},
        {"jwks": {"keys": "x"}},
        {"jwks": {"keys": ["x"]}},
        {"jwks": {"keys": [{"kty": "x"}]}},
        {"jwks": {"keys": [EC_KEY] * 11}},
        {"jwks": "x"},
        {"jwks": [EC_KEY]},
        {"jwks": {"keys": [EC_KEY | {"d": "AA"}]}},
        {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0c2VjcmV0"}]}},
        {"jwks": {"keys": [EC_KEY, {"kty": "oct", "k": "c2VjcmV0c2VjcmV0"}]}},
        {"jwks": {"keys": [EC_KEY | {"use": "enc"}]}},
        {"jwks": {"keys": [EC_KEY | {"x": "AA"}]}},
        {"jwks": {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}},
        {"jwks": {"keys": [EC_KEY]}, "jwks_uri": "https://client.example/jwks"},
        {"jwks_uri": "http://client.example/jwks"},
        {"jwks_uri": "https://127.0.0.1/jwks"},
        {"jwks_uri": "https://[::1]/jwks"},
        {"jwks_uri": "https://localhost/jwks"},
        {"jwks_uri": "https://intranet/jwks"},
        {"jwks_uri": "https://user@client.example/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 5},
        {"jwks": {"keys": [EC_KEY]}, "token_endpoint_auth_signing_alg": "HS256"},
        {"jwks": {"keys": [EC_KEY]}, "token_endpoint_auth_signing_alg": "none"},
    ],
)
async def test_keys_that_cannot_be_used_are_invalid_client_metadata(keys: dict[str, Any]) -> None:
    """RFC 7591 §2: one of the two, public, for signatures, and where this server may fetch."""
    async with started() as server:
        refusal = await post(server, WITH_KEYS | keys)
        assert (refusal.status_code, refusal.json()["error"]) == (400, "invalid_client_metadata")
        assert await server.clients.list() == ()
