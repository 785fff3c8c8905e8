"""The nodes: read the state, call one function of ``agent``, write what must not be lost, return a partial state.

Invariant: an attempt is in the ledger before the graph moves on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from langgraph.runtime import Runtime
from langgraph.types import Overwrite

from curveroute.agent.errors import CapTooSmall
from curveroute.agent.ledger.events import AttemptMade, RunEnd, RunSettings, RunStart, Totals, VerdictGiven
from curveroute.agent.plan import make_plan, ranking_plan, read_plan
from curveroute.agent.pool.pool import check_query
from curveroute.agent.pool.room import with_room
from curveroute.agent.probe import ask_arm
from curveroute.agent.review import Panel, review_run
from curveroute.agent.step import Inquiry, best_attempt, check_knobs, left_usd, next_turn, spent_usd
from curveroute.agent.types import Attempt, AttemptId, Query, RunId
from curveroute.agent.verify.form import check_form
from curveroute.graphs.context import Context, Parts
from curveroute.graphs.conversation import conversation_of
from curveroute.graphs.events import emit
from curveroute.graphs.model_runs import traced_chat
from curveroute.graphs.run_ids import new_run_id
from curveroute.graphs.state import Output, ProbeInput, State, Update
from curveroute.graphs.traces import trace_decision, trace_end

if TYPE_CHECKING:
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
        query = Query(tuple(conversation_of(state.get("messages") or [])), context.form)
        check_query(query)
        check_form(query.form)
        check_knobs(parts.outlooker, context)
        allowed = parts.pool.restricted(context.allow, context.deny, query.needs)
        arms = with_room(allowed, query.form)
        vector = (await parts.embedder.embed([query.text]))[0] if parts.outlooker.needs_embedding else None
        candidates = parts.outlooker.estimates(vector, query, arms, context.tradeoff)
        run_id = context.run_id or new_run_id()
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
        emit(runtime, {"type": "candidates", "run_id": run_id, "candidates": candidates})
        return {
            "run_id": run_id,
            "query": query,
            "candidates": candidates,
            "attempts": cast("dict[AttemptId, Attempt]", Overwrite({})),  # a thread may hold an earlier run's
            "decisions": (),
        }

    async def plan(self, state: State, runtime: Runtime[Context]) -> Update:
        """Let the planner speak if it pays, and decide what is tried first."""
        context, parts = self._given(runtime)
        candidates = state["candidates"]
        asked: tuple[Attempt, ...] = ()
        plan = ranking_plan(candidates, "planning is off")
        name = AttemptId(f"{state['run_id']}.plan")
        if context.plan and (asked := await parts.ledger.made(name)):
            plan = read_plan(asked[-1], candidates)
        elif context.plan:
            plan, asked = await make_plan(
                parts.pool,
                traced_chat(parts.chat, parts.pool),
                state["query"],
                candidates,
                tradeoff=context.tradeoff,
                reference_cost_usd=parts.outlooker.reference_cost_usd,
                left_usd=left_usd(context.max_cost_usd, ()),
                attempt_id=name,
                keep=_keeper(parts, state["run_id"]),
            )
        inquiry = Inquiry(state["run_id"], state["query"], candidates, plan, context)
        try:
            turn = next_turn(parts.outlooker, inquiry, asked, 1)
        except CapTooSmall as error:
            end = RunEnd("failed", str(error), totals=_totals(asked), plan=plan, candidates=candidates)
            await parts.ledger.record(state["run_id"], *_made(parts, asked), end)
            raise
        await parts.ledger.record(state["run_id"], *_made(parts, asked), turn.decision)
        emit(runtime, {"type": "plan", "plan": plan, "decision": turn.decision})
        return {"plan": plan, "attempts": _by_id(asked), "turn": turn, "decisions": (turn.decision,)}

    async def probe(self, state: ProbeInput, runtime: Runtime[Context]) -> Update:
        """Ask one arm; its tokens go out live when the run is committed to it."""
        _, parts = self._given(runtime)
        ask = state["ask"]
        emit(runtime, {"type": "probe", "attempt_id": ask.attempt_id, "arm": ask.arm})

        def on_token(text: str) -> None:
            emit(runtime, {"type": "token", "attempt_id": ask.attempt_id, "text": text})

        before = await parts.ledger.made(ask.attempt_id)  # by this run, before it was killed
        if any(attempt.attempt_id == ask.attempt_id for attempt in before):
            return {"attempts": _by_id(before)}
        ask = replace(ask, reserve_usd=ask.reserve_usd - spent_usd(before))
        told, keep = on_token if state["live"] else None, _keeper(parts, state["run_id"])
        chat = traced_chat(parts.chat, parts.pool)
        attempts = await ask_arm(parts.pool, chat, state["query"], ask, on_token=told, keep=keep)
        await parts.ledger.record(state["run_id"], *_made(parts, attempts))
        return {"attempts": _by_id((*before, *attempts))}

    async def verify(self, state: State, runtime: Runtime[Context]) -> Update:
        """Give every attempt its verdict, and decide: accept, or try what is worth more than it costs."""
        context, parts = self._given(runtime)
        inquiry = Inquiry(state["run_id"], state["query"], state["candidates"], state["plan"], context)
        reviewed = await review_run(
            _panel(parts, state["run_id"]),
            inquiry,
            tuple(state["attempts"].values()),
            len(state["decisions"]) + 1,
            judge=context.judge,
            committed=state["turn"].decision.committed,
        )
        decision = reviewed.turn.decision
        verdicts = [
            VerdictGiven(attempt.attempt_id, attempt.verdict)
            for attempt in reviewed.changed
            if attempt.verdict is not None
        ]
        await parts.ledger.record(state["run_id"], *_made(parts, reviewed.judged), *verdicts, decision)
        for attempt in reviewed.changed:
            emit(runtime, {"type": "verdict", "attempt": attempt})
        trace_decision(decision)
        return {
            "attempts": _by_id((*reviewed.judged, *reviewed.changed)),
            "turn": reviewed.turn,
            "decisions": (*state["decisions"], decision),
        }

    async def escalate(self, state: State, runtime: Runtime[Context]) -> Update:
        """The rule found more to gain: say so. The edges send the next probes."""
        emit(runtime, {"type": "escalate", "decision": state["turn"].decision})
        return {}

    async def accept(self, state: State, runtime: Runtime[Context]) -> Output:
        """Close the run with the best answer so far."""
        _, parts = self._given(runtime)
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
            totals=_totals(attempts),
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


def _panel(parts: Parts, run_id: RunId) -> Panel:
    return Panel(
        parts.pool,
        traced_chat(parts.chat, parts.pool),
        parts.outlooker,
        parts.ledger.made,
        parts.embedder,
        parts.verifiers,
        keep=_keeper(parts, run_id),
    )


def _keeper(parts: Parts, run_id: RunId) -> Keep:
    """Writes what a cancelled call may be billed for into the ledger."""

    async def keep(attempts: tuple[Attempt, ...]) -> None:
        await parts.ledger.record(run_id, *_made(parts, attempts))

    return keep


def _made(parts: Parts, attempts: tuple[Attempt, ...]) -> list[Event]:
    return [AttemptMade(attempt, parts.pool.prices(attempt.arm.model)) for attempt in attempts]


def _by_id(attempts: tuple[Attempt, ...]) -> dict[AttemptId, Attempt]:
    return {attempt.attempt_id: attempt for attempt in attempts}


def _totals(attempts: tuple[Attempt, ...]) -> Totals:
    return Totals(
        cost_usd=spent_usd(attempts),
        input_tokens=sum(attempt.usage.input_tokens for attempt in attempts),
        output_tokens=sum(attempt.usage.output_tokens for attempt in attempts),
        attempts=len(attempts),
    )
