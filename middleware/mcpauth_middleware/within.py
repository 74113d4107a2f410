"""What a server asks of itself while it runs a call: tools that use other tools, in the name of the caller.

No message comes for it, so nothing at the edge sees it. A framework that can tell asks here (see
`integrations.fastmcp.calls`), and what it asks for is judged, counted and recorded like a message.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, cast

from mcpauth_middleware.errors import InvalidToken, Refused
from mcpauth_middleware.message import MessageRefused
from mcpauth_middleware.message.request import Message, parse_body
from mcpauth_middleware.message.resource_uri import decodings, with_path
from mcpauth_middleware.message.revisions import targets_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth_middleware.admission import Admission
    from mcpauth_middleware.audit.event import Intent, Outcome
    from mcpauth_middleware.authentication import Authentication
    from mcpauth_middleware.catalogue.definition import ToolDefinition
    from mcpauth_middleware.exchange import Call, Exchange
    from mcpauth_middleware.message.target import ListKind
    from mcpauth_middleware.principal import Principal
    from mcpauth_middleware.recorder import Recorder

WITHIN_KEY: Final = "mcpauth.within"
"""Where the ASGI scope of a call that runs carries its `Within`."""


class WithinCalls:
    """Makes the `Within` of each call."""

    def __init__(
        self,
        *,
        admission: Admission,
        recorder: Recorder,
        authentication: Authentication,
        trusted_tools: frozenset[str],
    ) -> None:
        self._admission = admission
        self._recorder = recorder
        self._authentication = authentication
        self._trusted_tools = trusted_tools

    def __call__(self, call: Call, exchange: Exchange) -> Within | None:
        """What the server may do within the call; None where nobody would ask."""
        # Whoever asks has loaded this module.
        if "mcpauth_middleware.integrations.fastmcp.calls" not in sys.modules:
            return None
        if call.message is None or call.intent is None:
            return None
        return Within(
            call.message,
            call.principal,
            call.intent,
            exchange,
            admission=self._admission,
            recorder=self._recorder,
            authentication=self._authentication,
            trusted_tools=self._trusted_tools,
        )


class Within:
    """A call that runs, and what the server may do within it, in the name of its caller."""

    is_over = False
    """Whether its request has ended."""

    def __init__(
        self,
        message: Message,
        principal: Principal,
        intent: Intent,
        exchange: Exchange,
        *,
        admission: Admission,
        recorder: Recorder,
        authentication: Authentication,
        trusted_tools: frozenset[str],
    ) -> None:
        self._message = message
        self._principal = principal
        self._intent = intent
        self._exchange = exchange
        self._admission = admission
        self._recorder = recorder
        self._authentication = authentication
        self._trusted_tools = trusted_tools
        self._has_begun = False

    def begins(self, method: str, name: str | None, arguments: Mapping[str, Any] | None) -> bool:
        """Whether this is the call itself, which was judged when its message came. It begins but once.

        `name` is that of the tool or prompt, or the URI.
        """
        asked = self._message
        if self._has_begun or asked.method != method or not _is_name_of(name, asked):
            return False
        if (arguments or {}) != (asked.arguments or {}):
            return False
        self._has_begun = True
        return True

    def trusts(self, tool: str | None) -> bool:
        """Whether a tool may use what its caller may not."""
        return tool in self._trusted_tools

    async def admit(self, method: str, sent: bytes, *, definition: ToolDefinition | None) -> Use:
        """Let the server do something more, which its caller could ask for by a message of this method.

        `sent` are the parameters as they would be sent, in JSON. `definition` is what the server says of the
        tool that it is about to call.

        Raises:
            Refused, MessageRefused: it must not. That is recorded.
        """
        exchange = self._exchange.within(self._intent.call)
        exchange.definition = definition
        try:
            exchange.message = message = self._asked(method, sent)
            # A tool may run for long, and leave something running when it has answered.
            if (reason := self._authentication.why_ended(self._principal)) is not None:
                raise InvalidToken(reason)
            intent = await self._admission.admit_within(exchange, message, self._principal, size=len(sent))
        except (Refused, MessageRefused) as refused:
            await self._recorder.refusal(refused, status=None, exchange=exchange)
            raise
        return Use(message.arguments, intent, exchange, self._recorder)

    def shows(self, kind: ListKind, item: Mapping[str, Any]) -> bool:
        """Whether the caller may see an entry of a list that a tool reads."""
        if self._authentication.why_ended(self._principal) is not None:
            return False
        return self._admission.shows(kind, item, self._exchange, self._message, self._principal)

    def _asked(self, method: str, sent: bytes) -> Message:
        outer = self._message
        params = cast("dict[str, Any]", parse_body(sent))
        return Message(
            kind="request",
            method=method,
            id=outer.id,
            params=params,
            arguments=params.get("arguments"),
            targets=targets_of(method, params),
            lists=None,
            protocol_version=outer.protocol_version,
            client=outer.client,
        )


class Use:
    """What was admitted within a call; `arguments` are those that it was judged with."""

    def __init__(
        self, arguments: Mapping[str, Any] | None, intent: Intent, exchange: Exchange, recorder: Recorder
    ) -> None:
        self.arguments = arguments
        self._intent = intent
        self._exchange = exchange
        self._recorder = recorder

    async def ended(self, result: Outcome) -> None:
        """Record how it ended."""
        await self._recorder.outcome(self._intent, result, status=None, exchange=self._exchange)


def _is_name_of(name: str | None, message: Message) -> bool:
    """Whether a server may spell so what the message names; None: nothing, as one that asks for a list."""
    uri = message.params.get("uri")
    if uri is None or name is None:
        return name == message.params.get("name")
    # `mcp` 1.x escapes what a URI should not hold. A policy reads both.
    return decodings(name)[1] in {decodings(spelling)[1] for spelling in (uri, with_path(uri))}
