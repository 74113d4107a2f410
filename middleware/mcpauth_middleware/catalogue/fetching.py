"""Asking the server for its tools (MCP, `tools/list`), when a decision needs what nobody has listed yet.

The question goes to the application inside this process, as the principal whose call waits for it, in the
revision and the session of that call. It is asked once for all who wait, and seldom: names that do not
exist must not make the server list its tools again and again.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakValueDictionary

import anyio

from mcpauth_middleware.audit.event import catalogue_event
from mcpauth_middleware.catalogue.catalogue import who_is
from mcpauth_middleware.internal import ask
from mcpauth_middleware.limits.gcra import MICROSECONDS, Gcra
from mcpauth_middleware.limits.limiter import Debit
from mcpauth_middleware.limits.memory import MemoryLimiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from mcpauth_middleware.asgi import ASGIApp, Headers
    from mcpauth_middleware.audit.event import Outcome
    from mcpauth_middleware.catalogue.catalogue import Catalogue, Who
    from mcpauth_middleware.exchange import Exchange
    from mcpauth_middleware.message import Message
    from mcpauth_middleware.principal import Principal

FETCH_SECONDS: Final = 10.0
MAX_PAGES: Final = 50
MAX_PRINCIPALS: Final = 10_000
# For each principal: a few at once, then one in two seconds.
HOW_OFTEN: Final = Gcra(2 * MICROSECONDS, 5)

_LIST = "tools/list"
# What a message of the stateless era says about itself (2026-07-28, `_meta` of every request).
_ENVELOPE = "io.modelcontextprotocol/"

logger = logging.getLogger(__name__)


class ToolFetcher:
    """Fills the catalogue of one application."""

    def __init__(
        self,
        app: ASGIApp,
        catalogue: Catalogue,
        *,
        happened: Callable[[Sequence[Mapping[str, Any]]], Awaitable[None]],
        now: Callable[[], float],
    ) -> None:
        self._app = app
        self._happened = happened
        self._catalogue = catalogue
        self._often = MemoryLimiter(now=now, max_keys=MAX_PRINCIPALS)
        self._locks: WeakValueDictionary[Who, anyio.Lock] = WeakValueDictionary()

    async def fetch(self, tool: str, exchange: Exchange, message: Message, principal: Principal) -> None:
        """Learn what the server says of its tools, unless it has just been asked. It may still be unknown."""
        who = who_is(principal, exchange.path)
        lock = self._locks.setdefault(who, anyio.Lock())
        async with lock:
            if self._catalogue.definition(tool, who) is not None:
                return  # somebody else asked while this call waited
            # Whatever the path: below a mount there are as many as a caller likes.
            caller = repr(who[1:])
            if not (await self._often.take([Debit(caller, HOW_OFTEN, _LIST)])).allowed:
                return
            is_listed = False
            with anyio.move_on_after(FETCH_SECONDS):
                try:
                    is_listed = await self._list(exchange, message, principal)
                except Exception:
                    logger.exception("The server could not be asked for its tools")
            if not is_listed:
                logger.warning("The server did not list its tools, or not in %s seconds", FETCH_SECONDS)
            result: Outcome = "ok" if is_listed else "error"
            await self._happened([catalogue_event(principal, message.protocol_version, result)])

    async def _list(self, exchange: Exchange, message: Message, principal: Principal) -> bool:
        who = who_is(principal, exchange.path)
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            collected = await ask(
                self._app, exchange, principal, _question(message, cursor), headers=_headers(message)
            )
            result: object = (collected.response or {}).get("result")
            if not isinstance(result, dict):
                return False
            page = cast("dict[str, object]", result)
            tools = page.get("tools")
            for tool in cast("list[object]", tools) if isinstance(tools, list) else []:
                if isinstance(tool, dict):
                    self._catalogue.learn(cast("dict[str, Any]", tool), who)
            following = page.get("nextCursor")
            if not isinstance(following, str) or following == cursor:
                return True
            cursor = following
        return True


def _question(message: Message, cursor: str | None) -> dict[str, Any]:
    params: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
    meta: dict[str, Any] = message.params.get("_meta", {})
    if message.modern:
        params["_meta"] = {key: value for key, value in meta.items() if key.startswith(_ENVELOPE)}
    # Of no form that a client is likely to use: in a session, ids that wait for an answer must differ.
    return {"jsonrpc": "2.0", "id": f"mcpauth-{secrets.token_hex(8)}", "method": _LIST, "params": params}


def _headers(message: Message) -> Headers:
    return [(b"mcp-method", _LIST.encode())] if message.modern else []
