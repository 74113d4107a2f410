"""What an MCP message must pass once it is read: policy, `Mcp-Param-*`, limits, arguments, journal.

The order is that of `McpAuthMiddleware`; a batch takes the first step for all its members before any of
them takes the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpauth_middleware.catalogue.catalogue import who_is
from mcpauth_middleware.catalogue.definition import ToolDefinition
from mcpauth_middleware.catalogue.param_agreement import require_param_agreement
from mcpauth_middleware.catalogue.view import CatalogueView
from mcpauth_middleware.errors import Denied, InsufficientScope, RateLimited
from mcpauth_middleware.exchange import Call
from mcpauth_middleware.limits import Debits
from mcpauth_middleware.limits.rate_limit import called_tool
from mcpauth_middleware.membership import tenant_of
from mcpauth_middleware.message import MessageRefused, list_item_target
from mcpauth_middleware.message.headers import has_param_headers
from mcpauth_middleware.policy.facts import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mcpauth_middleware.audit.event import Intent
    from mcpauth_middleware.catalogue import Catalogue
    from mcpauth_middleware.catalogue.fetching import ToolFetcher
    from mcpauth_middleware.catalogue.strict_arguments import StrictArguments
    from mcpauth_middleware.exchange import Exchange
    from mcpauth_middleware.limits import Limiter, RateLimit
    from mcpauth_middleware.message import Message
    from mcpauth_middleware.message.target import ListKind
    from mcpauth_middleware.policy import Decision, Policy
    from mcpauth_middleware.policy.facts import ToolFacts
    from mcpauth_middleware.principal import Principal
    from mcpauth_middleware.recorder import Recorder


class Admission:
    """Decides about the messages of one server, counts them and announces them to the journal."""

    def __init__(
        self,
        *,
        policy: Policy,
        limits: Sequence[RateLimit],
        limiter: Limiter,
        recorder: Recorder,
        catalogue: Catalogue,
        fetcher: ToolFetcher,
        strict_arguments: StrictArguments | None,
        now: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._debits = Debits(limits)
        self._by_tenant = any("tenant" in limit.by for limit in limits)
        self._limiter = limiter
        self._recorder = recorder
        self._catalogue = catalogue
        self._fetcher = fetcher
        self._strict_arguments = strict_arguments
        self._now = now

    async def admit(self, exchange: Exchange, message: Message, principal: Principal, body: bytes) -> Call:
        """Let one message pass all steps.

        Raises:
            Refused, MessageRefused: it does not.
        """
        decision = await self.judge(exchange, message, principal)
        if decision.effect == "step_up":
            raise self.step_up(decision.scopes, principal)
        return await self.announce(exchange, message, principal, body)

    async def judge(self, exchange: Exchange, message: Message, principal: Principal) -> Decision:
        """Ask the policy; that more scopes would help is told in the decision, since a batch adds them up."""
        exchange.message = message
        view = CatalogueView(self._catalogue, who_is(principal, exchange.path), message)
        context = Context(exchange.address, self._now(), view.tool_facts)
        decision = self._policy.decide(message, principal, context)
        if view.unknown:
            # Only now is it clear that the decision needs to know the tool.
            for unknown in tuple(view.unknown):
                await self._fetcher.fetch(unknown, exchange, message, principal)
            decision = self._policy.decide(message, principal, context)
        exchange.decision = decision
        called = called_tool(message)
        exchange.definition = None if called is None else view.definition(called)
        if events := self._policy.take_events():
            await self._recorder.happened(events)
        return decision

    def step_up(self, scopes: Iterable[str], principal: Principal) -> InsufficientScope:
        """The refusal that names every scope needed."""
        # With what the token already has: clients exist that ask for exactly what the challenge names.
        return InsufficientScope({*scopes, *(principal.scopes & self._policy.known_scopes)})

    async def announce(self, exchange: Exchange, message: Message, principal: Principal, body: bytes) -> Call:
        """Count a message that was judged, and record that it will run.

        Raises:
            Refused, MessageRefused: it will not.
        """
        decision = exchange.decision
        if decision is None or decision.effect != "allow":
            raise Denied("not_judged" if decision is None else decision.reason)
        if exchange.definition is not None or has_param_headers(exchange.about_message):
            await self._check_param_headers(exchange, message, principal)
        await self._count(exchange, message, principal)
        if self._strict_arguments is not None:
            await self._check_arguments(self._strict_arguments, exchange, message, principal, size=len(body))
        intent = await self._recorder.intent(message, principal, decision, exchange)
        return Call(principal, message, body, intent)

    async def admit_within(
        self, exchange: Exchange, message: Message, principal: Principal, *, size: int
    ) -> Intent:
        """Let the server do by itself what its caller could ask for with the message.

        No headers came that it would have to agree with, and the exchange has what is known of the tool.

        Raises:
            Refused: it must not.
        """
        exchange.started_at = self._now()
        decision = exchange.decision = self._policy.decide(message, principal, self._known(exchange))
        if events := self._policy.take_events():
            await self._recorder.happened(events)
        if decision.effect == "step_up":
            raise self.step_up(decision.scopes, principal)
        if decision.effect != "allow":
            raise Denied(decision.reason)
        await self._count(exchange, message, principal)
        if self._strict_arguments is not None and called_tool(message) is not None:
            await self._strict_arguments.check(exchange.definition, message.arguments or {}, size=size)
        return await self._recorder.intent(message, principal, decision, exchange)

    def shows(
        self,
        kind: ListKind,
        item: Mapping[str, Any],
        exchange: Exchange,
        message: Message,
        principal: Principal,
    ) -> bool:
        """Whether the caller may use an entry of a list that the server reads by itself."""
        target = list_item_target(kind, item)
        if target is None:
            return False
        definition = ToolDefinition.of(item) if kind == "tools" else None
        known = self._known(exchange, definition)
        return self._policy.sees(target.kind, target.name, principal, known, message)

    def _known(self, exchange: Exchange, definition: ToolDefinition | None = None) -> Context:
        tool = definition or exchange.definition

        def facts(name: str) -> ToolFacts | None:
            return tool.facts if tool is not None and tool.name == name else None

        return Context(exchange.address, self._now(), facts)

    async def _count(self, exchange: Exchange, message: Message, principal: Principal) -> None:
        tenant = tenant_of(principal, self._policy) if self._by_tenant else None
        charge = self._debits.of(message, principal, exchange.address, tenant=tenant)
        if charge is None:
            return
        result = await self._limiter.take(charge.debits)
        exchange.debits, exchange.limit_states = charge.debits, result.states
        exchange.changes.added += charge.fields.told(result.states)
        if not result.allowed:
            raise RateLimited(result.limit, retry_after=result.retry_after)

    async def _check_param_headers(self, exchange: Exchange, message: Message, principal: Principal) -> None:
        tool = called_tool(message)
        if tool is None:
            return
        view = CatalogueView(self._catalogue, who_is(principal, exchange.path), message)
        definition = view.definition(tool)
        if view.unknown:
            # Who sends them has read the tool's definition, if not through here or not just now.
            await self._fetcher.fetch(tool, exchange, message, principal)
            definition = view.definition(tool)
        declared = None if definition is None else definition.param_headers
        try:
            require_param_agreement(
                exchange.headers, declared, message.arguments or {}, required=message.modern
            )
        except MessageRefused as refused:
            refused.id = message.id
            raise

    async def _check_arguments(
        self,
        strict: StrictArguments,
        exchange: Exchange,
        message: Message,
        principal: Principal,
        *,
        size: int,
    ) -> None:
        tool = called_tool(message)
        if tool is None:
            return
        view = CatalogueView(self._catalogue, who_is(principal, exchange.path), message)
        definition = view.definition(tool)
        if view.unknown:
            await self._fetcher.fetch(tool, exchange, message, principal)
            definition = view.definition(tool)
        await strict.check(definition, message.arguments or {}, size=size)
