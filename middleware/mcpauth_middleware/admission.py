"""What an MCP message must pass once it is read: policy, `Mcp-Param-*`, limits, arguments, journal.

The order is that of `McpAuthMiddleware`; a batch takes the first step for all its members before any of
them takes the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth_middleware.catalogue.catalogue import who_is
from mcpauth_middleware.catalogue.param_agreement import require_param_agreement
from mcpauth_middleware.catalogue.view import CatalogueView
from mcpauth_middleware.errors import Denied, InsufficientScope, RateLimited
from mcpauth_middleware.exchange import Call
from mcpauth_middleware.limits import Debits
from mcpauth_middleware.limits.rate_limit import called_tool
from mcpauth_middleware.membership import tenant_of
from mcpauth_middleware.message import MessageRefused
from mcpauth_middleware.message.headers import has_param_headers
from mcpauth_middleware.policy.facts import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mcpauth_middleware.catalogue import Catalogue
    from mcpauth_middleware.catalogue.fetching import ToolFetcher
    from mcpauth_middleware.catalogue.strict_arguments import StrictArguments
    from mcpauth_middleware.exchange import Exchange
    from mcpauth_middleware.limits import Limiter, RateLimit
    from mcpauth_middleware.limits.limiter import Charge
    from mcpauth_middleware.message import Message
    from mcpauth_middleware.policy import Decision, Policy
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
        tenant = tenant_of(principal, self._policy) if self._by_tenant else None
        if charge := self._debits.of(message, principal, exchange.address, tenant=tenant):
            await self._count(charge, exchange)
        if self._strict_arguments is not None:
            await self._check_arguments(self._strict_arguments, exchange, message, principal, size=len(body))
        intent = await self._recorder.intent(message, principal, decision, exchange)
        return Call(principal, message, body, intent)

    async def _count(self, charge: Charge, exchange: Exchange) -> None:
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
