"""The requests that are timed, for either server; and what must be right before they are."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from benchmarks.load import CONNECTIONS, http
from benchmarks.token_servers import SCOPE, basic

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx2

    from benchmarks.load import Requests
    from benchmarks.token_servers import Server
    from tests.end_to_end.serving import Registered

OPERATIONS = ("client_credentials", "refresh", "introspection", "metadata")


class Fixed:
    """The same request again and again, on each connection its own."""

    def __init__(self, requests: Sequence[bytes]) -> None:
        self._requests = requests

    def next(self, connection: int) -> bytes:
        return self._requests[connection % len(self._requests)]

    def answered(self, connection: int, body: bytes) -> None:
        """Every answer is as good."""


class Rotation:
    """A family of refresh tokens on each connection: each request brings the token that the last one gave."""

    def __init__(self, server: Server, refresh_tokens: list[str]) -> None:
        self._server = server
        self._refresh_tokens = refresh_tokens

    def next(self, connection: int) -> bytes:
        return refresh_request(self._server, self._refresh_tokens[connection])

    def answered(self, connection: int, body: bytes) -> None:
        following = json.loads(body)["refresh_token"]
        if following == self._refresh_tokens[connection]:
            raise RuntimeError(f"{self._server.name}: the refresh token was not rotated")
        self._refresh_tokens[connection] = following


@dataclass(frozen=True)
class Subject:
    """A server, and a family of refresh tokens for each connection."""

    server: Server
    refresh_tokens: list[str]

    @classmethod
    async def prepared(cls, server: Server, client: httpx2.AsyncClient) -> Subject:
        """With grants of its person, and answers that were looked at."""
        await _check(server, client)
        return cls(server, [await server.grant(client) for _ in range(CONNECTIONS)])

    async def requests(self, operation: str, client: httpx2.AsyncClient) -> Requests:
        """What is sent in a loop of this operation."""
        match operation:
            case "client_credentials":
                return Fixed([client_credentials_request(self.server)])
            case "refresh":
                return Rotation(self.server, self.refresh_tokens)
            case "introspection":
                tokens = [await self._fresh(client, number) for number in range(CONNECTIONS)]
                return Fixed([introspection_request(self.server, token) for token in tokens])
            case _:
                return Fixed([http("GET", self.server.path("metadata"))])

    async def _fresh(self, client: httpx2.AsyncClient, number: int) -> str:
        """A new access token of a user, of the kind that the server introspects."""
        answer = await client.post(
            self.server.metadata["token_endpoint"],
            data=_refresh(self.refresh_tokens[number], self.server.resources[-1]),
            headers=basic(self.server.client),
        )
        told = answer.raise_for_status().json()
        self.refresh_tokens[number] = told["refresh_token"]
        return str(told["access_token"])


def client_credentials_request(server: Server) -> bytes:
    form = {"grant_type": "client_credentials", "resource": server.resources[0], "scope": SCOPE}
    return _post(server, "token_endpoint", server.machine, form)


def refresh_request(server: Server, refresh_token: str) -> bytes:
    return _post(server, "token_endpoint", server.client, _refresh(refresh_token, server.resources[0]))


def introspection_request(server: Server, token: str) -> bytes:
    return _post(server, "introspection_endpoint", server.resource_server, {"token": token})


def _refresh(refresh_token: str, resource: str) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": refresh_token, "resource": resource}


def _post(server: Server, endpoint: str, client: Registered, form: dict[str, str]) -> bytes:
    return http("POST", server.path(endpoint), basic(client), urlencode(form))


async def _check(server: Server, client: httpx2.AsyncClient) -> None:
    """Good requests are answered with 200, bad ones with an error.

    Raises:
        RuntimeError: not so; nothing is worth timing.
    """
    token_at, introspection_at = server.metadata["token_endpoint"], server.metadata["introspection_endpoint"]
    machine = {"grant_type": "client_credentials", "resource": server.resources[0], "scope": SCOPE}

    async def ask(url: str, form: dict[str, str], headers: dict[str, str], status: int) -> dict[str, object]:
        answer = await client.post(url, data=form, headers=headers)
        if answer.status_code != status:
            raise RuntimeError(
                f"{server.name}: {form} was answered {answer.status_code} {answer.text}, not {status}"
            )
        told: dict[str, object] = answer.json()
        return told

    def expect(what: str, *, holds: bool) -> None:
        if not holds:
            raise RuntimeError(f"{server.name}: {what}")

    wrong = basic(replace(server.machine, client_secret="not-" + str(server.machine.client_secret)))
    told = await ask(token_at, machine, basic(server.machine), 200)
    expect("the access token is no JWT", holds=str(told["access_token"]).count(".") == 2)
    told = await ask(token_at, machine, wrong, 401)
    expect("a wrong secret is no invalid_client", holds=told["error"] == "invalid_client")

    family = [await server.grant(client)]
    access_token = ""
    for _ in range(2):
        told = await ask(token_at, _refresh(family[-1], server.resources[-1]), basic(server.client), 200)
        family.append(str(told["refresh_token"]))
        access_token = str(told["access_token"])
    expect("refresh tokens do not rotate", holds=len(set(family)) == 3)
    at_resource_server = basic(server.resource_server)
    told = await ask(introspection_at, {"token": access_token}, at_resource_server, 200)
    expect("a good token is not active", holds=told["active"] is True)
    told = await ask(introspection_at, {"token": access_token[:-8] + "AAAAAAAA"}, at_resource_server, 200)
    expect("a bad token is active", holds=told == {"active": False})
    # The very last one may be repeated, by ours; the one before never. It ends the family.
    told = await ask(token_at, _refresh(family[0], server.resources[-1]), basic(server.client), 400)
    expect("a used refresh token is no invalid_grant", holds=told["error"] == "invalid_grant")
    await ask(token_at, _refresh(family[-1], server.resources[-1]), basic(server.client), 400)
