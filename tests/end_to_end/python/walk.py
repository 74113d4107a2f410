"""A Python MCP client signs in, calls one tool after the other, and says on stdout what it sees.

    python -m tests.end_to_end.python.walk mcp-2|mcp-1.30|fastmcp-4|fastmcp-3 URL TOOL...

Each line it prints is JSON. After {"open": URL} it waits for one line on stdin: where the browser was sent
back to. Everything about authorization is done by the client library itself. It runs in the library's
environment, and their interfaces differ, so that they are imported by name.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import threading
import urllib.request
import webbrowser
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

REDIRECT_URI = "http://127.0.0.1:43110/callback"


def tell(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


class Memory:
    """What the client was given."""

    tokens: object = None
    client: object = None

    async def get_tokens(self) -> object:
        return self.tokens

    async def set_tokens(self, tokens: object) -> None:
        self.tokens = tokens
        tell({"granted": getattr(tokens, "scope", None)})

    async def get_client_info(self) -> object:
        return self.client

    async def set_client_info(self, client_info: object) -> None:
        self.client = client_info


async def open_browser(url: str) -> None:
    tell({"open": url})


async def wait_for_browser() -> dict[str, str]:
    line = await asyncio.to_thread(sys.stdin.readline)
    return {name: values[0] for name, values in parse_qs(urlsplit(line.strip()).query).items()}


def provider(url: str, callback: Callable[[], Awaitable[object]]) -> object:
    """The SDK's own OAuth provider, of either generation."""
    auth = importlib.import_module("mcp.client.auth")
    shared = importlib.import_module("mcp.shared.auth")
    metadata = shared.OAuthClientMetadata(
        client_name="walk",
        redirect_uris=[REDIRECT_URI],
        grant_types=["authorization_code", "refresh_token"],
    )
    made: object = auth.OAuthClientProvider(
        server_url=url,
        client_metadata=metadata,
        storage=Memory(),
        redirect_handler=open_browser,
        callback_handler=callback,
    )
    return made


@asynccontextmanager
async def sdk_2(url: str) -> AsyncGenerator[Callable[[str], Awaitable[Any]]]:
    shared = importlib.import_module("mcp.shared.auth")
    http = importlib.import_module("httpx2")
    transport = importlib.import_module("mcp.client.streamable_http").streamable_http_client
    client_class = importlib.import_module("mcp").Client

    async def callback() -> object:
        answer = await wait_for_browser()
        result: object = shared.AuthorizationCodeResult(
            code=answer["code"], state=answer.get("state"), iss=answer.get("iss")
        )
        return result

    async with (
        http.AsyncClient(auth=provider(url, callback), timeout=30) as client,
        client_class(transport(url, http_client=client), mode="auto") as session,
    ):
        yield lambda tool: session.call_tool(tool, {})


@asynccontextmanager
async def sdk_1(url: str) -> AsyncGenerator[Callable[[str], Awaitable[Any]]]:
    transport = importlib.import_module("mcp.client.streamable_http").streamablehttp_client
    session_class = importlib.import_module("mcp").ClientSession

    async def callback() -> tuple[str, str | None]:
        answer = await wait_for_browser()
        return answer["code"], answer.get("state")

    async with AsyncExitStack() as opened:
        streams = await opened.enter_async_context(transport(url, auth=provider(url, callback)))
        session = await opened.enter_async_context(session_class(streams[0], streams[1]))
        await session.initialize()
        yield lambda tool: session.call_tool(tool, {})


@asynccontextmanager
async def fastmcp(url: str) -> AsyncGenerator[Callable[[str], Awaitable[Any]]]:
    """Its OAuth opens a browser and listens for it by itself."""

    def browse(url: str, new: int = 0, autoraise: bool = True) -> bool:
        def follow() -> None:
            tell({"open": url})
            with urllib.request.urlopen(sys.stdin.readline().strip(), timeout=20):  # noqa: S310  our own listener
                pass

        threading.Thread(target=follow).start()
        return True

    webbrowser.open = browse
    client = importlib.import_module("fastmcp").Client(
        url, auth=importlib.import_module("fastmcp.client.auth").OAuth(callback_host="127.0.0.1")
    )
    async with client:
        yield lambda tool: client.call_tool(tool, {}, raise_on_error=False)


CLIENTS = {"mcp-2": sdk_2, "mcp-1.30": sdk_1, "fastmcp-4": fastmcp, "fastmcp-3": fastmcp}


async def main(kind: str, url: str, *tools: str) -> None:
    async with CLIENTS[kind](url) as call:
        for tool in tools:
            try:
                result = await call(tool)
            except Exception as error:  # noqa: BLE001  whatever it is, the test is told
                tell({"called": tool, "raised": f"{type(error).__name__}: {error}"})
                continue
            failed = getattr(result, "isError", getattr(result, "is_error", None))
            tell({"called": tool, "failed": bool(failed), "text": result.content[0].text})
    tell({"done": True})


asyncio.run(main(*sys.argv[1:]))
