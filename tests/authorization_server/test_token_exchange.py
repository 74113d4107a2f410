"""Token exchange, RFC 8693: narrowing only, and who acts stays visible."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mcpauth.events import TokenExchanged
from mcpauth.oauth.operator_terms import OperatorTerms
from mcpauth.oauth.token_exchange import ExchangeRule, ExchangeRules
from mcpauth.settings import ConfigurationError
from mcpauth.settings_file import load_settings
from tests.authorization_server.core_helpers import REGISTRY
from tests.authorization_server.grants_helpers import (
    FILES,
    NOTES,
    SETTINGS,
    TASKS,
    Pair,
    Service,
    claims_of,
    service,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import httpx2

    from mcpauth.oauth.client import Client

pytestmark = pytest.mark.anyio

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
RULES = (
    ExchangeRule(TASKS, NOTES, ("notes:write",)),
    ExchangeRule(NOTES, FILES, ("files:read",)),
    ExchangeRule(FILES, TASKS, ("tasks:read",)),
)


@pytest.fixture
async def server() -> AsyncGenerator[Service]:
    async with service(token_exchange=RULES) as server:
        yield server


@pytest.fixture
async def agent(server: Service) -> Client:
    """The client that the user allowed."""
    return await server.public_client()


@pytest.fixture
async def tasks(server: Service) -> Pair:
    """The resource server that the agent calls."""
    return await server.server_of(TASKS)


async def for_tasks(server: Service, agent: Client) -> dict[str, Any]:
    """The user's tokens for the tasks."""
    return await server.user_tokens(agent, scopes=["tasks:read"], resource=TASKS)


async def exchange(
    server: Service, pair: Pair, token: str, **changes: str | list[str] | None
) -> httpx2.Response:
    form: dict[str, str | list[str] | None] = {
        "grant_type": GRANT_TYPE,
        "subject_token": token,
        "subject_token_type": ACCESS_TOKEN,
        "resource": NOTES,
    }
    return await server.post_as(pair, "/token", **{**form, **changes})


def error_of(response: httpx2.Response) -> str:
    assert response.status_code == 400, response.text
    body: dict[str, Any] = response.json()
    assert "access_token" not in body
    return str(body["error"])


async def test_a_resource_server_gets_a_token_for_another_one(
    server: Service, agent: Client, tasks: Pair
) -> None:
    """RFC 8693 §2.2.1 and §4: the same user and grant; `act` says who acts, the agent included."""
    subject = claims_of(token := (await for_tasks(server, agent))["access_token"])
    server.clock.advance(200)
    response = await exchange(server, tasks, token)
    body = response.json()
    assert body.keys() == {"access_token", "issued_token_type", "token_type", "expires_in", "scope"}
    assert body["issued_token_type"] == ACCESS_TOKEN
    assert body["scope"] == "notes:read notes:write"
    assert response.headers["cache-control"] == "no-store"
    claims = claims_of(body["access_token"])
    assert (claims["aud"], claims["client_id"]) == (NOTES, tasks[0].client_id)
    assert claims["act"] == {"sub": tasks[0].client_id, "act": {"sub": agent.client_id}}
    for name in ("sub", "grant_id", "auth_time", "iss"):
        assert claims[name] == subject[name]
    assert claims["jti"] != subject["jti"]
    (event,) = server.events(TokenExchanged)
    assert event.actors == (tasks[0].client_id, agent.client_id)
    assert event.subject_token_id == subject["jti"]
    assert event.token_id == claims["jti"]


async def test_the_new_token_lives_no_longer_than_the_old_one(
    server: Service, agent: Client, tasks: Pair
) -> None:
    token = (await for_tasks(server, agent))["access_token"]
    server.clock.advance(590)
    body = (await exchange(server, tasks, token)).json()
    assert body["expires_in"] == 10
    assert claims_of(body["access_token"])["exp"] == claims_of(token)["exp"]


async def test_a_chain_grows_by_one_actor_an_exchange(server: Service, agent: Client, tasks: Pair) -> None:
    """RFC 8693 §4.1: the outermost is the current actor."""
    notes = await server.server_of(NOTES)
    token = (await exchange(server, tasks, (await for_tasks(server, agent))["access_token"])).json()
    token = (await exchange(server, notes, token["access_token"], resource=FILES)).json()
    claims = claims_of(token["access_token"])
    assert claims["act"] == {
        "sub": notes[0].client_id,
        "act": {"sub": tasks[0].client_id, "act": {"sub": agent.client_id}},
    }
    assert claims["sub"] == server.ada.user_id


async def test_a_chain_that_is_too_long_ends(server: Service, agent: Client) -> None:
    pair = await server.server_of(TASKS, NOTES, FILES)
    token = (await for_tasks(server, agent))["access_token"]
    hops = [NOTES, FILES, TASKS, NOTES]
    for resource in hops:
        response = await exchange(server, pair, token, resource=resource)
        assert response.status_code == 200
        token = response.json()["access_token"]
    assert error_of(await exchange(server, pair, token, resource=FILES)) == "invalid_request"
    assert len(server.events(TokenExchanged)) == len(hops)


async def test_introspection_shows_who_acts(server: Service, agent: Client, tasks: Pair) -> None:
    notes = await server.server_of(NOTES)
    token = (await exchange(server, tasks, (await for_tasks(server, agent))["access_token"])).json()
    told = await server.introspect(notes, token["access_token"])
    assert told["active"]
    assert told["act"]["act"] == {"sub": agent.client_id}


async def test_revoking_the_grant_ends_the_exchanged_token(
    server: Service, agent: Client, tasks: Pair
) -> None:
    """Its `grant_id` is the one on the revocation list, too."""
    notes = await server.server_of(NOTES)
    tokens = await for_tasks(server, agent)
    token = (await exchange(server, tasks, tokens["access_token"])).json()["access_token"]
    await server.revoke(agent, tokens["refresh_token"])
    assert await server.introspect(notes, token) == {"active": False}
    assert error_of(await exchange(server, tasks, tokens["access_token"])) == "invalid_request"
    (entry,) = (await server.http.get("/revoked")).json()["revoked"]
    assert entry["grant_id"] == claims_of(token)["grant_id"]


async def test_a_resource_server_that_revokes_its_token_does_not_end_the_users_grant(
    server: Service, agent: Client, tasks: Pair
) -> None:
    notes = await server.server_of(NOTES)
    tokens = await for_tasks(server, agent)
    token = (await exchange(server, tasks, tokens["access_token"])).json()["access_token"]
    await server.post_as(tasks, "/revoke", token=token)
    assert await server.introspect(notes, token) == {"active": False}
    assert (await server.refresh(agent, tokens["refresh_token"])).status_code == 200
    assert (await exchange(server, notes, token, resource=FILES)).status_code == 400


async def test_scopes_are_those_of_the_rule_or_fewer(server: Service, agent: Client, tasks: Pair) -> None:
    token = (await for_tasks(server, agent))["access_token"]
    assert (await exchange(server, tasks, token, scope="notes:read")).json()["scope"] == "notes:read"
    for scope in ("notes:admin", "notes:read notes:admin", "tasks:read", 'a"b'):
        assert error_of(await exchange(server, tasks, token, scope=scope)) == "invalid_scope"


async def test_a_target_without_a_rule_is_an_invalid_target(
    server: Service, agent: Client, tasks: Pair
) -> None:
    """RFC 8693 §2.2.2."""
    token = (await for_tasks(server, agent))["access_token"]
    targets: list[str | list[str] | None] = [
        FILES,
        TASKS,
        None,
        "https://unknown.example",
        "no uri",
        [NOTES, FILES],
    ]
    for resource in targets:
        assert error_of(await exchange(server, tasks, token, resource=resource)) == "invalid_target"
    assert error_of(await exchange(server, tasks, token, audience=FILES)) == "invalid_target"
    assert (await exchange(server, tasks, token, resource=None, audience=NOTES)).status_code == 200


async def test_a_token_for_another_resource_server_is_refused(server: Service, agent: Client) -> None:
    """Only who was called with a token may go on with it."""
    files = await server.server_of(FILES)
    token = (await for_tasks(server, agent))["access_token"]
    assert error_of(await exchange(server, files, token, resource=TASKS)) == "invalid_request"
    assert server.events(TokenExchanged) == []


async def test_what_is_no_living_token_of_a_user_is_refused(
    server: Service, agent: Client, tasks: Pair
) -> None:
    """RFC 8693 §2.2.2 asks for `invalid_request`; one text for all, so that nobody can probe."""
    terms = OperatorTerms(resources=(TASKS,), scopes=("tasks:read",))
    machine = await server.confidential_client("client_credentials", terms=terms)
    own = (await server.post_as(machine, "/token", grant_type="client_credentials")).json()["access_token"]
    async with service(issuer="https://other.example") as other:
        foreign = (await for_tasks(other, await other.public_client()))["access_token"]
    tokens = await for_tasks(server, agent)
    spoilt = tokens["access_token"][:-4] + "AAAA"
    texts: set[str] = set()
    for token in (own, foreign, spoilt, tokens["refresh_token"], "x", "a.b.c"):
        response = await exchange(server, tasks, token)
        assert error_of(response) == "invalid_request"
        texts.add(response.json()["error_description"])
    server.clock.advance(600)
    response = await exchange(server, tasks, tokens["access_token"])
    assert error_of(response) == "invalid_request"
    assert texts == {response.json()["error_description"]}


async def test_a_disabled_users_token_is_refused(server: Service, agent: Client, tasks: Pair) -> None:
    token = (await for_tasks(server, agent))["access_token"]
    await server.users.set_disabled(server.ada, disabled=True)
    assert error_of(await exchange(server, tasks, token)) == "invalid_request"


@pytest.mark.parametrize(
    "changes",
    [
        {"subject_token": None},
        {"subject_token_type": None},
        {"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        {"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"},
        {"subject_token_type": "nonsense"},
        {"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        {"actor_token": "x", "actor_token_type": ACCESS_TOKEN},
        {"actor_token_type": ACCESS_TOKEN},
        {"subject_token": ["x", "y"]},
    ],
)
async def test_other_kinds_of_tokens_and_actors_are_refused(
    server: Service, agent: Client, tasks: Pair, changes: dict[str, str | list[str] | None]
) -> None:
    """RFC 8693 §2.1."""
    token = (await for_tasks(server, agent))["access_token"]
    assert error_of(await exchange(server, tasks, token, **changes)) == "invalid_request"


async def test_who_is_no_resource_server_is_unauthorized(server: Service, agent: Client) -> None:
    token = (await for_tasks(server, agent))["access_token"]
    without_terms = await server.confidential_client(GRANT_TYPE)
    without_grant_type = await server.confidential_client(terms=OperatorTerms(serves=(TASKS,)))
    for pair in (without_terms, without_grant_type):
        assert error_of(await exchange(server, pair, token)) == "unauthorized_client"
    form = {
        "grant_type": GRANT_TYPE,
        "client_id": agent.client_id,
        "subject_token": token,
        "subject_token_type": ACCESS_TOKEN,
        "resource": NOTES,
    }
    assert error_of(await server.post("/token", form)) == "unauthorized_client"


async def test_without_rules_there_is_no_token_exchange() -> None:
    """Off, unknown and not announced."""
    async with service() as server:
        token = (await for_tasks(server, await server.public_client()))["access_token"]
        response = await exchange(server, await server.server_of(TASKS), token)
        assert error_of(response) == "unsupported_grant_type"
        document = (await server.http.get("/.well-known/oauth-authorization-server")).json()
        assert GRANT_TYPE not in document["grant_types_supported"]


async def test_with_rules_it_is_announced(server: Service) -> None:
    document = (await server.http.get("/.well-known/oauth-authorization-server")).json()
    assert GRANT_TYPE in document["grant_types_supported"]


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ([ExchangeRule(FILES, NOTES, ("notes:read",))], f"from: {FILES} is not declared"),
        ([ExchangeRule(NOTES, FILES, ("x",))], f"to: {FILES} is not declared"),
        ([ExchangeRule(NOTES, NOTES, ("notes:read",))], "from and to are the same"),
        ([ExchangeRule(TASKS, NOTES, ())], "scopes: name what may be had"),
        ([ExchangeRule(TASKS, NOTES, ("tasks:read",))], f"scopes: {NOTES} has no scope tasks:read"),
        ([ExchangeRule(TASKS, NOTES, ("notes:read",))] * 2, "two have the same from and to"),
        ([ExchangeRule("tasks", NOTES, ("notes:read",))], "tasks"),
    ],
)
def test_rules_that_cannot_work_are_refused(rules: list[ExchangeRule], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ExchangeRules(rules, REGISTRY)


def test_a_wrong_rule_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match=r"^token_exchange: from and to are the same"):
        replace(SETTINGS, token_exchange=(ExchangeRule(NOTES, NOTES, ("notes:read",)),))


FILE = """
issuer = "https://as.example"
[[resources]]
identifier = "https://notes.example/mcp"
name = "Notes"
[[resources.scopes]]
name = "notes:read"
description = "Read"
[[resources]]
identifier = "https://tasks.example"
name = "Tasks"
[[resources.scopes]]
name = "tasks:read"
description = "Read"
"""
RULE = f'[[token_exchange]]\nfrom = "{TASKS}"\nto = "{NOTES}"\nscopes = ["notes:read"]\n'


def test_rules_come_from_the_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "mcpauth.toml"
    path.write_text(FILE + RULE)
    assert load_settings(path, {}).token_exchange == (ExchangeRule(TASKS, NOTES, ("notes:read",)),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (RULE.replace("scopes", "scope"), r"token_exchange\[1\].scope: is no setting; did you mean scopes"),
        (RULE.replace("[[", "[").replace("]]", "]"), ""),
        (RULE.replace(f'to = "{NOTES}"\n', ""), r"token_exchange\[1\].to: is missing"),
        ("token_exchange = 3\n", "token_exchange: must be written as"),
    ],
)
def test_a_wrong_table_names_itself(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mcpauth.toml"
    path.write_text(text + FILE if text.startswith("token") else FILE + text)
    if not problem:
        assert len(load_settings(path, {}).token_exchange) == 1, "a single table will do"
        return
    with pytest.raises(ConfigurationError, match=problem):
        load_settings(path, {})
