"""Batches (MCP 2025-03-26, Streamable HTTP): every member is decided, counted, run and recorded by itself.

The servers behind accept no batches, so each member that may run is forwarded as a request by itself, one
after the other, and the answers are put together. An answer that comes as an event stream is read to its
end: its notifications are dropped, and a question to the client is answered with an error, since nobody
would hear it before the batch is over.

Nothing runs when any member lacks scopes: one challenge then names the scopes of all of them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from mcpauth_middleware.collected import MAX_RESPONSE_BYTES, CollectedResponse
from mcpauth_middleware.errors import Denied, Refused, Unavailable
from mcpauth_middleware.internal import ask
from mcpauth_middleware.limits.fields import batch_fields
from mcpauth_middleware.message import MessageRefused
from mcpauth_middleware.message.refusal import INTERNAL_ERROR
from mcpauth_middleware.responses import BatchAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcpauth_middleware.admission import Admission
    from mcpauth_middleware.asgi import ASGIApp
    from mcpauth_middleware.authentication import Authentication
    from mcpauth_middleware.exchange import Call, Exchange
    from mcpauth_middleware.message import Member
    from mcpauth_middleware.principal import Principal
    from mcpauth_middleware.recorder import Recorder
    from mcpauth_middleware.refusals import Refusals
    from mcpauth_middleware.running import Runner

METHOD_NOT_FOUND = -32601
DECLINE_SECONDS = 5.0
"""How long the application may take to hear that the client cannot be asked."""

_CLIENT_ERROR = 400

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Part:
    """A member on its way: it has a call when it may run, or the answer that says why not."""

    exchange: Exchange
    member: Member
    call: Call | None = None
    status: int | None = None
    answer: Mapping[str, Any] | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing was decided about it."""
        return self.call is None and self.status is None


class Batches:
    """Answers the batches that one server gets."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        admission: Admission,
        runner: Runner,
        refusals: Refusals,
        recorder: Recorder,
        authentication: Authentication,
        now: Callable[[], float],
    ) -> None:
        self._app = app
        self._admission = admission
        self._runner = runner
        self._refusals = refusals
        self._recorder = recorder
        self._authentication = authentication
        self._now = now

    async def admit(self, members: Sequence[Member], exchange: Exchange, principal: Principal) -> list[Part]:
        """Decide about every member, and announce those that may run.

        Raises:
            InsufficientScope: a member lacks scopes; no member was counted.
            Unavailable: a member cannot be recorded; no member runs.
        """
        parts = [Part(_own_exchange(exchange, member), member) for member in members]
        exchange.members = tuple(part.exchange for part in parts)
        await self._judge(parts, principal)
        try:
            for part in parts:
                await self._announce(part, principal)
        except Unavailable:
            await self._give_up(parts)
            exchange.members = tuple(part.exchange for part in parts if part.is_open)
            raise
        finally:
            counted = [each for part in parts for each in part.exchange.counted]
            exchange.changes.added += batch_fields(counted)
        return parts

    async def run(self, parts: Sequence[Part], exchange: Exchange) -> None:
        """Run what may run, in the order of the batch, and send one answer."""
        room = MAX_RESPONSE_BYTES
        waiting = [part for part in parts if part.call is not None]
        try:
            for part in list(waiting):
                if part.call is not None and await self._may_still_run(part, part.call):
                    # Which knows by now when the token ends.
                    part.exchange.receive = exchange.receive
                    waiting.remove(part)
                    room -= await self._run(part, part.call, room)
        finally:
            await self._give_up(waiting)
        await _answer(parts).send(exchange.send)

    async def _judge(self, parts: Sequence[Part], principal: Principal) -> None:
        scopes: set[str] = set()
        for part in parts:
            if part.member.message is not None:
                decision = await self._admission.judge(part.exchange, part.member.message, principal)
                if decision.effect == "step_up":
                    scopes.update(decision.scopes)
        if scopes:
            raise self._admission.step_up(scopes, principal)

    async def _announce(self, part: Part, principal: Principal) -> None:
        message, body = part.member.message, part.member.body
        try:
            if message is None:
                raise part.member.refused or Denied("malformed_message")
            call = await self._admission.announce(part.exchange, message, principal, body)
        except Unavailable:
            raise  # not this member's matter alone
        except (Refused, MessageRefused) as refused:
            await self._refuse(part, refused)
        else:
            part.call = call._replace(must_be_readable=True)

    async def _may_still_run(self, part: Part, call: Call) -> bool:
        """Decide again: the members before it may have changed the tools, or taken until the token ended."""
        message = part.member.message
        if message is None:
            return False
        refused: Refused | None = None
        if (reason := self._authentication.why_ended(call.principal)) is not None:
            refused = Denied(reason)
        else:
            decision = await self._admission.judge(part.exchange, message, call.principal)
            if decision.effect != "allow":
                refused = Denied(decision.reason)
        if refused is not None:
            await self._refuse(part, refused)
        return refused is None

    async def _refuse(self, part: Part, refused: Refused | MessageRefused) -> None:
        answer = self._refusals.answer(refused, part.member.message)
        await self._recorder.refusal(refused, status=answer.status, exchange=part.exchange)
        part.status = answer.status
        part.answer = answer.document

    async def _give_up(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if part.call is not None and part.call.intent is not None:
                await self._recorder.outcome(part.call.intent, "aborted", status=None, exchange=part.exchange)

    async def _run(self, part: Part, call: Call, room: int) -> int:
        message = part.member.message
        request_id = message.id if message is not None and message.kind == "request" else None
        questions = anyio.create_task_group()

        def asked(question: str | int) -> None:
            questions.start_soon(self._decline, part.exchange, call.principal, question)

        part.exchange.started_at = self._now()
        part.exchange.send = collected = CollectedResponse(request_id, max_bytes=room, asked=asked)
        async with questions:
            try:
                await self._runner.run(call, part.exchange)
            except Exception:
                # The other members have nothing to do with it.
                logger.exception("A member of a batch failed in the application")
        part.status = collected.status
        if request_id is not None:
            part.answer = collected.response or _no_answer(request_id)
        return collected.size

    async def _decline(self, exchange: Exchange, principal: Principal, question: str | int) -> None:
        error = {"code": METHOD_NOT_FOUND, "message": "The client cannot be asked while a batch runs"}
        with anyio.move_on_after(DECLINE_SECONDS):
            try:
                await ask(self._app, exchange, principal, {"jsonrpc": "2.0", "id": question, "error": error})
            except Exception:
                logger.exception("The application did not take that the client cannot be asked")


def _own_exchange(exchange: Exchange, member: Member) -> Exchange:
    return exchange.but() if member.message is None else exchange.member(member.message, member.body)


def _no_answer(request_id: str | int) -> dict[str, Any]:
    error = {"code": INTERNAL_ERROR, "message": "The server gave no answer to this member of the batch"}
    return {"jsonrpc": "2.0", "id": request_id, "error": error}


def _answer(parts: Sequence[Part]) -> BatchAnswer:
    answers = [part.answer for part in parts if part.answer is not None]
    statuses = {part.status for part in parts}
    status = statuses.pop() if len(statuses) == 1 else None
    # Where all of them met the same error, as when the session has ended, the client must see it as such.
    if status is None or status < _CLIENT_ERROR:
        status = 200 if answers else 202
    return BatchAnswer(status, answers)
