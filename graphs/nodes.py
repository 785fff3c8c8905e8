"""The nodes: read the state, call one function of ``agent``, write what must not be lost, return a partial state.

Invariant: an attempt is in the ledger before the graph moves on.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from langgraph.runtime import Runtime
from langgraph.types import Overwrite, interrupt

from curveroute.agent.approval import ANSWERS, PricedArm, allowed_usd, cleared, held, told
from curveroute.agent.errors import ApprovalRefused, CapTooSmall, SettingError
from curveroute.agent.ledger.events import (
    CANCELLED,
    MOST_NOTES,
    AttemptMade,
    Held,
    RunEnd,
    RunSettings,
    RunStart,
    VerdictGiven,
)
from curveroute.agent.plan import make_plan, ranking_plan, read_plan
from curveroute.agent.pool.pool import check_query
from curveroute.agent.pool.room import with_room
from curveroute.agent.probe import ask_arm
from curveroute.agent.review import Panel, review_run
from curveroute.agent.settings import unless_hidden
from curveroute.agent.step import Inquiry, best_attempt, check_knobs, left_usd, next_turn, spent_usd
from curveroute.agent.types import Attempt, AttemptId, Query, RunId
from curveroute.agent.verify.form import check_form
from curveroute.graphs.context import Context, Parts
from curveroute.graphs.conversation import conversation_of
from curveroute.graphs.events import emit
from curveroute.graphs.keeping import (
    is_kept,
    landed,
    ledger_before,
    made_before,
    noted_chat,
    notes_among,
    run_id_of,
    totals_of,
)
from curveroute.graphs.restored import checked, heard_in
from curveroute.graphs.state import Output, ProbeInput, State, Update
from curveroute.graphs.traces import trace_decision, trace_end

if TYPE_CHECKING:
    from curveroute.agent.approval import ApprovalRequest
    from curveroute.agent.ledger.events import Event
    from curveroute.agent.probe import Keep


class Nodes:
    """The nodes of one graph.

    Args:
        default: settings and parts for runs that bring none, as on a server.
    """

    def __init__(self, default: Context | None = None) -> None:
        self._default = default

    async def propose(self, state: State, runtime: Runtime[Context]) -> Update:
        """Embed the query and estimate every eligible arm."""
        context, parts = self._given(runtime)
        _check_can_ask(context)
        query = Query(tuple(conversation_of(state.get("messages") or [])), context.form)
        check_query(query)
        check_form(query.form)
        check_knobs(parts.outlooker, context)
        allowed = parts.pool.restricted(context.allow, context.deny, query.needs)
        arms = with_room(allowed, query.form)
        vector = (await parts.embedder.embed([query.text]))[0] if parts.outlooker.needs_embedding else None
        candidates = parts.outlooker.estimates(vector, query, arms, context.tradeoff)
        run_id = context.run_id or run_id_of(runtime, context)
        start = RunStart(
            run_id,
            parts.pool.name,
            query.text,
            context.tradeoff,
            context.max_cost_usd,
            seconds_usd=context.seconds_usd,
            settings=RunSettings(context.policy, context.max_error, parts.outlooker.origin),
        )
        await parts.ledger.start_run(start)
        if is_kept():
            await parts.ledger.record(run_id, Held())
        emit(runtime, {"type": "candidates", "run_id": run_id, "candidates": candidates})
        return {
            "run_id": run_id,
            "query": query,
            "candidates": candidates,
            "attempts": cast("dict[AttemptId, Attempt]", Overwrite({})),  # a thread may hold an earlier run's
            "decisions": (),
            "heard": {},
            "approval": None,
            "allowed_usd": None,
            "refused": [],
        }

    async def plan(self, state: State, runtime: Runtime[Context]) -> Update:
        """Let the planner speak if it pays, and decide what is tried first."""
        context, parts = self._given(runtime)
        checked(state, "run_id", "query", "candidates")
        candidates = state["candidates"]
        asked: tuple[Attempt, ...] = ()
        plan = ranking_plan(candidates, "planning is off")
        name = AttemptId(f"{state['run_id']}.plan")
        if context.plan and (asked := await ledger_before(context, parts)(name)):
            plan = read_plan(asked[-1], candidates)
        elif context.plan:
            plan, asked = await make_plan(
                parts.pool,
                noted_chat(parts, state["run_id"]),
                state["query"],
                candidates,
                tradeoff=context.tradeoff,
                reference_cost_usd=parts.outlooker.reference_cost_usd,
                left_usd=min(left_usd(context.max_cost_usd, ()), left_usd(context.approve_above_usd, ())),
                attempt_id=name,
                keep=_keeper(parts, state["run_id"]),
            )
        inquiry = Inquiry(state["run_id"], state["query"], candidates, plan, context)
        try:
            turn = next_turn(parts.outlooker, inquiry, asked, 1)
        except CapTooSmall as error:
            await _fail(parts, inquiry, asked, asked, error)
            raise
        await parts.ledger.record(state["run_id"], *_made(parts, asked), turn.decision)
        emit(runtime, {"type": "plan", "plan": plan, "decision": turn.decision})
        turn, approval = cleared(parts.pool, inquiry, asked, turn, context.approve_above_usd)
        await _held(parts, state["run_id"], approval)
        return {
            "plan": plan,
            "attempts": _by_id(asked),
            "turn": turn,
            "decisions": (turn.decision,),
            "approval": approval,
        }

    async def approve(self, state: State, runtime: Runtime[Context]) -> Update:
        """Ask a person about the price of the turn; refused, the run goes on with what needs no approval."""
        context, parts = self._given(runtime)
        checked(state, "run_id", "query", "candidates", "plan", "turn", "attempts", "decisions")
        request = state["approval"]
        if request is None:
            return {}
        attempts = tuple(state["attempts"].values())
        allowed = allowed_usd(interrupt(request), request)
        while isinstance(allowed, str):  # tracers tell an interrupt as an error
            problem = unless_hidden(allowed, f"that was no answer: {ANSWERS}")
            allowed = allowed_usd(interrupt({**request, "problem": problem}), request)
        if allowed >= request["total_usd"]:
            turn = held(state["turn"], request["arms"], left_usd(allowed, attempts))
            return {"turn": turn, "approval": None, "allowed_usd": allowed}
        inquiry = _inquiry(state, context, allowed, request["arms"])
        try:
            turn = next_turn(parts.outlooker, inquiry, attempts, len(state["decisions"]) + 1)
        except CapTooSmall as error:
            refused = ApprovalRefused(f"{request['question']} The answer was no, and under {allowed:.3g} USD: {error}")
            await _fail(parts, inquiry, attempts, (), refused)
            raise refused from error
        turn = told(turn, request["arms"])
        await parts.ledger.record(state["run_id"], turn.decision)
        trace_decision(turn.decision)
        return {
            "turn": turn,
            "decisions": (*state["decisions"], turn.decision),
            "approval": None,
            "allowed_usd": allowed,
            "refused": request["arms"],
        }

    async def probe(self, state: ProbeInput, runtime: Runtime[Context]) -> Update:
        """Ask one arm; its tokens go out live when the run is committed to it."""
        context, parts = self._given(runtime)
        checked(state, "run_id", "query", "ask")
        ask = state["ask"]
        emit(runtime, {"type": "probe", "attempt_id": ask.attempt_id, "arm": ask.arm})

        def on_token(text: str) -> None:
            emit(runtime, {"type": "token", "attempt_id": ask.attempt_id, "text": text})

        ask, before = await made_before(ledger_before(context, parts), ask)
        if any(attempt.attempt_id == ask.attempt_id for attempt in before):
            return {"attempts": _by_id(before)}
        ask = replace(ask, reserve_usd=ask.reserve_usd - spent_usd(before))
        number = notes_among(before, ask.attempt_id) + 1
        if before and number > MOST_NOTES:
            return {"attempts": _by_id(before)}
        chat, keep = noted_chat(parts, state["run_id"], number), _keeper(parts, state["run_id"], number)
        try:
            listener = on_token if state["live"] else None
            attempts = await ask_arm(parts.pool, chat, state["query"], ask, on_token=listener, keep=keep)
        except CapTooSmall:
            if before:  # what was lost in flight has used the reserve up: the rule sees what else fits
                return {"attempts": _by_id(before)}
            raise
        await parts.ledger.record(state["run_id"], *_made(parts, attempts, number))
        return {"attempts": _by_id((*before, *attempts))}

    async def verify(self, state: State, runtime: Runtime[Context]) -> Update:
        """Give every attempt its verdict, and decide: accept, or try what is worth more than it costs."""
        context, parts = self._given(runtime)
        checked(state, "run_id", "query", "candidates", "plan", "turn", "attempts", "decisions")
        attempts, refused = tuple(state["attempts"].values()), state.get("refused") or []
        allowed = _allowed(state, context)
        inquiry = _inquiry(state, context, allowed, refused)
        try:
            reviewed = await review_run(
                _panel(context, parts, state["run_id"]),
                inquiry,
                attempts,
                len(state["decisions"]) + 1,
                judge=context.judge,
                committed=state["turn"].decision.committed,
                judge_usd=left_usd(allowed, attempts),
                heard=heard_in(state),
            )
        except CapTooSmall as error:
            await _fail(parts, inquiry, attempts, (), error)
            raise
        turn = told(reviewed.turn, refused)
        decision = turn.decision
        verdicts = [
            VerdictGiven(attempt.attempt_id, attempt.verdict)
            for attempt in reviewed.changed
            if attempt.verdict is not None
        ]
        await parts.ledger.record(state["run_id"], *_made(parts, reviewed.judged), *verdicts, decision)
        for attempt in reviewed.changed:
            emit(runtime, {"type": "verdict", "attempt": attempt})
        trace_decision(decision)
        now = {**state["attempts"], **_by_id(reviewed.judged)}
        turn, approval = cleared(parts.pool, inquiry, tuple(now.values()), turn, None if refused else allowed)
        await _held(parts, state["run_id"], approval)
        return {
            "attempts": _by_id((*reviewed.judged, *reviewed.changed)),
            "turn": turn,
            "heard": dict(reviewed.heard),
            "decisions": (*state["decisions"], decision),
            "approval": approval,
        }

    async def escalate(self, state: State, runtime: Runtime[Context]) -> Update:
        """The rule found more to gain: say so. The edges send the next probes."""
        emit(runtime, {"type": "escalate", "decision": state["turn"].decision})
        return {}

    async def accept(self, state: State, runtime: Runtime[Context]) -> Output:
        """Close the run with the best answer so far."""
        _, parts = self._given(runtime)
        checked(state, "run_id", "candidates", "plan", "turn", "attempts")
        attempts = tuple(state["attempts"].values())
        best = best_attempt(attempts)
        decision = state["turn"].decision
        status = "failed" if best is None else decision.status or "accepted"
        end = RunEnd(
            status=status,
            reason=decision.reason,
            answer=None if best is None else best.text,
            answer_attempt_id=None if best is None else best.attempt_id,
            arm=None if best is None else best.arm,
            totals=totals_of(attempts),
            plan=state["plan"],
            candidates=state["candidates"],
        )
        await parts.ledger.finish_run(state["run_id"], end)
        trace_end(parts.pool.name, end, attempts, decision)
        emit(
            runtime,
            {
                "type": "commit",
                "attempt_id": end.answer_attempt_id,
                "text": end.answer or "",
                "tool_calls": () if best is None else best.tool_calls,
            },
        )
        return {
            "status": status,
            "reason": decision.reason,
            "answer": end.answer or "",
            "answer_attempt_id": end.answer_attempt_id,
            "cost_usd": spent_usd(attempts),
        }

    def _given(self, runtime: Runtime[Context]) -> tuple[Context, Parts]:
        """This run's settings and parts; what a parent graph or a client leaves open comes from the defaults."""
        context = runtime.context if isinstance(runtime.context, Context) else self._default or Context()
        parts = context.parts or (self._default.parts if self._default else None)
        if not isinstance(parts, Parts):
            message = "the graph has no parts: pass Context(parts=…), or bind them with build(Context(parts=…))"
            raise TypeError(message)
        return context, parts


def _panel(context: Context, parts: Parts, run_id: RunId) -> Panel:
    return Panel(
        parts.pool,
        noted_chat(parts, run_id),
        parts.outlooker,
        ledger_before(context, parts),
        parts.embedder,
        parts.verifiers,
        keep=_keeper(parts, run_id),
    )


def _keeper(parts: Parts, run_id: RunId, number: int = 1) -> Keep:
    """Writes what a cancelled call may be billed for into the ledger, in the place of the note of this try."""

    async def keep(attempts: tuple[Attempt, ...]) -> None:
        called = [AttemptId(attempt.attempt_id.removesuffix(CANCELLED)) for attempt in attempts]
        await parts.ledger.record(run_id, *landed(called, number), *_made(parts, attempts))

    return keep


async def _held(parts: Parts, run_id: RunId, approval: ApprovalRequest | None) -> None:
    """Have the ledger safe where the run will wait for a person: its process may not live as long."""
    if approval is not None:
        await parts.ledger.record(run_id, Held())


def _check_can_ask(context: Context) -> None:
    if context.approve_above_usd is not None and not is_kept():
        raise SettingError(
            f"approve_above_usd is {context.approve_above_usd!r}, and there is no checkpointer to wait for an answer "
            "with: compile the graph with one, graphs.build(router.context).compile(checkpointer=…), or leave the "
            "setting out. A Router waits inside a graph that has one; a RouterChat runs apart from it, and cannot"
        )


def _allowed(state: State, context: Context) -> float | None:
    """What the run may spend in all without asking a person."""
    allowed = state.get("allowed_usd")
    return context.approve_above_usd if allowed is None else allowed


def _inquiry(state: State, context: Context, allowed: float | None, refused: list[PricedArm]) -> Inquiry:
    """What was planned; once a person has refused, what was allowed is a cap on the rest."""
    if refused and allowed is not None:
        cap = allowed if context.max_cost_usd is None else min(allowed, context.max_cost_usd)
        context = replace(context, max_cost_usd=max(cap, sys.float_info.min))  # a cap is positive, and holds nothing
    return Inquiry(state["run_id"], state["query"], state["candidates"], state["plan"], context)


async def _fail(
    parts: Parts, inquiry: Inquiry, attempts: tuple[Attempt, ...], fresh: tuple[Attempt, ...], error: Exception
) -> None:
    """Close a run that ends with an error of its own; ``fresh`` are calls that are not in the ledger yet."""
    candidates = tuple(inquiry.candidates)
    end = RunEnd("failed", str(error), totals=totals_of(attempts), plan=inquiry.plan, candidates=candidates)
    await parts.ledger.record(inquiry.run_id, *_made(parts, fresh), end)


def _made(parts: Parts, attempts: tuple[Attempt, ...], number: int = 1) -> list[Event]:
    """Calls to be stored; where they were noted as sent, the note of this try goes."""
    made = [AttemptMade(attempt, parts.pool.prices(attempt.arm.model)) for attempt in attempts]
    return [*landed([attempt.attempt_id for attempt in attempts], number), *made]


def _by_id(attempts: tuple[Attempt, ...]) -> dict[AttemptId, Attempt]:
    return {attempt.attempt_id: attempt for attempt in attempts}
