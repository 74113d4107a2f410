"""A device polls: what it is told before, at and after its user's decision."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mcpauth.events import (
    ConsentDenied,
    ConsentGiven,
    DeviceCodeReused,
    GrantRevoked,
    TokenIssued,
    TokenRefused,
)
from mcpauth.oauth.client_metadata import DEVICE_CODE
from mcpauth.oauth.device_code import KIND
from mcpauth.oauth.store import digest
from mcpauth.stores.sqlite import SqliteStore
from tests.authorization_server.device_helpers import (
    ON,
    decide,
    device,
    device_client,
    events,
    server_for_devices,
    to_consent,
)
from tests.authorization_server.dpop_helpers import Prover
from tests.authorization_server.failing_store import Failing, FailingStore
from tests.authorization_server.front_helpers import ISSUER, NOTES, TASKS, Clock
from tests.authorization_server.grants_helpers import claims_of

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from mcpauth.oauth.store import Store
    from tests.authorization_server.front_helpers import Running

pytestmark = pytest.mark.anyio

AT_ONCE = 20


async def interval(store: Store, device_code: str) -> int:
    """The seconds for which the device has to wait now."""
    record = await store.get(KIND, digest(device_code))
    assert record is not None
    kept: int = record["interval"]
    return kept


async def test_a_device_waits_until_its_user_has_allowed_it_and_gets_tokens() -> None:
    """RFC 8628 §3.5: authorization_pending; then the response of RFC 6749 §5.1."""
    async with server_for_devices() as server, device(server) as asking:
        assert await asking.error() == "authorization_pending"
        assert await server.store.list("grant") == []
        last = await decide(server, asking.user_code)
        assert "Done, go back to your device" in last.text
        response = await asking.poll()
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        body = response.json()
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 600)
        assert body["scope"] == "notes:read notes:write"
        claims = claims_of(body["access_token"])
        ada = await server.users.by_name("ada")
        assert ada is not None
        assert (claims["aud"], claims["client_id"]) == (NOTES, asking.client.client_id)
        assert (claims["sub"], claims["auth_time"]) == (ada.user_id, server.clock())
        (grant,) = await server.store.list("grant", ada.user_id)
        assert claims["grant_id"] == grant[0]
        assert events(server, ConsentGiven)[0].grant_id == grant[0]
        (issued,) = events(server, TokenIssued)
        assert (issued.token_id, issued.refresh_token) == (claims["jti"], True)
        # The refresh token is like any other.
        form = {"grant_type": "refresh_token", "client_id": asking.client.client_id}
        renewed = await asking.http.post("/token", data={**form, "refresh_token": body["refresh_token"]})
        assert renewed.json()["scope"] == body["scope"]


@pytest.mark.parametrize("change", [1, 2, 3])
async def test_a_store_that_fails_leaves_the_code_good_and_the_grant_alive(change: int) -> None:
    """A grant, a refresh token, and at last the mark that the code is used."""
    failing = Failing()
    async with server_for_devices(FailingStore(Clock(), failing)) as server, device(server) as asking:
        await decide(server, asking.user_code)
        failing.at = change
        refused = await asking.poll()
        assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
        assert events(server, TokenIssued) == []
        assert (await asking.poll()).status_code == 200
        assert not events(server, GrantRevoked)
        assert await asking.error() == "invalid_grant"
        assert len(events(server, DeviceCodeReused)) == 1


async def test_a_refresh_token_comes_only_to_a_client_that_is_registered_for_one() -> None:
    async with server_for_devices() as server:
        client = await device_client(server, DEVICE_CODE)
        async with device(server, client) as asking:
            await decide(server, asking.user_code)
            body = (await asking.poll()).json()
            assert "access_token" in body
            assert "refresh_token" not in body
            assert await server.store.list("refresh_token") == []


async def test_only_what_is_ticked_is_granted_and_a_poll_may_narrow_it() -> None:
    """RFC 6749 §3.3; RFC 8707 §2.2 as with codes. A refused poll leaves the code to its owner."""
    async with server_for_devices() as server:
        async with device(server) as asking:
            await decide(server, asking.user_code, "allow", "notes:read")
            assert await asking.error(scope="notes:write") == "invalid_scope"
            assert await asking.error(resource=TASKS) == "invalid_target"
            assert (await asking.poll()).json()["scope"] == "notes:read"
        async with device(server) as asking:
            await decide(server, asking.user_code)
            assert (await asking.poll(scope="notes:read")).json()["scope"] == "notes:read"


async def test_a_user_may_allow_several_resources_and_each_token_is_for_one() -> None:
    """RFC 8707 §2.1."""
    async with server_for_devices() as server, device(server, resource=[NOTES, TASKS], scope=None) as asking:
        await decide(server, asking.user_code)
        first = (await asking.poll(resource=TASKS)).json()
        assert claims_of(first["access_token"])["aud"] == TASKS
        form = {
            "grant_type": "refresh_token",
            "client_id": asking.client.client_id,
            "refresh_token": first["refresh_token"],
            "resource": NOTES,
        }
        second = (await asking.http.post("/token", data=form)).json()
        assert claims_of(second["access_token"])["aud"] == NOTES


async def test_a_device_whose_user_says_no_is_told_so() -> None:
    """RFC 8628 §3.5: access_denied."""
    async with server_for_devices() as server, device(server) as asking:
        last = await decide(server, asking.user_code, "deny")
        assert "The device gets no access" in last.text
        for _ in range(2):
            assert await asking.error() == "access_denied"
        assert await server.store.list("grant") == []
        assert len(events(server, ConsentDenied)) == 1
        assert events(server, ConsentGiven) == []
        assert events(server, TokenIssued) == []


async def test_allowing_nothing_is_a_no() -> None:
    async with server_for_devices() as server, device(server) as asking:
        async with server.browser() as browser:
            page = await to_consent(browser, asking.user_code)
            last = await browser.follow(await browser.submit(page, {"decision": "allow"}))
            assert "The device gets no access" in last.text
        assert await asking.error() == "access_denied"


async def test_polling_early_is_slowed_down_and_the_interval_grows() -> None:
    """RFC 8628 §3.5: slow_down, and the interval is five seconds longer for this and all later requests."""
    async with server_for_devices() as server, device(server) as asking:
        code = asking.told["device_code"]
        assert await asking.error() == "authorization_pending"
        server.clock.advance(4)
        assert await asking.error() == "slow_down"
        assert await interval(server.store, code) == 10
        server.clock.advance(9)
        assert await asking.error() == "slow_down"
        assert await interval(server.store, code) == 15
        server.clock.advance(15)
        assert await asking.error() == "authorization_pending"
        # It stays so.
        server.clock.advance(14)
        assert await asking.error() == "slow_down"
        server.clock.advance(20)
        assert await asking.error() == "authorization_pending"
        assert await interval(server.store, code) == 20


async def test_a_device_that_keeps_its_interval_is_never_slowed_down() -> None:
    """Two requests on their way take different times: half a second is no hurry."""
    async with server_for_devices() as server, device(server) as asking:
        for _ in range(20):
            assert await asking.error() == "authorization_pending"
            server.clock.advance(4.6)
        assert await interval(server.store, asking.told["device_code"]) == 5


async def test_a_decision_is_told_at_once_however_early_the_device_asks() -> None:
    async with server_for_devices() as server, device(server) as asking:
        assert await asking.error() == "authorization_pending"
        assert await asking.error() == "slow_down"
        await decide(server, asking.user_code)
        assert (await asking.poll()).status_code == 200


async def test_waiting_is_no_refusal_in_the_journal() -> None:
    async with server_for_devices() as server, device(server) as asking:
        assert await asking.error() == "authorization_pending"
        assert await asking.error() == "slow_down"
        assert events(server, TokenRefused) == []
        server.clock.advance(600)
        assert await asking.error() == "expired_token"
        assert [event.error for event in events(server, TokenRefused)] == ["expired_token"]


async def test_an_expired_code_is_told_apart_from_an_unknown_one_for_a_while() -> None:
    """RFC 8628 §3.5: expired_token."""
    async with server_for_devices() as server, device(server) as asking:
        server.clock.advance(599)
        assert await asking.error() == "authorization_pending"
        server.clock.advance(1)
        assert await asking.error() == "expired_token"
        server.clock.advance(3600)
        assert await asking.error() == "invalid_grant"
        assert await server.store.list(KIND) == []


async def test_a_code_that_was_allowed_expires_all_the_same() -> None:
    async with server_for_devices() as server, device(server) as asking:
        await decide(server, asking.user_code)
        server.clock.advance(600)
        assert await asking.error() == "expired_token"
        assert await server.store.list("grant") == []
        assert events(server, TokenIssued) == []


@pytest.mark.parametrize("allowed", [False, True])
async def test_another_clients_code_is_unknown_and_stays_good(allowed: bool) -> None:
    """RFC 8628 §3.4 with RFC 6749 §5.2: issued to another client is invalid_grant."""
    async with server_for_devices() as server, device(server) as asking:
        if allowed:
            await decide(server, asking.user_code)
        thief = await device_client(server, DEVICE_CODE, client_name="Another")
        assert await asking.error(client_id=thief.client_id) == "invalid_grant"
        assert events(server, TokenIssued) == []
        assert events(server, GrantRevoked) == []
        owner = await asking.poll()
        assert owner.status_code == 200 if allowed else owner.json()["error"] == "authorization_pending"


async def test_a_client_without_the_grant_type_may_not_poll() -> None:
    async with server_for_devices() as server, device(server) as asking:
        other = await server.register()
        assert await asking.error(client_id=other.client_id) == "unauthorized_client"


@pytest.mark.parametrize("code", ["x", "é", "x" * 10_000, "A" * 43])
async def test_an_unknown_code_is_refused(code: str) -> None:
    async with server_for_devices() as server, device(server) as asking:
        assert await asking.error(device_code=code) == "invalid_grant"


@pytest.mark.parametrize("code", ["", None])
async def test_a_code_has_to_be_there(code: str | None) -> None:
    async with server_for_devices() as server, device(server) as asking:
        assert await asking.error(device_code=code) == "invalid_request"


async def test_the_user_code_does_not_poll() -> None:
    async with server_for_devices() as server, device(server) as asking:
        assert await asking.error(device_code=asking.user_code) == "invalid_grant"


async def test_a_used_code_ends_its_grant() -> None:
    """As with authorization codes, RFC 6749 §4.1.2: all tokens of the first use die with its second."""
    async with server_for_devices() as server, device(server) as asking:
        await decide(server, asking.user_code)
        body = (await asking.poll()).json()
        assert await asking.error() == "invalid_grant"
        assert await asking.error() == "invalid_grant"
        form = {"grant_type": "refresh_token", "client_id": asking.client.client_id}
        dead = await asking.http.post("/token", data={**form, "refresh_token": body["refresh_token"]})
        assert dead.json()["error"] == "invalid_grant"
        assert [event.reason for event in events(server, GrantRevoked)] == ["device_code_reused"]
        assert events(server, DeviceCodeReused)[0].client_id == asking.client.client_id


async def test_another_client_that_has_a_used_code_ends_nothing() -> None:
    async with server_for_devices() as server, device(server) as asking:
        await decide(server, asking.user_code)
        assert (await asking.poll()).status_code == 200
        thief = await device_client(server, DEVICE_CODE, client_name="Another")
        assert await asking.error(client_id=thief.client_id) == "invalid_grant"
        assert events(server, GrantRevoked) == []


async def test_a_user_who_was_disabled_before_the_poll_gives_nothing() -> None:
    """The decision is theirs as long as they are a user."""
    async with server_for_devices() as server, device(server) as asking:
        await decide(server, asking.user_code)
        ada = await server.users.by_name("ada")
        assert ada is not None
        assert await server.users.set_disabled(ada, disabled=True)
        assert await asking.error() == "invalid_grant"
        assert events(server, TokenIssued) == []


async def test_the_registration_of_a_client_is_kept_once_a_device_got_tokens() -> None:
    """As after an authorization code: somebody uses it."""
    async with server_for_devices() as server, device(server) as asking:
        registered = await asking.http.post(
            "/register", json={"client_name": "TV", "grant_types": [DEVICE_CODE]}
        )
        client = await server.clients.get(registered.json()["client_id"])
        assert client is not None
        async with device(server, client) as other:
            await decide(server, other.user_code)
            assert (await other.poll()).status_code == 200
        server.clock.advance(3 * 86400)
        assert await server.clients.get(client.client_id) is not None


@pytest.mark.parametrize("handles", [1, 2])
async def test_of_20_polls_at_once_one_gets_tokens(tmp_path: Path, handles: int) -> None:
    """Within a process and over two connections to one file; the code was used again, so its grant ends."""
    async with AsyncExitStack() as stack:
        servers: list[Running] = []
        for _ in range(handles):
            store = await SqliteStore.open(tmp_path / "as.db", lambda: 1_800_000_000)
            stack.push_async_callback(store.aclose)
            servers.append(await stack.enter_async_context(server_for_devices(store)))
        asking = await stack.enter_async_context(device(servers[0]))
        devices = [asking]
        for server in servers[1:]:
            other = await stack.enter_async_context(device(server, asking.client))
            other.told = asking.told
            devices.append(other)
        await decide(servers[0], asking.user_code)
        answers: list[httpx2.Response] = await asyncio.gather(
            *(devices[n % handles].poll() for n in range(AT_ONCE))
        )
        (winner,) = [answer for answer in answers if answer.status_code == 200]
        others = {(each.status_code, each.json()["error"]) for each in answers if each is not winner}
        assert others == {(400, "invalid_grant")}
        issued = [event for server in servers for event in events(server, TokenIssued)]
        assert len(issued) == 1
        form = {"grant_type": "refresh_token", "client_id": asking.client.client_id}
        dead = await asking.http.post(
            "/token", data={**form, "refresh_token": winner.json()["refresh_token"]}
        )
        assert dead.json()["error"] == "invalid_grant"


async def test_polls_at_once_while_the_user_has_not_decided_all_count(tmp_path: Path) -> None:
    """RFC 8628 §3.5: each of them but the first came early."""
    async with AsyncExitStack() as stack:
        store = await SqliteStore.open(tmp_path / "as.db", lambda: 1_800_000_000)
        stack.push_async_callback(store.aclose)
        server = await stack.enter_async_context(server_for_devices(store))
        asking = await stack.enter_async_context(device(server))
        answers = await asyncio.gather(*(asking.error() for _ in range(AT_ONCE)))
        assert sorted(answers) == ["authorization_pending"] + ["slow_down"] * (AT_ONCE - 1)
        assert await interval(server.store, asking.told["device_code"]) == 5 + 5 * (AT_ONCE - 1)
        # And the decision is not lost among them.
        polling = [asking.poll() for _ in range(5)]
        last, *_ = await asyncio.gather(decide(server, asking.user_code), *polling)
        assert "Done" in last.text
        assert (await asking.poll()).status_code in {200, 400}
        assert len(events(server, TokenIssued)) == 1


async def test_tokens_are_bound_to_the_key_that_the_device_shows() -> None:
    """RFC 9449 §5: the access token, and the refresh token of a public client."""
    async with server_for_devices() as server, device(server) as asking:
        prover = Prover(server.clock)
        waiting = await asking.poll(prover.proof(htu=f"{ISSUER}/token"))
        assert waiting.json()["error"] == "authorization_pending"
        await decide(server, asking.user_code)
        body = (await asking.poll(prover.proof(htu=f"{ISSUER}/token"))).json()
        assert body["token_type"] == "DPoP"
        assert claims_of(body["access_token"])["cnf"] == {"jkt": prover.key.thumbprint()}
        form = {
            "grant_type": "refresh_token",
            "client_id": asking.client.client_id,
            "refresh_token": body["refresh_token"],
        }
        assert (await asking.http.post("/token", data=form)).status_code == 400
        proof = {"DPoP": prover.proof(htu=f"{ISSUER}/token")}
        assert (await asking.http.post("/token", data=form, headers=proof)).status_code == 200


async def test_a_device_may_learn_who_its_user_is() -> None:
    """OpenID Connect Core §3.1.3.3: the ID token comes with the first tokens, however they were reached."""
    async with server_for_devices() as server, device(server, scope="notes:read openid") as asking:
        await decide(server, asking.user_code)
        body = (await asking.poll()).json()
        access, identity = claims_of(body["access_token"]), claims_of(body["id_token"])
        assert (identity["aud"], identity["sub"]) == (asking.client.client_id, access["sub"])
        assert "nonce" not in identity


async def test_an_opaque_token_comes_where_the_resource_wants_one() -> None:
    """The way from a device code to a token is the one from a code."""
    notes, tasks = ON.resources
    opaque = replace(ON, resources=(replace(notes, access_token_format="opaque"), tasks))
    async with server_for_devices(settings=opaque) as server, device(server) as asking:
        await decide(server, asking.user_code)
        assert "." not in (await asking.poll()).json()["access_token"]
