"""What the client does on one protected server, from the first 401 to the last refusal.

The client is the `mcp` SDK's own, with its own `OAuthClientProvider`; nothing of this project is on its side.
Each `expect` fails the whole run when the servers behave otherwise.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent
from pydantic import AnyUrl

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from .browser import Browser
    from .narrator import Narrator

REDIRECT_URI = "http://127.0.0.1:43110/callback"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ACCEPT = {"accept": "application/json, text/event-stream"}


class Unexpected(AssertionError):
    """A server answered otherwise than the walkthrough expects."""


def expect(condition: bool, what: str) -> None:
    """Stop the walkthrough when `condition` does not hold.

    Raises:
        Unexpected: with `what` should have been.
    """
    if not condition:
        raise Unexpected(what)


@dataclass(frozen=True)
class Plan:
    """What to do on one server."""

    title: str
    url: str
    mode: str
    """`auto` speaks 2026-07-28 where the server can; `legacy` the revisions with a handshake."""
    listed_first: set[str]
    reading: tuple[str, Mapping[str, str]]
    writing: tuple[str, Mapping[str, str]]
    writing_scope: str
    hidden: str
    """A tool that the server has and the policy allows to nobody."""


@dataclass
class Memory:
    """The client's storage: what it was given, until the walkthrough ends."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = field(default=None)

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Walk:
    """One client on one server."""

    def __init__(self, plan: Plan, browser: Browser, narrator: Narrator) -> None:
        self._plan = plan
        self._browser = browser
        self._narrator = narrator
        self._memory = Memory()
        self._authorization_url = ""
        self._answer = "Allow"
        self._provider = OAuthClientProvider(
            server_url=plan.url,
            client_metadata=OAuthClientMetadata(
                client_name="Walkthrough",
                redirect_uris=[AnyUrl(REDIRECT_URI)],
                grant_types=["authorization_code", "refresh_token"],
            ),
            storage=self._memory,
            redirect_handler=self._remember,
            callback_handler=self._ask_the_user,
        )
        self._http = httpx2.AsyncClient(
            auth=self._provider, event_hooks={"response": [narrator.exchange]}, timeout=30
        )

    async def run(self) -> None:
        """Every step, in order.

        Raises:
            Unexpected: a server answered otherwise.
        """
        problem: Unexpected | None = None
        async with self._http, self._connected() as client:
            try:
                await self._list(client)
                await self._call(client)
                await self._step_up(client)
                await self._meet_the_limit(client)
                await self._refresh(client)
                await self._revoke()
                await self._be_refused()
            except Unexpected as unexpected:
                # Raised below: the client's task group would wrap it.
                problem = unexpected
        if problem is not None:
            raise problem

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[Client]:
        transport = streamable_http_client(self._plan.url, http_client=self._http)
        async with Client(transport, mode=self._plan.mode, cache=None) as client:
            self._narrator.say(
                f"connected, speaking {client.protocol_version}; the token holds: {self._scopes()}"
            )
            yield client

    async def _list(self, client: Client) -> None:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        self._narrator.say(f"listed: {', '.join(sorted(listed))}")
        expect(
            listed == self._plan.listed_first,
            f"the list to be {sorted(self._plan.listed_first)}, not {sorted(listed)}",
        )

    async def _call(self, client: Client) -> None:
        tool, arguments = self._plan.reading
        result = await client.call_tool(tool, dict(arguments))
        expect(not result.is_error, f"{tool} to run")
        hidden = await client.call_tool(self._plan.hidden, {})
        expect(bool(hidden.is_error), f"{self._plan.hidden} to be denied")
        self._narrator.say(f"{self._plan.hidden} is allowed to nobody: {text_of(hidden)}")

    async def _step_up(self, client: Client) -> None:
        tool, arguments = self._plan.writing
        expect(self._plan.writing_scope not in self._scopes(), f"no {self._plan.writing_scope} yet")
        result = await client.call_tool(tool, dict(arguments))
        expect(not result.is_error, f"{tool} to run after the step-up")
        expect(
            self._plan.writing_scope in self._scopes(), f"the new token to hold {self._plan.writing_scope}"
        )
        self._narrator.say(f"{text_of(result)}; the token now holds: {self._scopes()}")
        listed = {each.name for each in (await client.list_tools()).tools}
        expect(tool in listed, f"{tool} to be listed now")
        expect(self._plan.hidden not in listed, f"{self._plan.hidden} to stay hidden")

    async def _meet_the_limit(self, client: Client) -> None:
        tool, arguments = self._plan.reading
        for _ in range(10):
            try:
                result = await client.call_tool(tool, dict(arguments))
            except MCPError as refused:
                # Revision 2026-07-28: HTTP 429 with the reason in a JSON-RPC error.
                self._narrator.say(f"{refused.error.message}: {refused.error.data}")
                return
            if result.is_error:
                # Older clients lose their session over a 429, so the refusal is the tool's result.
                self._narrator.say(f"rate limit, told as the tool's result: {text_of(result)}")
                return
        raise Unexpected("the rate limit to answer within ten calls")

    async def _refresh(self, client: Client) -> None:
        before = self._tokens()
        # As if ten minutes had passed: the client refreshes before its next request.
        self._provider.context.token_expiry_time = 1
        await client.list_tools()
        after = self._tokens()
        expect(after.access_token != before.access_token, "a new access token")
        expect(after.refresh_token != before.refresh_token, "a new refresh token")

    async def _revoke(self) -> None:
        metadata = self._provider.context.oauth_metadata
        client = self._memory.client
        expect(metadata is not None and metadata.revocation_endpoint is not None, "a revocation endpoint")
        if metadata is None or client is None:
            return
        async with httpx2.AsyncClient(event_hooks={"response": [self._narrator.exchange]}) as http:
            answer = await http.post(
                str(metadata.revocation_endpoint),
                data={"token": self._tokens().refresh_token or "", "client_id": client.client_id or ""},
            )
        expect(answer.status_code == 200, "the revocation to be answered with 200")
        await self._wait_until_refused(self._tokens().access_token)

    async def _wait_until_refused(self, access_token: str) -> None:
        """The token would be good for minutes yet, but the server hears of its end within a second."""
        headers = {"authorization": f"Bearer {access_token}", **ACCEPT}
        async with httpx2.AsyncClient(headers=headers) as http:
            for _ in range(20):
                answer = await http.post(self._plan.url, json=PING)
                if answer.status_code == 401:
                    await self._narrator.exchange(answer)
                    self._narrator.say("that was the access token from before the revocation")
                    return
                await anyio.sleep(0.5)
        raise Unexpected("the MCP server to refuse the revoked access token")

    async def _be_refused(self) -> None:
        """The grant is gone: the refresh is refused, so only the user could help, and the user says no."""
        self._provider.context.token_expiry_time = 1
        self._answer = "Deny"
        try:
            await self._http.post(self._plan.url, json=PING, headers=ACCEPT)
        except Refused as refusal:
            self._narrator.say(f"the user was asked again and said no: {refusal}")
            return
        raise Unexpected("the revoked grant to be refused")

    async def _remember(self, url: str) -> None:
        self._authorization_url = url

    async def _ask_the_user(self) -> AuthorizationCodeResult:
        back = await self._browser.visit(self._authorization_url, back_to=REDIRECT_URI, answer=self._answer)
        answer = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
        if "error" in answer:
            raise Refused(answer["error"])
        return AuthorizationCodeResult(code=answer["code"], state=answer.get("state"), iss=answer.get("iss"))

    def _tokens(self) -> OAuthToken:
        if self._memory.tokens is None:
            raise Unexpected("the client to hold tokens")
        return self._memory.tokens

    def _scopes(self) -> str:
        return self._tokens().scope or ""


class Refused(Exception):
    """The authorization server sent the browser back with an error."""


def text_of(result: object) -> str:
    """The first line of a tool's textual result."""
    content: list[object] = getattr(result, "content", [])
    texts = [item.text for item in content if isinstance(item, TextContent)]
    return texts[0].splitlines()[0] if texts and texts[0] else "(nothing)"
