"""The parameters of /authorize: what is wrong with them, and who may be told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mcpauth.oauth.authorization_request import AuthorizationRequest, AuthorizationRequests
from mcpauth.oauth.authorization_rules import (
    AuthorizationRules,
    NoRedirect,
    RedirectError,
    check_authorization_request,
)
from mcpauth.oauth.errors import InvalidRequest
from mcpauth.oauth.form import parse_query
from mcpauth.oauth.permission import Permission
from mcpauth.oauth.sign_in_demands import NO_DEMANDS, SignInDemands
from tests.authorization_server.core_helpers import (
    CHALLENGE,
    LOOPBACK,
    NOTES,
    REGISTRY,
    START,
    TASKS,
    CoreServer,
    core_server,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mcpauth.oauth.client import Client

pytestmark = pytest.mark.anyio

RULES = AuthorizationRules(REGISTRY)


@pytest.fixture
async def server() -> AsyncGenerator[CoreServer]:
    async with core_server() as server:
        yield server


def pairs(client: Client, **changes: str | None) -> list[tuple[str, str]]:
    """A good request, with changes; None leaves a parameter out."""
    params = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uris[0],
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "s t+a%te",
        **changes,
    }
    return [(name, value) for name, value in params.items() if value is not None]


async def check(server: CoreServer, params: list[tuple[str, str]]) -> AuthorizationRequest:
    return await check_authorization_request(
        params, clients=server.clients, rules=RULES, browser="b", now=server.clock()
    )


async def asked(server: CoreServer, params: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(each.resource, each.scope) for each in (await check(server, params)).asked]


async def told_the_user(server: CoreServer, params: list[tuple[str, str]]) -> NoRedirect:
    with pytest.raises(NoRedirect) as caught:
        await check(server, params)
    assert caught.value.status_code == 400
    return caught.value


async def told_the_client(server: CoreServer, params: list[tuple[str, str]]) -> RedirectError:
    with pytest.raises(RedirectError) as caught:
        await check(server, params)
    assert caught.value.redirect_uri == LOOPBACK
    return caught.value


async def test_a_good_request_is_read_whole(server: CoreServer) -> None:
    client = await server.public_client()
    request = await check(
        server, pairs(client, scope="notes:write", resource=NOTES, prompt="consent", login_hint="alice")
    )
    assert request == AuthorizationRequest(
        client_id=client.client_id,
        redirect_uri=LOOPBACK,
        redirect_uri_given=True,
        asked=(Permission(NOTES, ("notes:read", "notes:write")),),
        code_challenge=CHALLENGE,
        state="s t+a%te",
        demands=SignInDemands(prompt=("consent",)),
        login_hint="alice",
        created_at=START,
        browser="b",
    )


async def test_without_resource_and_scope_the_defaults_hold(server: CoreServer) -> None:
    """Older SDKs and the conformance suite send neither."""
    request = await check(server, pairs(await server.public_client()))
    assert request.asked == (Permission(NOTES, ("notes:read",)),)


async def test_the_scope_of_the_registration_is_the_default_and_not_the_ceiling(server: CoreServer) -> None:
    client = await server.public_client(scope="notes:write")
    assert (await asked(server, pairs(client))) == [(NOTES, "notes:read notes:write")]
    assert (await asked(server, pairs(client, scope="notes:admin")))[0][1].endswith("notes:admin")
    assert (await asked(server, pairs(client, resource=TASKS))) == [(TASKS, "tasks:read")]


@pytest.mark.parametrize("port", [1, 8080, 65535])
async def test_a_loopback_client_comes_back_at_the_port_it_asks_for(server: CoreServer, port: int) -> None:
    """RFC 8252 §7.3."""
    client = await server.public_client()
    uri = f"http://127.0.0.1:{port}/callback"
    assert (await check(server, pairs(client, redirect_uri=uri))).redirect_uri == uri


async def test_an_unknown_client_is_never_redirected(server: CoreServer) -> None:
    client = await server.public_client()
    error = await told_the_user(server, pairs(client, client_id="nobody"))
    assert error.code == "invalid_client"
    await told_the_user(server, pairs(client, client_id=None))
    await told_the_user(server, pairs(client, client_id=""))


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://evil.example/cb",
        f"{LOOPBACK}/",
        f"{LOOPBACK}?x",
        f"{LOOPBACK};x",
        f"{LOOPBACK}#",
        LOOPBACK.replace("callback", "CALLBACK"),
        LOOPBACK.replace("127.0.0.1", "localhost"),
        LOOPBACK.replace("http", "https"),
        LOOPBACK.replace("/callback", "%2Fcallback"),
        LOOPBACK.replace("127", "u@127"),
    ],
)
async def test_an_unregistered_redirect_uri_is_never_redirected_to(
    server: CoreServer, redirect_uri: str
) -> None:
    """RFC 6749 §3.1.2.4, also when everything else is wrong too."""
    client = await server.public_client()
    error = await told_the_user(server, pairs(client, redirect_uri=redirect_uri, prompt="none", scope='"'))
    assert error.code == "invalid_request"


async def test_a_missing_redirect_uri_needs_exactly_one_registered(server: CoreServer) -> None:
    """RFC 6749 §3.1.2.3."""
    one = await server.public_client()
    request = await check(server, pairs(one, redirect_uri=None))
    assert (request.redirect_uri, request.redirect_uri_given) == (LOOPBACK, False)
    two = await server.public_client(redirect_uris=[LOOPBACK, "http://localhost/cb"])
    await told_the_user(server, pairs(two, redirect_uri=None))


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
async def test_a_repeated_client_id_or_redirect_uri_is_never_redirected(
    server: CoreServer, name: str
) -> None:
    client = await server.public_client()
    params = pairs(client)
    await told_the_user(server, [*params, (name, dict(params)[name])])


@pytest.mark.parametrize("name", ["state", "scope", "response_type", "code_challenge", "whatever"])
async def test_another_repeated_parameter_is_an_invalid_request(server: CoreServer, name: str) -> None:
    """RFC 6749 §3.1."""
    client = await server.public_client()
    error = await told_the_client(server, [*pairs(client), (name, "a"), (name, "b")])
    assert error.error.code == "invalid_request"
    assert error.state == (None if name == "state" else "s t+a%te")


async def test_a_nul_in_any_parameter_is_refused(server: CoreServer) -> None:
    client = await server.public_client()
    for name in ("client_id", "redirect_uri", "state", "scope", "login_hint"):
        await told_the_user(server, pairs(client, **{name: "a\0b"}))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": ""}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"response_type": 'co"de'}, "unsupported_response_type"),
        ({"response_type": "códe"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"code_challenge_method": "S512"}, "invalid_request"),
        ({"code_challenge": "x" * 42}, "invalid_request"),
        ({"code_challenge": "x" * 44}, "invalid_request"),
        ({"code_challenge": "x" * 129}, "invalid_request"),
        ({"code_challenge": "x" * 42 + "="}, "invalid_request"),
        ({"code_challenge": "x" * 42 + "+"}, "invalid_request"),
        ({"code_challenge": "x" * 43 + "\n"}, "invalid_request"),
        ({"code_challenge": "é" * 43}, "invalid_request"),
        ({"scope": 'notes:read "'}, "invalid_scope"),
        ({"scope": "notes:read\\"}, "invalid_scope"),
        ({"scope": "notes:read\tnotes:write"}, "invalid_scope"),
        ({"scope": "notes:read é"}, "invalid_scope"),
        ({"scope": "openid offline_access"}, "invalid_scope"),
        ({"scope": "tasks:read"}, "invalid_scope"),
        ({"resource": "https://unknown.example"}, "invalid_target"),
        ({"resource": f"{NOTES}#x"}, "invalid_target"),
        ({"resource": f"{NOTES}#"}, "invalid_target"),
        ({"resource": f"{NOTES}/"}, "invalid_target"),
        ({"resource": NOTES.replace("mcp", "MCP")}, "invalid_target"),
        ({"resource": "/mcp"}, "invalid_target"),
        ({"resource": "notes.example"}, "invalid_target"),
        ({"resource": "urn:notes"}, "invalid_target"),
        ({"resource": "https://[::1"}, "invalid_target"),
        ({"request": "a.b.c"}, "request_not_supported"),
        ({"request_uri": "https://evil.example/jar"}, "request_uri_not_supported"),
        ({"prompt": "none login"}, "invalid_request"),
    ],
)
async def test_everything_else_is_told_to_the_client(
    server: CoreServer, changes: dict[str, str | None], code: str
) -> None:
    """RFC 6749 §4.1.2.1, RFC 7636 §4.4.1, RFC 8707 §2, OpenID Connect Core §3.1.2.6: with the same state."""
    client = await server.public_client()
    error = await told_the_client(server, pairs(client, **changes))
    assert error.error.code == code
    assert error.state == "s t+a%te"
    assert error.client_id == client.client_id


async def test_several_resources_are_asked_for_at_once_each_with_its_own_scopes(server: CoreServer) -> None:
    """RFC 8707 §2.1: the scopes are asked for at each of the resources, which know different ones."""
    client = await server.public_client()
    both = [*pairs(client), ("resource", TASKS), ("resource", NOTES), ("resource", f"{TASKS}/")]
    assert await asked(server, both) == [(TASKS, "tasks:read"), (NOTES, "notes:read")]
    named = [*both, ("scope", "notes:write tasks:read")]
    assert await asked(server, named) == [(TASKS, "tasks:read"), (NOTES, "notes:read notes:write")]


async def test_a_resource_that_knows_none_of_the_scopes_is_not_asked_for(server: CoreServer) -> None:
    """Dropping it would leave the client with less than it thinks."""
    client = await server.public_client()
    both = [*pairs(client, scope="notes:read"), ("resource", NOTES), ("resource", TASKS)]
    assert (await told_the_client(server, both)).error.code == "invalid_scope"


async def test_one_unknown_resource_among_several_is_refused(server: CoreServer) -> None:
    client = await server.public_client()
    both = [*pairs(client), ("resource", NOTES), ("resource", "https://unknown.example")]
    assert (await told_the_client(server, both)).error.code == "invalid_target"


@pytest.mark.parametrize("spelling", [NOTES, "HTTPS://Notes.Example:443/mcp"])
async def test_a_resource_is_known_in_every_spelling_of_the_same_uri(
    server: CoreServer, spelling: str
) -> None:
    """RFC 3986 §6.2.2.1 and §6.2.3: scheme, host, default port."""
    client = await server.public_client()
    assert await asked(server, pairs(client, resource=spelling)) == [(NOTES, "notes:read")]


async def test_unknown_scopes_are_dropped_where_a_known_one_is_left(server: CoreServer) -> None:
    """RFC 6749 §3.3: the token response then says what was granted."""
    client = await server.public_client()
    params = pairs(client, scope="openid notes:read offline_access notes:read")
    assert await asked(server, params) == [(NOTES, "notes:read")]


async def test_empty_parameters_are_absent(server: CoreServer) -> None:
    """RFC 6749 §3.1."""
    client = await server.public_client()
    request = await check(server, pairs(client, scope="", resource="", state="", prompt="", request=""))
    assert (request.state, request.demands) == (None, NO_DEMANDS)
    assert request.asked == (Permission(NOTES, ("notes:read",)),)


@pytest.mark.parametrize("login_hint", ["x" * 201, "a\nb", "\u202eevil"])
async def test_a_login_hint_that_could_mislead_is_dropped(server: CoreServer, login_hint: str) -> None:
    client = await server.public_client()
    assert (await check(server, pairs(client, login_hint=login_hint))).login_hint is None


@pytest.mark.parametrize("state", ["+", "%00", "ü", "a b", "x" * 4096, "&iss=evil", "\r\nX: y"])
async def test_the_state_is_kept_as_it_is(server: CoreServer, state: str) -> None:
    client = await server.public_client()
    assert (await check(server, pairs(client, state=state))).state == state
    assert (await told_the_client(server, pairs(client, state=state, scope='"'))).state == state


async def test_a_stored_request_is_decided_once_and_taken_once(server: CoreServer) -> None:
    requests = AuthorizationRequests(server.store, now=server.clock)
    request = await check(server, pairs(await server.public_client(), scope="notes:write"))
    request_id = await requests.begin(request)
    assert await requests.get(request_id) == request
    scopes = {NOTES: ("notes:read", "notes:admin"), TASKS: ("tasks:read",)}
    assert await requests.approve(request_id, request, user_id="alice", auth_time=START, scopes=scopes)
    assert not await requests.approve(request_id, request, user_id="mallory", auth_time=0, scopes={})
    approved = (Permission(NOTES, ("notes:read",)),)
    decided = replace(request, approved=approved, user_id="alice", auth_time=START)
    assert await requests.get(request_id) == decided, "only what was asked for can be approved"
    assert await requests.take(request_id) == decided
    assert await requests.take(request_id) is None
    assert await requests.get(request_id) is None
    assert request_id not in str(await server.store.list("authorization_request"))


async def test_a_stored_request_is_forgotten_after_ten_minutes(server: CoreServer) -> None:
    requests = AuthorizationRequests(server.store, now=server.clock)
    request = await check(server, pairs(await server.public_client()))
    request_id = await requests.begin(request)
    server.clock.advance(599)
    assert await requests.get(request_id) == request
    server.clock.advance(1)
    assert await requests.get(request_id) is None
    assert not await requests.approve(
        request_id, request, user_id="alice", auth_time=None, scopes={NOTES: ("notes:read",)}
    )
    assert await requests.take(request_id) is None


async def test_a_query_of_100_kb_is_refused_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_query(b"a=" + b"x" * 100_000)
    assert caught.value.status_code == 414
