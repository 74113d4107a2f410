"""The client credentials grant, RFC 6749 §4.4, and the clients that an operator registers for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from mcpauth.commands import mcpauth
from mcpauth.events import ClientTokenIssued, TokenRefused
from mcpauth.oauth.operator_registration import operator_metadata, operator_terms
from mcpauth.oauth.operator_terms import OperatorTerms
from tests.authorization_server.core_helpers import REGISTRY
from tests.authorization_server.grants_helpers import (
    FILES,
    ISSUER,
    NOTES,
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

pytestmark = pytest.mark.anyio

WRITER = OperatorTerms(resources=(NOTES,), scopes=("notes:write",))
BOTH = OperatorTerms(resources=(TASKS, NOTES), scopes=("notes:read", "tasks:read"))


@pytest.fixture
async def server() -> AsyncGenerator[Service]:
    async with service() as server:
        yield server


async def ask(server: Service, pair: Pair, **form: str | list[str] | None) -> httpx2.Response:
    return await server.post_as(pair, "/token", grant_type="client_credentials", **form)


async def machine(server: Service, terms: OperatorTerms = WRITER) -> Pair:
    return await server.confidential_client("client_credentials", terms=terms)


def error_of(response: httpx2.Response) -> str:
    assert response.status_code == 400, response.text
    body: dict[str, Any] = response.json()
    assert "access_token" not in body
    return str(body["error"])


async def test_a_machine_gets_a_token_in_its_own_name(server: Service) -> None:
    """RFC 6749 §4.4.3, RFC 9068 §2.2: `sub` is the client where no resource owner is involved."""
    pair = await machine(server)
    response = await ask(server, pair, scope="notes:read")
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}, "never a refresh token"
    claims = claims_of(body["access_token"])
    assert claims["sub"] == claims["client_id"] == pair[0].client_id
    assert (claims["iss"], claims["aud"], claims["scope"]) == (ISSUER, NOTES, "notes:read")
    assert "grant_id" not in claims
    assert "auth_time" not in claims
    assert await server.store.list("refresh_token") == []
    assert await server.store.list("grant") == []
    (event,) = server.events(ClientTokenIssued)
    assert event.token_id == claims["jti"]


async def test_without_a_scope_it_gets_all_that_is_its_own_and_nothing_by_default(server: Service) -> None:
    """RFC 6749 §3.3; `notes:write` implies `notes:read`."""
    assert (await ask(server, await machine(server))).json()["scope"] == "notes:read notes:write"
    admin = OperatorTerms(resources=(NOTES,), scopes=("notes:read",))
    assert (await ask(server, await machine(server, admin))).json()["scope"] == "notes:read"


async def test_more_than_its_own_is_cut_off_and_said(server: Service) -> None:
    """RFC 6749 §3.3: clients ask for whatever the resource's metadata lists."""
    response = await ask(server, await machine(server), scope="notes:admin notes:write unknown")
    assert response.json()["scope"] == "notes:read notes:write"


async def test_nothing_of_its_own_is_an_invalid_scope(server: Service) -> None:
    pair = await machine(server, OperatorTerms(resources=(NOTES,), scopes=("notes:read",)))
    for scope in ("tasks:read", "unknown", 'a"b'):
        assert error_of(await ask(server, pair, scope=scope)) == "invalid_scope"


async def test_another_resource_or_an_unknown_one_is_an_invalid_target(server: Service) -> None:
    """RFC 8707 §2."""
    pair = await machine(server)
    for resource in (TASKS, "https://unknown.example", "no uri", [NOTES, TASKS]):
        assert error_of(await ask(server, pair, resource=resource)) == "invalid_target"
    assert (await ask(server, pair, resource=NOTES)).status_code == 200


async def test_a_machine_with_several_resources_has_to_name_one(server: Service) -> None:
    """RFC 8707 §2: the default resource is for clients that act for users."""
    pair = await machine(server, BOTH)
    assert error_of(await ask(server, pair)) == "invalid_target"
    for resource, scope in ((NOTES, "notes:read"), (TASKS, "tasks:read")):
        assert (await ask(server, pair, resource=resource)).json()["scope"] == scope


async def test_a_public_client_is_unauthorized(server: Service) -> None:
    """RFC 6749 §4.4: MUST only be used by confidential clients."""
    client = await server.public_client(grant_types=["authorization_code", "client_credentials"])
    form = {"grant_type": "client_credentials", "client_id": client.client_id}
    assert error_of(await server.post("/token", form)) == "unauthorized_client"


async def test_a_client_that_registered_itself_is_unauthorized_whatever_it_says(server: Service) -> None:
    """Without a ceiling that an operator set there is nothing it could have."""
    metadata = {
        "redirect_uris": ["https://eve.example/cb"],
        "grant_types": ["authorization_code", "client_credentials"],
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": "notes:admin",
        "terms": {"resources": [NOTES], "scopes": ["notes:admin"]},
    }
    registered = (await server.http.post("/register", json=metadata)).json()
    auth = (registered["client_id"], registered["client_secret"])
    response = await server.post("/token", {"grant_type": "client_credentials"}, auth=auth)
    assert error_of(response) == "unauthorized_client"
    assert server.events(ClientTokenIssued) == []
    assert len(server.events(TokenRefused)) == 1


async def test_an_operators_client_without_the_grant_type_or_a_ceiling_is_unauthorized(
    server: Service,
) -> None:
    for pair in (
        await server.confidential_client("authorization_code"),
        await server.confidential_client("client_credentials"),
        await server.server_of(NOTES),
    ):
        assert error_of(await ask(server, pair)) == "unauthorized_client"


async def test_a_wrong_secret_gets_nothing(server: Service) -> None:
    client, _ = await machine(server)
    response = await ask(server, (client, "wrong"))
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


async def test_a_removed_machines_token_is_inactive(server: Service) -> None:
    notes = await server.server_of(NOTES)
    pair = await machine(server)
    token = (await ask(server, pair)).json()["access_token"]
    assert (await server.introspect(notes, token))["sub"] == pair[0].client_id
    await server.clients.remove(pair[0].client_id)
    assert await server.introspect(notes, token) == {"active": False}


async def test_the_metadata_names_the_grant_type(server: Service) -> None:
    document = (await server.http.get("/.well-known/oauth-authorization-server")).json()
    assert "client_credentials" in document["grant_types_supported"]


def test_terms_without_a_resource_are_those_of_the_default_one() -> None:
    terms = operator_terms(REGISTRY, client_credentials=True, scopes=["notes:read"])
    assert terms == OperatorTerms(resources=(NOTES,), scopes=("notes:read",))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"scopes": ["notes:read"]}, "scope, resource: only with the grant type client_credentials"),
        ({"client_credentials": True}, "scope: name the most"),
        ({"client_credentials": True, "scopes": ["tasks:read"]}, f"scope: tasks:read is not one of {NOTES}"),
        (
            {"client_credentials": True, "scopes": ["notes:read"], "resources": [NOTES, TASKS]},
            f"resource: {TASKS} has none of the scopes",
        ),
        (
            {"client_credentials": True, "scopes": ["notes:read"], "resources": [FILES]},
            f"resource: {FILES} is not declared; known are {NOTES}, {TASKS}",
        ),
        ({"serves": ["notes"]}, "resource-server: notes is not declared"),
    ],
)
def test_terms_that_cannot_work_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace(".", r"\.")):
        operator_terms(REGISTRY, **options)


def test_a_client_without_redirect_uris_and_without_terms_could_do_nothing() -> None:
    with pytest.raises(ValueError, match="redirect-uri: name one"):
        operator_metadata(
            OperatorTerms(), client_name="X", redirect_uris=[], confidential=True, private_use_schemes=[]
        )


class Cli:
    """Runs `mcpauth clients` with the settings that `mcpauth init` writes."""

    def __init__(self, folder: Path) -> None:
        self.config = str(folder / "mcpauth.toml")
        self.run("init", self.config)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(mcpauth, arguments, env={"MCPAUTH_CONFIG": ""})

    def clients(self, *arguments: str) -> Result:
        return self.run("clients", *arguments, "--config", self.config)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


RESOURCE = "http://127.0.0.1:8000/mcp"


def test_an_operator_registers_a_machine(cli: Cli) -> None:
    options = ["--name", "Nightly", "--grant-type", "client_credentials", "--scope", "mcp:read mcp:write"]
    added = json.loads(cli.clients("add", *options, "--json").stdout)
    assert added["grant_types"] == ["client_credentials"]
    assert added["client_secret"]
    (listed,) = json.loads(cli.clients("list", "--json").stdout)
    assert listed["terms"] == {"resources": [RESOURCE], "scopes": ["mcp:read", "mcp:write"]}
    assert "client_secret" not in listed


def test_an_operator_registers_a_resource_server(cli: Cli) -> None:
    added = json.loads(cli.clients("add", "--name", "Notes", "--resource-server", RESOURCE, "--json").stdout)
    assert added["grant_types"] == ["urn:ietf:params:oauth:grant-type:token-exchange"]
    (listed,) = json.loads(cli.clients("list", "--json").stdout)
    assert listed["terms"] == {"serves": [RESOURCE]}


def test_a_client_of_users_can_be_a_machine_too(cli: Cli) -> None:
    options = ["--redirect-uri", "https://robo.example/cb", "--grant-type", "client_credentials"]
    added = json.loads(cli.clients("add", "--name", "R", *options, "--scope", "mcp:read", "--json").stdout)
    assert added["grant_types"] == ["authorization_code", "refresh_token", "client_credentials"]
    assert added["token_endpoint_auth_method"] == "client_secret_basic"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "error: --redirect-uri: name one; only machines, resource servers and devices do without"),
        (
            ["--grant-type", "client_credentials"],
            "error: --scope: name the most that the client may have in its own name",
        ),
        (
            ["--resource-server", "https://other.example"],
            f"error: --resource-server: https://other.example is not declared; known are {RESOURCE}",
        ),
        (
            ["--scope", "mcp:read"],
            "error: --scope, resource: only with the grant type client_credentials",
        ),
    ],
)
def test_options_that_do_not_go_together_are_one_line_and_add_nothing(
    cli: Cli, options: list[str], line: str
) -> None:
    result = cli.clients("add", "--name", "X", *options)
    assert (result.exit_code, result.stderr.strip()) == (2, line)
    assert json.loads(cli.clients("list", "--json").stdout) == []
