"""The replay window of refresh tokens: the same answer to the same question, for a short while."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mcpauth.events import GrantRevoked, RefreshRepeated, RefreshTokenReused, TokenRefreshed
from mcpauth.oauth.refresh_replay import seal, unseal
from mcpauth.oauth.store import Record, StoreUnavailable
from mcpauth.settings import ConfigurationError, Settings
from mcpauth.stores.memory import MemoryStore
from tests.authorization_server.grants_helpers import ISSUER, NOTES, SETTINGS, TASKS, Service, service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

    from mcpauth.oauth.client import Client

pytestmark = pytest.mark.anyio

WINDOW = 30


@pytest.fixture
async def server() -> AsyncGenerator[Service]:
    async with service() as server:
        yield server


@pytest.fixture
async def client(server: Service) -> Client:
    return await server.public_client()


async def first_token(server: Service, client: Client) -> str:
    return str((await server.user_tokens(client))["refresh_token"])


async def rotated(server: Service, client: Client, token: str) -> dict[str, Any]:
    response = await server.refresh(client, token)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def is_invalid_grant(response: httpx2.Response) -> bool:
    return (response.status_code, response.json()["error"]) == (400, "invalid_grant")


async def test_a_token_that_was_just_used_gets_the_same_answer_again(server: Service, client: Client) -> None:
    """RFC 9700 §4.14.2, for clients that lose the answer; `expires_in` is what is left by now."""
    token = await first_token(server, client)
    before = await rotated(server, client, token)
    assert isinstance(server.store, MemoryStore)
    rows = len(server.store)
    server.clock.advance(WINDOW - 1)
    again = await rotated(server, client, token)
    assert again == before | {"expires_in": before["expires_in"] - (WINDOW - 1)}
    assert len(server.store) == rows, "nothing is stored for it"
    assert len(server.events(TokenRefreshed)) == 1
    assert len(server.events(RefreshRepeated)) == 1
    assert server.events(GrantRevoked) == []


async def test_the_successor_works_after_the_answer_was_repeated(server: Service, client: Client) -> None:
    token = await first_token(server, client)
    following = (await rotated(server, client, token))["refresh_token"]
    for _ in range(3):
        assert (await rotated(server, client, token))["refresh_token"] == following
    assert (await rotated(server, client, following))["refresh_token"] not in {token, following}


async def test_after_the_window_it_is_reuse_and_the_family_ends(server: Service, client: Client) -> None:
    """RFC 9700 §4.14.2: the newest token and the access tokens die with it."""
    notes = await server.server_of(NOTES)
    token = await first_token(server, client)
    newest = await rotated(server, client, token)
    server.clock.advance(WINDOW)
    assert is_invalid_grant(await server.refresh(client, token))
    assert is_invalid_grant(await server.refresh(client, newest["refresh_token"]))
    assert await server.introspect(notes, newest["access_token"]) == {"active": False}
    (event,) = server.events(GrantRevoked)
    assert event.reason == "refresh_token_reused"
    assert len(server.events(RefreshTokenReused)) == 1


async def test_the_window_does_not_begin_anew_with_each_repetition(server: Service, client: Client) -> None:
    token = await first_token(server, client)
    await rotated(server, client, token)
    for _ in range(2):
        server.clock.advance(WINDOW / 2 - 1)
        await rotated(server, client, token)
    server.clock.advance(2)
    assert is_invalid_grant(await server.refresh(client, token))


async def test_the_one_before_the_last_is_reuse_at_once(server: Service, client: Client) -> None:
    """Only the immediate predecessor: who holds an older one did not just lose an answer."""
    token = await first_token(server, client)
    following = (await rotated(server, client, token))["refresh_token"]
    newest = (await rotated(server, client, following))["refresh_token"]
    assert is_invalid_grant(await server.refresh(client, token))
    assert is_invalid_grant(await server.refresh(client, newest))
    assert len(server.events(RefreshTokenReused)) == 1


@pytest.mark.parametrize(
    "changes", [{"scope": "notes:read"}, {"scope": "notes:admin"}, {"resource": TASKS}, {"scope": 'a"b'}]
)
async def test_another_question_is_refused_and_the_family_lives(
    server: Service, client: Client, changes: dict[str, str | list[str] | None]
) -> None:
    token = await first_token(server, client)
    newest = (await rotated(server, client, token))["refresh_token"]
    assert is_invalid_grant(await server.refresh(client, token, **changes))
    assert server.events(RefreshTokenReused) == []
    assert (await server.refresh(client, newest)).status_code == 200


async def test_the_same_question_in_other_words_is_the_same(server: Service, client: Client) -> None:
    """RFC 6749 §6: without `scope` all is meant; without `resource` the granted one."""
    token = await first_token(server, client)
    before = await rotated(server, client, token)
    response = await server.refresh(client, token, scope="notes:write notes:read", resource=NOTES)
    assert response.json() == before


async def test_a_narrowed_answer_is_repeated_only_to_the_narrow_question(
    server: Service, client: Client
) -> None:
    token = await first_token(server, client)
    narrow = await server.refresh(client, token, scope="notes:read")
    assert is_invalid_grant(await server.refresh(client, token))
    again = await server.refresh(client, token, scope="notes:read")
    assert again.json() == narrow.json()


async def test_another_client_gets_nothing_and_changes_nothing(server: Service, client: Client) -> None:
    token = await first_token(server, client)
    newest = await rotated(server, client, token)
    assert is_invalid_grant(await server.refresh(await server.public_client(), token))
    assert await rotated(server, client, token) == newest
    assert (await server.refresh(client, newest["refresh_token"])).status_code == 200


async def test_a_revoked_family_gets_no_answer_again(server: Service, client: Client) -> None:
    """A deliberate revocation is final, however short ago the token was used."""
    token = await first_token(server, client)
    newest = await rotated(server, client, token)
    await server.revoke(client, newest["refresh_token"])
    assert is_invalid_grant(await server.refresh(client, token))
    assert server.events(RefreshRepeated) == []
    assert server.events(RefreshTokenReused) == [], "nobody is accused either"


async def test_a_token_that_was_itself_revoked_after_its_use_ends_the_family(
    server: Service, client: Client
) -> None:
    """RFC 7009 §2.1: clients revoke what they have, and that may be the older one."""
    token = await first_token(server, client)
    newest = await rotated(server, client, token)
    await server.revoke(client, token)
    assert is_invalid_grant(await server.refresh(client, token))
    assert is_invalid_grant(await server.refresh(client, newest["refresh_token"]))


async def test_a_disabled_user_gets_no_answer_again(server: Service, client: Client) -> None:
    token = await first_token(server, client)
    await rotated(server, client, token)
    await server.users.set_disabled(server.ada, disabled=True)
    assert is_invalid_grant(await server.refresh(client, token))


async def test_a_window_of_zero_is_no_window() -> None:
    async with service(refresh_token_replay_window=timedelta(0)) as server:
        client = await server.public_client()
        token = await first_token(server, client)
        await rotated(server, client, token)
        (record,) = [record for _, record in await server.store.list("refresh_token")]
        assert record["previous"] is None, "and no answer is kept"
        assert is_invalid_grant(await server.refresh(client, token))
        assert len(server.events(RefreshTokenReused)) == 1


async def test_an_answer_whose_access_token_has_expired_says_so() -> None:
    async with service(access_token_lifetime=timedelta(seconds=10)) as server:
        client = await server.public_client()
        token = await first_token(server, client)
        await rotated(server, client, token)
        server.clock.advance(20)
        assert (await rotated(server, client, token))["expires_in"] == 0


async def test_the_store_holds_no_token_that_could_be_used(server: Service, client: Client) -> None:
    token = await first_token(server, client)
    body = await rotated(server, client, token)
    stored = json.dumps(await server.store.list("refresh_token"))
    for secret in (
        token,
        token[22:],
        body["refresh_token"],
        body["refresh_token"][22:],
        body["access_token"],
    ):
        assert secret not in stored


async def test_records_stay_one_a_family_and_bounded(server: Service, client: Client) -> None:
    token = await first_token(server, client)
    for _ in range(10):
        token = (await rotated(server, client, token))["refresh_token"]
    (record,) = [record for _, record in await server.store.list("refresh_token")]
    assert len(json.dumps(record)) < 4000


class Failing(MemoryStore):
    """A store that cannot be changed when told so."""

    failing = False

    async def replace(
        self, kind: str, key: str, old: Record, new: Record, *, expires_at: int | None = None
    ) -> bool:
        if self.failing:
            raise StoreUnavailable("it broke")
        return await super().replace(kind, key, old, new, expires_at=expires_at)


async def test_a_store_that_fails_at_the_rotation_leaves_the_token_good() -> None:
    """503, and the client may ask again with the token it has."""
    store = Failing()
    async with service(store) as server:
        client = await server.public_client()
        token = await first_token(server, client)
        store.failing = True
        response = await server.refresh(client, token)
        assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
        assert response.headers["retry-after"] == "1"
        assert server.events(TokenRefreshed) == []
        store.failing = False
        assert (await server.refresh(client, token)).status_code == 200


async def test_a_token_rotated_before_the_window_was_configured_is_reuse(
    server: Service, client: Client
) -> None:
    token = await first_token(server, client)
    await rotated(server, client, token)
    [(key, record)] = await server.store.list("refresh_token")
    assert await server.store.replace("refresh_token", key, record, {**record, "previous": None})
    assert is_invalid_grant(await server.refresh(client, token))


def test_only_the_token_that_asked_opens_the_answer() -> None:
    """RFC 5869: the key is derived from it."""
    sealed = seal({"access_token": "x"}, "token", token_bytes=lambda size: b"\0" * size)
    assert unseal(sealed, "token") == {"access_token": "x"}
    for wrong, text in (("tokeN", sealed), ("token", "B" + sealed[1:])):
        with pytest.raises(ValueError, match="does not belong"):
            unseal(text, wrong)


@pytest.mark.parametrize("window", [timedelta(seconds=-1), timedelta(minutes=5, seconds=1)])
def test_a_window_that_is_no_short_while_is_refused(window: timedelta) -> None:
    with pytest.raises(ConfigurationError, match=r"^refresh_token_replay_window: must be between"):
        Settings(ISSUER, SETTINGS.resources, NOTES, refresh_token_replay_window=window)
