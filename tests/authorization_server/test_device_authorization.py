"""The device authorization endpoint: who may ask, for what, and where it is told."""

from __future__ import annotations

import re
from dataclasses import replace

import httpx2
import pytest

from mcpauth.events import DeviceAuthorizationBegun, DeviceAuthorizationRefused, Events
from mcpauth.oauth.client_id_metadata_document import read_document
from mcpauth.oauth.client_metadata import DEVICE_CODE
from mcpauth.oauth.device_code import KIND, USER_CODE, DeviceCodes
from mcpauth.oauth.errors import InvalidClientMetadata, TemporarilyUnavailable
from mcpauth.oauth.permission import Permission
from mcpauth.oauth.store import digest
from mcpauth.stores.memory import MemoryStore
from tests.authorization_server.core_helpers import basic, core_server
from tests.authorization_server.device_helpers import (
    ON,
    device,
    device_client,
    events,
    server_for_devices,
)
from tests.authorization_server.front_helpers import (
    ISSUER,
    LOOPBACK,
    NOTES,
    SETTINGS,
    TASKS,
    Running,
    running,
)

pytestmark = pytest.mark.anyio

METADATA = "/.well-known/oauth-authorization-server"


async def http_of(server: Running) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(server.app), base_url=ISSUER)


async def test_a_device_gets_both_codes_and_where_to_go() -> None:
    """RFC 8628 §3.2; §6.1 for the form of the user code."""
    async with server_for_devices() as server, device(server) as asking:
        response = await asking.ask()
        told = response.json()
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["access-control-allow-origin"] == "*"
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", told.pop("device_code"))
        user_code = told.pop("user_code")
        assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", user_code)
        assert told == {
            "verification_uri": f"{ISSUER}/device",
            "verification_uri_complete": f"{ISSUER}/device?user_code={user_code}",
            "expires_in": 600,
            "interval": 5,
        }
        assert events(server, DeviceAuthorizationBegun)[-1].asked == {NOTES: ("notes:read", "notes:write")}


async def test_neither_code_is_stored_or_told_to_a_listener() -> None:
    """Whoever reads the database or the journal can neither poll nor approve."""
    async with server_for_devices() as server, device(server) as asking:
        kept = str(await server.store.list(KIND)) + str(await server.store.list(USER_CODE))
        for secret in (asking.told["device_code"], asking.user_code, asking.user_code.replace("-", "")):
            assert secret not in kept
            assert secret not in str(server.happened)
        # A plain digest of a user code could be undone by trying all.
        assert digest(asking.user_code.replace("-", "")) not in kept
        assert await server.store.get(KIND, digest(asking.told["device_code"])) is not None


async def test_the_endpoint_and_grant_type_are_announced_where_they_are_on() -> None:
    """RFC 8628 §4."""
    async with server_for_devices() as server, await http_of(server) as http:
        document = (await http.get(METADATA)).json()
        assert document["device_authorization_endpoint"] == f"{ISSUER}/device_authorization"
        assert DEVICE_CODE in document["grant_types_supported"]


async def test_off_is_the_default_and_leaves_nothing_behind() -> None:
    """RFC 8628 §5.4: remote phishing is possible where the grant is on."""
    async with running() as server, await http_of(server) as http:
        document = (await http.get(METADATA)).json()
        assert "device_authorization_endpoint" not in document
        assert DEVICE_CODE not in document["grant_types_supported"]
        client = await device_client(server)
        for path in ("/device", "/device/allowed", "/device/denied"):
            assert (await http.get(path)).status_code == 404
        asked = await http.post("/device_authorization", data={"client_id": client.client_id})
        assert asked.status_code == 404
        polled = await http.post(
            "/token", data={"grant_type": DEVICE_CODE, "client_id": client.client_id, "device_code": "x"}
        )
        assert polled.json()["error"] == "unsupported_grant_type"
        assert await server.store.list(KIND) == []


async def test_a_client_that_is_not_registered_for_it_may_not_ask() -> None:
    """RFC 6749 §5.2: unauthorized_client."""
    async with server_for_devices() as server, device(server) as asking:
        asking.client = await server.register()
        before = len(await server.store.list(KIND))
        response = await asking.ask()
        assert (response.status_code, response.json()["error"]) == (400, "unauthorized_client")
        (refusal,) = events(server, DeviceAuthorizationRefused)
        assert (refusal.client_id, refusal.error) == (asking.client.client_id, "unauthorized_client")
        assert len(await server.store.list(KIND)) == before


async def test_a_client_with_a_secret_has_to_prove_itself() -> None:
    """RFC 8628 §3.1: the client authentication requirements of RFC 6749 §3.2.1 apply."""
    async with server_for_devices() as server, await http_of(server) as http:
        client, secret = await server.clients.register(
            {"grant_types": [DEVICE_CODE], "token_endpoint_auth_method": "client_secret_basic"},
            source="pre-registered",
        )
        for headers in ({}, basic(f"{client.client_id}:wrong")):
            refused = await http.post(
                "/device_authorization", data={"client_id": client.client_id}, headers=headers
            )
            assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
        assert await server.store.list(KIND) == []
        right = basic(f"{client.client_id}:{secret}")
        told = await http.post("/device_authorization", data={"scope": "notes:read"}, headers=right)
        assert told.status_code == 200
        form = {"grant_type": DEVICE_CODE, "device_code": told.json()["device_code"]}
        unproved = await http.post("/token", data={**form, "client_id": client.client_id})
        assert (unproved.status_code, unproved.json()["error"]) == (401, "invalid_client")
        assert (await http.post("/token", data=form, headers=right)).json()[
            "error"
        ] == "authorization_pending"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"resource": "https://unknown.example"}, "invalid_target"),
        ({"resource": "notes"}, "invalid_target"),
        ({"scope": "unknown"}, "invalid_scope"),
        ({"scope": "é"}, "invalid_scope"),
        ({"scope": ["notes:read", "notes:write"]}, "invalid_request"),
        ({"client_id": "unknown"}, "invalid_client"),
        ({"client_id": None}, "invalid_client"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(
    changed: dict[str, str | list[str] | None], error: str
) -> None:
    """As at /authorize: RFC 8707 §2, RFC 6749 §3.3."""
    async with server_for_devices() as server, device(server) as asking:
        before = len(await server.store.list(KIND))
        response = await asking.ask(**changed)
        assert response.status_code in {400, 401}
        assert response.json()["error"] == error
        assert len(await server.store.list(KIND)) == before


async def test_scope_and_resource_may_be_left_out_and_several_resources_named() -> None:
    """As at /authorize: the default ones, and RFC 8707 §2 for several."""
    async with server_for_devices() as server:
        async with device(server, scope=None, resource=None):
            assert events(server, DeviceAuthorizationBegun)[-1].asked == {NOTES: ("notes:read",)}
        async with device(server, scope=None, resource=[NOTES, TASKS]):
            asked = events(server, DeviceAuthorizationBegun)[-1].asked
            assert asked == {NOTES: ("notes:read",), TASKS: ("tasks:read",)}


async def test_parameters_in_the_query_and_other_methods_are_refused() -> None:
    """RFC 8628 §3.1: POST with a form body; credentials never in a URL."""
    async with server_for_devices() as server, device(server) as asking:
        query = {"client_id": asking.client.client_id}
        assert (await asking.http.post("/device_authorization", params=query)).status_code == 400
        assert (await asking.http.get("/device_authorization", params=query)).status_code == 405
        assert (await asking.http.post("/device_authorization", json=query)).status_code == 415


async def test_a_page_of_another_origin_may_call_it() -> None:
    async with server_for_devices() as server, device(server) as asking:
        preflight = await asking.http.options("/device_authorization")
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-methods"] == "POST"


async def test_a_client_for_devices_alone_registers_without_redirect_uris() -> None:
    """RFC 7591 §2: redirect_uris are for the flows with a redirect."""
    async with server_for_devices() as server, await http_of(server) as http:
        sent = {"client_name": "Robo TV", "grant_types": [DEVICE_CODE, "refresh_token"]}
        registered = await http.post("/register", json=sent)
        assert registered.status_code == 201
        body = registered.json()
        assert set(body["grant_types"]) == {DEVICE_CODE, "refresh_token"}
        assert body["token_endpoint_auth_method"] == "none"
        assert body["redirect_uris"] == []
        assert "response_types" not in body
        asked = await http.post("/device_authorization", data={"client_id": body["client_id"]})
        assert asked.status_code == 200
        # It has no way through /authorize.
        refused = await http.get(
            "/authorize", params={"client_id": body["client_id"], "response_type": "code"}
        )
        assert refused.status_code == 400


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"grant_types": [DEVICE_CODE, "authorization_code"]}, "invalid_redirect_uri"),
        ({"grant_types": [DEVICE_CODE], "redirect_uris": ["javascript:x"]}, "invalid_redirect_uri"),
        ({"grant_types": ["refresh_token"]}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({}, "invalid_redirect_uri"),
    ],
)
async def test_every_other_registration_needs_what_it_needed(
    metadata: dict[str, list[str]], error: str
) -> None:
    async with server_for_devices() as server, await http_of(server) as http:
        refused = await http.post("/register", json=metadata)
        assert (refused.status_code, refused.json()["error"]) == (400, error)


async def test_a_client_has_the_grant_type_only_when_it_asked_for_it() -> None:
    async with server_for_devices() as server, await http_of(server) as http:
        body = (await http.post("/register", json={"redirect_uris": [LOOPBACK]})).json()
        assert body["grant_types"] == ["authorization_code", "refresh_token"]
        both = {"redirect_uris": [LOOPBACK], "grant_types": ["authorization_code", DEVICE_CODE]}
        body = (await http.post("/register", json=both)).json()
        assert body["grant_types"] == ["authorization_code", DEVICE_CODE]


async def test_where_it_is_off_the_grant_type_is_left_out_of_a_registration() -> None:
    """RFC 7591 §3.2.1: the server may leave out what it does not support, and says what is left."""
    async with running() as server, await http_of(server) as http:
        both = {"redirect_uris": [LOOPBACK], "grant_types": ["authorization_code", DEVICE_CODE]}
        body = (await http.post("/register", json=both)).json()
        assert body["grant_types"] == ["authorization_code"]
        alone = await http.post("/register", json={"grant_types": [DEVICE_CODE]})
        assert (alone.status_code, alone.json()["error"]) == (400, "invalid_client_metadata")


def test_a_client_that_describes_itself_may_name_the_grant_type() -> None:
    """A client ID metadata document; where devices may not ask, it is left out."""
    url = "https://tv.example/client"
    document = {
        "client_id": url,
        "client_name": "TV",
        "redirect_uris": [LOOPBACK],
        "grant_types": [DEVICE_CODE],
    }
    assert read_document(url, document, now=0).grant_types == (DEVICE_CODE,)
    both = {**document, "grant_types": [DEVICE_CODE, "authorization_code"]}
    assert set(read_document(url, both, now=0).grant_types) == {"authorization_code", DEVICE_CODE}
    offered = SETTINGS.registrable_grant_types
    assert read_document(url, both, grant_types=offered, now=0).grant_types == ("authorization_code",)
    with pytest.raises(InvalidClientMetadata):
        read_document(url, document, grant_types=offered, now=0)
    silent = {name: value for name, value in document.items() if name != "grant_types"}
    assert DEVICE_CODE not in read_document(url, silent, now=0).grant_types


async def test_a_user_code_in_use_is_not_given_twice() -> None:
    """RFC 8628 §3.2, §6.1: it identifies the request; and when none is free, that is said."""
    async with core_server() as core:
        client = await core.public_client()
        store = MemoryStore(core.clock)
        # The first eight bytes make one code, and the next eight another one.
        rolls = iter([b"\0" * 8, b"\0" * 8, b"\1" * 8])

        def token_bytes(size: int) -> bytes:
            return next(rolls) if size == 8 else size.to_bytes(size, "big")

        codes = DeviceCodes(
            store,
            core.grants,
            user_code_key=b"k" * 32,
            events=Events(),
            now=core.clock,
            token_bytes=token_bytes,
        )
        asked = [Permission(NOTES, ("notes:read",))]
        assert (await codes.begin(client, asked)).user_code == "BBBB-BBBB"
        assert (await codes.begin(client, asked)).user_code == "CCCC-CCCC"
        always = DeviceCodes(
            store,
            core.grants,
            user_code_key=b"k" * 32,
            events=Events(),
            now=core.clock,
            token_bytes=lambda size: b"\0" * size,
        )
        with pytest.raises(TemporarilyUnavailable):
            await always.begin(client, asked)
        # Ten minutes later the first one is free again.
        core.clock.advance(600)
        assert (await always.begin(client, asked)).user_code == "BBBB-BBBB"


async def test_under_a_path_everything_lies_below_it() -> None:
    async with (
        running(settings=replace(ON, issuer=f"{ISSUER}/tenant")) as server,
        await http_of(server) as http,
    ):
        client = await device_client(server)
        told = await http.post("/tenant/device_authorization", data={"client_id": client.client_id})
        assert told.json()["verification_uri"] == f"{ISSUER}/tenant/device"
        page = await http.get("/tenant/device")
        assert 'action="/tenant/device"' in page.text
        assert (await http.get("/device")).status_code == 404
