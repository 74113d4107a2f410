"""A store that fails while a code is redeemed: 503, and the client may ask again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcpauth.events import CodeReused, GrantRevoked, TokenIssued
from tests.authorization_server.core_helpers import LOOPBACK, VERIFIER
from tests.authorization_server.failing_store import Failing, FailingStore
from tests.authorization_server.grants_helpers import NOTES, RESOURCES, Clock, service

pytestmark = pytest.mark.anyio

OPAQUE = tuple(
    replace(each, access_token_format="opaque") if each.identifier == NOTES else each for each in RESOURCES
)


@pytest.mark.parametrize("change", [1, 2, 3, 4])
async def test_wherever_it_fails_the_code_stays_good_and_the_grant_alive(change: int) -> None:
    """A grant, a refresh token, an opaque access token, and at last the mark that the code is used."""
    failing = Failing()
    store = FailingStore(clock := Clock(), failing)
    async with service(store, clock, resources=OPAQUE) as server:
        client = await server.public_client()
        form = {
            "grant_type": "authorization_code",
            "client_id": client.client_id,
            "code": await server.user_code(client),
            "redirect_uri": LOOPBACK,
            "code_verifier": VERIFIER,
        }
        failing.at = change
        refused = await server.post("/token", form)
        assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
        assert server.events(TokenIssued) == []

        redeemed = await server.post("/token", form)
        assert redeemed.status_code == 200
        assert (await server.refresh(client, redeemed.json()["refresh_token"])).status_code == 200
        assert not server.events(GrantRevoked)

        again = await server.post("/token", form)
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        assert len(server.events(CodeReused)) == 1
