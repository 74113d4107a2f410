"""Running what was admitted: the application, what its answer may show, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpauth_middleware.catalogue.catalogue import who_is
from mcpauth_middleware.catalogue.view import CatalogueView
from mcpauth_middleware.exchange import WatchedResponse
from mcpauth_middleware.forward import SignedIn
from mcpauth_middleware.message import ListFilter, list_item_target
from mcpauth_middleware.policy.facts import Context
from mcpauth_middleware.within import WITHIN_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpauth_middleware.asgi import ASGIApp, Send
    from mcpauth_middleware.audit.event import Outcome
    from mcpauth_middleware.catalogue import Catalogue
    from mcpauth_middleware.exchange import Call, Exchange
    from mcpauth_middleware.message.list_results import Visible
    from mcpauth_middleware.message.request import ListKind
    from mcpauth_middleware.policy import Policy
    from mcpauth_middleware.recorder import Recorder
    from mcpauth_middleware.within import Within


class Runner:
    """Hands calls to the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        policy: Policy,
        recorder: Recorder,
        catalogue: Catalogue,
        within: Callable[[Call, Exchange], Within | None],
        now: Callable[[], float],
    ) -> None:
        self._app = app
        self._within = within
        self._policy = policy
        self._recorder = recorder
        self._catalogue = catalogue
        self._now = now

    async def run(self, call: Call, exchange: Exchange) -> None:
        """Run the call and send its answer; its outcome is recorded however it ends."""
        watched = WatchedResponse(exchange.send, changed=self._catalogue.forget)
        result: Outcome = "aborted"  # which it stays when the request is cancelled
        within = self._within(call, exchange)
        try:
            send = self._filtered(call, exchange, watched)
            with SignedIn(exchange, call) as scope:
                if within is not None:
                    scope[WITHIN_KEY] = within
                await self._app(scope, call.receive(exchange.receive), send)
            result = watched.result(raised=False)
        except Exception:
            result = watched.result(raised=True)
            raise
        finally:
            if within is not None:
                within.is_over = True
            if call.intent is not None:
                await self._recorder.outcome(call.intent, result, status=watched.status, exchange=exchange)

    def _filtered(self, call: Call, exchange: Exchange, send: Send) -> Send:
        if not call.may_bring_list(exchange.method):
            return send
        message = call.message
        return ListFilter(
            send,
            visible=self._visible(call, exchange),
            lists=message.lists if message is not None else None,
            stream=exchange.method == "GET",
            request_id=message.id if message is not None else None,
        )

    def _visible(self, call: Call, exchange: Exchange) -> Visible:
        message, principal = call.message, call.principal
        who = who_is(principal, exchange.path)
        view = CatalogueView(self._catalogue, who)
        context = Context(address=exchange.address, now=self._now(), tool=view.tool_facts)
        # A stream of an older revision may repeat a list from long ago.
        learns = message is not None and message.lists == "tools"

        def visible(kind: ListKind, item: Mapping[str, Any]) -> bool:
            if learns and kind == "tools":
                self._catalogue.learn(item, who)
            target = list_item_target(kind, item)
            return target is not None and self._policy.sees(
                target.kind, target.name, principal, context, message
            )

        return visible
