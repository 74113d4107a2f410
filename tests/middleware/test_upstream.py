"""Calling another API for the user, RFC 8693, at this project's own server; no token is ever passed on."""

from __future__ import annotations

import gc
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import anyio
import anyio.lowlevel
import pytest

from mcpauth.oauth.token_exchange import ExchangeRule
from mcpauth_middleware import (
    ClientCredentials,
    McpAuthMiddleware,
    Policy,
    TokenExchange,
    UpstreamRefused,
    UpstreamToken,
    UpstreamUnavailable,
)
from tests.authorization_server import grants_helpers
from tests.authorization_server.grants_helpers import FILES, NOTES, TASKS, Service, claims_of
from tests.middleware.edge_helpers import (
    ISSUER,
    NOW,
    RESOURCE,
    Clock,
    IssuerServer,
    claims,
    client_of,
    mint,
    post,
    protect,
)
from tests.middleware.test_revocation import principal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from mcpauth_middleware.asgi import Receive, Scope, Send

pytestmark = pytest.mark.anyio

POLICY = 'version = 1\n[[rules]]\nid = "all"\nallow = { methods = ["*"] }'


@dataclass
class Tool:
    """An application that exchanges the token of whoever calls it."""

    work: Callable[[], Awaitable[Any]]
    results: list[Any] = field(default_factory=list[Any])
    scopes: list[Scope] = field(default_factory=list[Any])

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        try:
            self.results.append(await self.work())
        except (UpstreamRefused, UpstreamUnavailable, LookupError, ValueError) as error:
            self.results.append(error)
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@dataclass
class Setting:
    """The tasks server with its tool, in front of which the middleware stands, and a caller's token."""

    service: Service
    upstream: TokenExchange
    token: str

    async def call(self, work: Callable[[], Awaitable[Any]]) -> tuple[Any, Tool]:
        tool = Tool(work)
        middleware = McpAuthMiddleware(
            tool,
            resource=TASKS,
            authorization_servers=[grants_helpers.ISSUER],
            policy=Policy.from_toml(POLICY),
            revocation="off",
            upstream=self.upstream,
            http_client=self.service.http,
            now=self.service.clock,
        )
        http = client_of(middleware, base_url=TASKS)
        headers = {"Authorization": f"Bearer {self.token}"}
        response = await post(http, "tools/list", path="/", headers=headers)
        assert response.status_code == 202, response.text
        return tool.results[0], tool


@asynccontextmanager
async def setting() -> AsyncGenerator[Setting]:
    rules = (ExchangeRule(TASKS, NOTES, ("notes:read", "notes:write")),)
    async with grants_helpers.service(token_exchange=rules) as service:
        agent = await service.public_client()
        server, secret = await service.server_of(TASKS)
        tokens = await service.user_tokens(agent, scopes=["tasks:read"], resource=TASKS)
        upstream = TokenExchange(
            grants_helpers.ISSUER,
            ClientCredentials(server.client_id, secret),
            http_client=service.http,
            now=service.clock,
        )
        yield Setting(service, upstream, tokens["access_token"])


async def test_a_tool_gets_a_token_for_another_resource_in_the_name_of_its_caller() -> None:
    """RFC 8693 §4.1: the subject is the user, the actor this server; and it is not the caller's token."""
    async with setting() as here:
        token, tool = await here.call(lambda: here.upstream.token(NOTES, scopes=["notes:read"]))

        assert isinstance(token, UpstreamToken)
        told = claims_of(token.value)
        assert (told["sub"], told["aud"], told["scope"]) == (here.service.ada.user_id, NOTES, "notes:read")
        assert told["act"]
        assert token.authorization == f"Bearer {token.value}"
        assert token.value not in repr(token)
        assert token.value != here.token
        assert here.token not in repr(tool.scopes)
        assert here.token not in repr(vars(here.upstream)["_callers"])


async def test_the_same_token_is_given_again_until_shortly_before_its_end() -> None:
    """One exchange for many calls; another one for other scopes."""
    async with setting() as here:

        async def work() -> list[str]:
            asked = [here.upstream.token(NOTES, scopes=["notes:read"]) for _ in range(3)]
            first, *others = [(await each).value for each in asked]
            assert others == [first, first]
            other = await here.upstream.token(NOTES, scopes=["notes:write"])
            here.service.clock.moment += 595
            return [first, other.value, (await here.upstream.token(NOTES, scopes=["notes:read"])).value]

        values, _ = await here.call(work)
        assert len({*values}) == 3, values


async def test_what_the_operator_did_not_allow_is_refused() -> None:
    """RFC 8693 §2.2.2."""
    async with setting() as here:
        refused, _ = await here.call(lambda: here.upstream.token(FILES))
        assert isinstance(refused, UpstreamRefused)
        assert refused.error == "invalid_target"
        refused, _ = await here.call(lambda: here.upstream.token(NOTES, scopes=["notes:admin"]))
        assert isinstance(refused, UpstreamRefused)
        assert refused.error == "invalid_scope"


async def test_its_own_resource_and_what_is_none_are_refused_before_anything_is_asked() -> None:
    """Whoever asks for a token for this very server wants to pass the caller's on."""
    async with setting() as here:
        wrong: list[tuple[str, Any]] = [
            (TASKS, ()),
            (f"{TASKS}/", ()),
            ("notes", ()),
            ("https://a.example#b", ()),
            (NOTES, "notes:read"),
            (NOTES, ["a b"]),
        ]
        for audience in ("", "a b", "a\0b"):
            refused, _ = await here.call(partial(here.upstream.token, NOTES, audience=audience))
            assert str(refused).startswith("audience: ")
        for resource, scopes in wrong:
            refused, _ = await here.call(partial(here.upstream.token, resource, scopes=scopes))
            assert isinstance(refused, ValueError)


async def test_outside_a_request_and_without_the_middleware_there_is_nothing_to_exchange() -> None:
    """And the message says how it would be."""
    async with setting() as here:
        with pytest.raises(LookupError, match="no principal"):
            await here.upstream.token(NOTES)
        with pytest.raises(LookupError, match="upstream="):
            await here.upstream.token(NOTES, principal=principal())


async def test_tokens_of_another_issuer_are_not_kept() -> None:
    """They would be shown to an authorization server that has nothing to do with them."""
    upstream = TokenExchange(ISSUER, ClientCredentials("rs", "secret"))
    foreign = principal(iss="https://other.example")
    upstream.keep(foreign, "their-token")
    with pytest.raises(LookupError):
        await upstream.token(NOTES, principal=foreign)


async def test_a_callers_token_is_forgotten_with_its_principal() -> None:
    """And never given to another principal that happens to be equal."""
    upstream = TokenExchange(ISSUER, ClientCredentials("rs", "secret"))
    first, equal = principal(), principal()
    upstream.keep(first, "token-of-the-first")
    with pytest.raises(LookupError):
        await upstream.token(NOTES, principal=equal)

    del first
    gc.collect()
    assert not vars(vars(upstream)["_callers"])["_tokens"]


@dataclass
class Exchanging:
    """An authorization server whose token endpoint answers what the test says."""

    status: int = 200
    answer: dict[str, Any] = field(default_factory=dict[str, Any])
    forms: list[dict[str, list[str]]] = field(default_factory=list[Any])
    go_on: anyio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/token":
            server = IssuerServer()
            server.documents["/.well-known/oauth-authorization-server"]["token_endpoint"] = f"{ISSUER}/token"
            await server(scope, receive, send)
            return
        self.forms.append(parse_qs((await receive())["body"].decode()))
        if self.go_on is not None:
            await self.go_on.wait()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(self.answer).encode()})


GRANTED = {"access_token": "new", "token_type": "Bearer", "expires_in": 300}


def exchange_at(server: Exchanging) -> TokenExchange:
    return TokenExchange(
        ISSUER, ClientCredentials("rs", "secret"), http_client=client_of(server), now=Clock()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": "caller's own"},
        {"token_type": "DPoP"},
        {"token_type": None},
        {"issued_token_type": "urn:ietf:params:oauth:token-type:id_token"},
        {"access_token": "a token"},
        {"access_token": "token\r\nCookie: a=b"},
        {"access_token": "tok\ud800"},
        {"access_token": "x" * 16_385},
        {"expires_in": "300"},
        {"expires_in": -1},
        {"expires_in": 10**400},
        {"expires_in": True},
    ],
)
async def test_an_answer_that_is_no_token_for_elsewhere_is_not_used(changes: dict[str, Any]) -> None:
    """RFC 8693 §2.2.1; least of all the caller's own token back."""
    upstream, caller = exchange_at(Exchanging(answer={**GRANTED, **changes})), principal()
    upstream.keep(caller, "caller's own")

    with pytest.raises(UpstreamUnavailable):
        await upstream.token(NOTES, principal=caller)


@pytest.mark.parametrize("status", [302, 404, 429, 500, 503])
async def test_a_server_that_cannot_answer_is_told_from_one_that_refuses(status: int) -> None:
    """The one passes, the other does not."""
    server = Exchanging(status=status)
    upstream, caller = exchange_at(server), principal()
    upstream.keep(caller, "token")
    with pytest.raises(UpstreamUnavailable):
        await upstream.token(NOTES, principal=caller)

    server.status, server.answer = 200, dict(GRANTED)
    assert (await upstream.token(NOTES, principal=caller)).expires_at == NOW + 300


async def test_nothing_of_the_servers_words_but_its_code_is_in_the_error() -> None:
    """A description could have anything in it, the token too."""
    server = Exchanging(400, {"error": "invalid_target", "error_description": "token"})
    upstream, caller = exchange_at(server), principal()
    upstream.keep(caller, "token")
    with pytest.raises(UpstreamRefused) as raised:
        await upstream.token(NOTES, principal=caller)
    assert str(raised.value) == "the authorization server refused the token exchange: invalid_target"

    for odd in ("something <b>odd</b>", "x" * 65, "\u0435rror", ["invalid_target"], None):
        server.answer = {"error": odd}
        with pytest.raises(UpstreamRefused) as raised:
            await upstream.token(NOTES, principal=caller)
        assert raised.value.error == "refused"


async def test_many_calls_at_once_exchange_once_and_survive_the_first() -> None:
    """Whoever stops waiting does not stop the others."""
    server = Exchanging(answer=dict(GRANTED), go_on=anyio.Event())
    upstream, caller = exchange_at(server), principal()
    upstream.keep(caller, "token")
    values: list[str] = []

    async def call() -> None:
        values.append((await upstream.token(NOTES, principal=caller)).value)

    async with anyio.create_task_group() as group:
        with anyio.move_on_after(0.02):
            await call()
        for _ in range(5):
            group.start_soon(call)
        await anyio.sleep(0.01)
        assert server.go_on is not None
        server.go_on.set()

    assert values == ["new"] * 5
    assert len(server.forms) == 1
    assert server.forms[0]["grant_type"] == ["urn:ietf:params:oauth:grant-type:token-exchange"]
    assert server.forms[0]["resource"] == [NOTES]
    assert RESOURCE != NOTES


async def test_an_exchanged_token_is_not_kept_beyond_the_token_it_was_got_for() -> None:
    """RFC 8693 §2.1: whoever still has the principal of an expired one is told what its server says of it."""
    server, clock = Exchanging(answer={**GRANTED, "expires_in": 3600}), Clock()
    upstream = TokenExchange(
        ISSUER, ClientCredentials("rs", "secret"), http_client=client_of(server), now=clock
    )
    caller = replace(principal(), expires_at=NOW + 60)
    upstream.keep(caller, "token")
    for _ in range(2):
        await upstream.token(NOTES, principal=caller)
    assert len(server.forms) == 1

    clock.time += 60
    server.status, server.answer = 400, {"error": "invalid_request"}
    with pytest.raises(UpstreamRefused):
        await upstream.token(NOTES, principal=caller)


async def test_a_server_that_knows_the_other_api_by_a_name_is_told_the_name() -> None:
    """RFC 8693 §2.1: `audience`; a token for the one is not given for the other."""
    server = Exchanging(answer=dict(GRANTED))
    upstream, caller = exchange_at(server), principal()
    upstream.keep(caller, "token")

    named = await upstream.token(NOTES, audience="notes-api", principal=caller)
    assert named.resource == NOTES
    for audience in ("notes-api", "notes-2", NOTES, None):
        await upstream.token(NOTES, audience=audience, principal=caller)

    told = [(form.get("audience"), form.get("resource")) for form in server.forms]
    assert told == [(["notes-api"], None), (["notes-2"], None), ([NOTES], None), (None, [NOTES])]


@pytest.mark.parametrize("audience", [RESOURCE, [NOTES, RESOURCE], [RESOURCE, 7]])
async def test_a_token_that_is_good_here_as_well_is_not_given_out(audience: object) -> None:
    """MCP 2026-07-28, token passthrough: who gets it could call this server with it, as its user."""
    server = Exchanging(answer={**GRANTED, "access_token": mint(claims(aud=audience))})
    upstream, caller = exchange_at(server), principal()
    upstream.keep(caller, "token")
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable, match="good at this server too"):
            await upstream.token(NOTES, principal=caller)

    server.answer["access_token"] = mint(claims(aud=[NOTES, "account"]))
    assert (await upstream.token(NOTES, principal=caller)).value == server.answer["access_token"]


async def test_too_many_exchanges_at_once_are_told_as_such() -> None:
    """The text is for the operator, who sees no other."""
    server = Exchanging(answer=dict(GRANTED), go_on=anyio.Event())
    upstream, caller = exchange_at(server), principal()
    upstream.keep(caller, "token")

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(partial(upstream.token, f"{NOTES}/{number}", principal=caller))
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(UpstreamUnavailable, match="no token exchange: 100 others go on already"):
            await upstream.token(NOTES, principal=caller)
        assert server.go_on is not None
        server.go_on.set()


@pytest.mark.parametrize("issuer", [f"{ISSUER}/", "https://other.example"])
def test_an_exchange_for_tokens_that_are_not_accepted_is_refused_at_start(issuer: str) -> None:
    """It would never have one to exchange, and each call of a tool would tell so."""
    upstream = TokenExchange(issuer, ClientCredentials("rs", "secret"))
    with pytest.raises(ValueError, match=rf"^upstream: exchanges tokens of {issuer}, .*\({ISSUER}\)$"):
        protect(Tool(anyio.lowlevel.checkpoint), verifier=None, upstream=upstream)
    protect(Tool(anyio.lowlevel.checkpoint), upstream=upstream)  # its verifier may take them


def test_an_issuer_that_cannot_be_one_is_refused() -> None:
    """Tokens travel to it."""
    with pytest.raises(ValueError, match=r"^issuer: "):
        TokenExchange("http://as.example", ClientCredentials("rs", "secret"))
