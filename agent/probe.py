"""Ask one arm: the call, what it cost, and the answer in it.

Invariant: the attempts that come back never cost more than ``reserve_usd``, which is at least one worst case of the
call. A try that may have been billed although nothing came back is an attempt of its own, charged at its worst case;
so are the requests of a call that is cancelled.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from curveroute.agent.chat.noted import NotedChat
from curveroute.agent.chat.seam import Call
from curveroute.agent.errors import CapTooSmall, ModelCallError
from curveroute.agent.escalate import affordable_tokens
from curveroute.agent.ledger.events import CANCELLED, note_id
from curveroute.agent.pool.pool import form_tokens, images_in, input_tokens_bound, input_tokens_prior
from curveroute.agent.types import Arm, Attempt, AttemptId, Form, Message, Query, Role, Usage
from curveroute.agent.verify.answers import claim_of, query_kind
from curveroute.agent.verify.form import in_form

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from curveroute.agent.chat.seam import Chat, Reply
    from curveroute.agent.pool import Pool
    from curveroute.agent.types import JsonObject

_FREE = Form()
Keep: TypeAlias = "Callable[[tuple[Attempt, ...]], Awaitable[None]]"
"""Stores what was paid for by a call that is being cancelled, before the cancellation goes on."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One arm to be asked.

    Attributes:
        attempt_id: names the attempt in the ledger; the same ask again has the same id.
        reserve_usd: what this ask may cost in all, repeated requests included.
    """

    attempt_id: AttemptId
    role: Role
    arm: Arm
    sample: int = 0
    temperature: float = 0.0
    reserve_usd: float = math.inf


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that one request can use."""

    input_tokens: int
    output_tokens: int
    cost_usd: float


def request_bounds(pool: Pool, arm: Arm, messages: tuple[Message, ...], form: Form = _FREE) -> Bounds:
    """What one request of this arm can use at most; images, tools and schema are billed as part of the prompt."""
    images = images_in(messages) * pool.model(arm.model).image_tokens
    prior, bound = form_tokens(form)
    input_bound = input_tokens_bound(messages) + images + bound
    room = pool.output_limit(arm, input_tokens_prior(messages) + images + prior)
    limit = max(room if form.max_tokens is None else min(room, form.max_tokens), 1)
    return Bounds(input_bound, limit, pool.worst_case_usd(arm, input_bound, limit))


def affordable_limit(pool: Pool, arm: Arm, bounds: Bounds, left_usd: float) -> int:
    """The output tokens that an unlimited arm is cut down to when only ``left_usd`` may be spent on one request."""
    input_usd = pool.worst_case_usd(arm, bounds.input_tokens, 0)
    tokens = affordable_tokens(left_usd, input_usd=input_usd, output_price=pool.prices(arm.model)[1])
    limit = bounds.output_tokens if tokens is None else min(tokens, bounds.output_tokens)
    return limit if pool.worst_case_usd(arm, bounds.input_tokens, limit) <= left_usd else max(limit - 1, 0)


async def ask_arm(
    pool: Pool,
    chat: Chat,
    query: Query,
    ask: Ask,
    *,
    on_token: Callable[[str], None] | None = None,
    keep: Keep | None = None,
) -> tuple[Attempt, ...]:
    """Ask one arm the query, in its own prompt style.

    Args:
        pool: prices and limits.
        chat: the seam that answers.
        query: what is asked.
        ask: the arm, and what it may cost.
        on_token: told the answer piece by piece.
        keep: told what is charged when the call is cancelled: its requests may be billed all the same.

    Returns:
        The attempt, after one more for requests that were lost. A call that failed for good is an attempt with
        ``error`` set.

    Raises:
        CapTooSmall: ``reserve_usd`` does not hold one worst case.
    """
    messages = pool.messages(query, ask.arm)
    attempts = await _ask(pool, chat, query.text, messages, ask, query.form, on_token, keep)
    return tuple(in_form(query.form, attempt) for attempt in attempts)


async def ask_model(
    pool: Pool,
    chat: Chat,
    query_text: str,
    messages: tuple[Message, ...],
    ask: Ask,
    *,
    schema: JsonObject | None = None,
    on_token: Callable[[str], None] | None = None,
    keep: Keep | None = None,
) -> tuple[Attempt, ...]:
    """Like :func:`ask_arm`, with messages and schema of the caller's own: how planner and judge are asked."""
    form = Form(schema=schema, schema_shown=True)
    return await _ask(pool, chat, query_text, messages, ask, form, on_token, keep)


async def _ask(
    pool: Pool,
    chat: Chat,
    query_text: str,
    messages: tuple[Message, ...],
    ask: Ask,
    form: Form,
    on_token: Callable[[str], None] | None,
    keep: Keep | None,
) -> tuple[Attempt, ...]:
    bounds = _within(pool, ask, messages, form)
    if bounds.cost_usd > ask.reserve_usd:
        raise CapTooSmall(
            f"{ask.arm} may cost up to {bounds.cost_usd:.3g} USD and only {ask.reserve_usd:.3g} USD are reserved"
        )
    call = Call(
        ask.arm,
        messages,
        bounds.output_tokens,
        query_text,
        ask.sample,
        ask.temperature,
        form.schema,
        form.toolbox,
        form.stop,
        form.schema_shown,
        ask.attempt_id,
        ask.role,
    )
    purse = _Purse(
        lambda count: pool.worst_case_usd(ask.arm, bounds.input_tokens * count, bounds.output_tokens * count),
        ask.reserve_usd,
    )
    if isinstance(chat, NotedChat):
        await chat.note(_in_flight(pool, ask, bounds, chat.number))
    try:
        reply = await chat.complete(call, on_token=on_token, may_resend=purse.may_resend)
    except ModelCallError as error:
        return (_failed(pool, ask, bounds, error),)
    except asyncio.CancelledError:
        if keep is not None:
            await asyncio.shield(keep((_cancelled(pool, ask, bounds, purse.sent),)))
        raise
    made = _made(pool, ask, reply, query_text)
    return (*_lost(pool, ask, bounds, reply.lost_tries), made)


def _in_flight(pool: Pool, ask: Ask, bounds: Bounds, number: int) -> Attempt:
    error = ModelCallError("no answer came back; charged in full because it may be billed", lost_tries=1)
    return _failed(pool, replace(ask, attempt_id=note_id(ask.attempt_id, number)), bounds, error)


def _within(pool: Pool, ask: Ask, messages: tuple[Message, ...], form: Form) -> Bounds:
    """The bounds of a request, where an unlimited arm is cut down to what its reserve holds."""
    bounds = request_bounds(pool, ask.arm, messages, form)
    if ask.arm.budget is not None or bounds.cost_usd <= ask.reserve_usd:
        return bounds
    limit = affordable_limit(pool, ask.arm, bounds, ask.reserve_usd)
    return Bounds(bounds.input_tokens, limit, pool.worst_case_usd(ask.arm, bounds.input_tokens, limit))


class _Purse:
    """Counts out one worst case for every request that may be billed."""

    def __init__(self, worst_usd: Callable[[int], float], reserve_usd: float) -> None:
        self._worst_usd = worst_usd
        self._reserve_usd = reserve_usd
        self.sent = 1

    def may_resend(self) -> bool:
        # Lost requests are charged in one product and the answer is added: rounding may lift either sum by an ulp.
        together, added = self._worst_usd(self.sent + 1), self._worst_usd(self.sent) + self._worst_usd(1)
        if max(together, added) > self._reserve_usd:
            return False
        self.sent += 1
        return True


def _made(pool: Pool, ask: Ask, reply: Reply, query_text: str) -> Attempt:
    return Attempt(
        attempt_id=ask.attempt_id,
        role=ask.role,
        arm=ask.arm,
        text=reply.text,
        answer=claim_of(reply.text, query_kind(query_text)),
        usage=reply.usage,
        cost_usd=pool.cost_usd(ask.arm.model, reply.usage),
        finish_reason=reply.finish_reason,
        latency_s=reply.latency_s,
        confidence=reply.confidence,
        tool_calls=reply.tool_calls,
    )


def _failed(pool: Pool, ask: Ask, bounds: Bounds, error: ModelCallError) -> Attempt:
    usage = Usage(bounds.input_tokens * error.lost_tries, bounds.output_tokens * error.lost_tries)
    return Attempt(
        attempt_id=ask.attempt_id,
        role=ask.role,
        arm=ask.arm,
        text="",
        answer=None,
        usage=usage,
        cost_usd=pool.cost_usd(ask.arm.model, usage),
        finish_reason="error",
        latency_s=0.0,
        error=str(error),
    )


def _cancelled(pool: Pool, ask: Ask, bounds: Bounds, tries: int) -> Attempt:
    error = ModelCallError("cancelled; charged in full because it may be billed", lost_tries=tries)
    return _failed(pool, replace(ask, attempt_id=AttemptId(ask.attempt_id + CANCELLED)), bounds, error)


def _lost(pool: Pool, ask: Ask, bounds: Bounds, tries: int) -> tuple[Attempt, ...]:
    if tries == 0:
        return ()
    error = ModelCallError(f"{tries} request(s) lost; charged in full because they may be billed", lost_tries=tries)
    lost = Ask(AttemptId(f"{ask.attempt_id}.lost"), ask.role, ask.arm)
    return (_failed(pool, lost, bounds, error),)
