"""Traces: the graph's own run carries the candidate table, the decisions, the verdicts and the end in its metadata.

LangChain's tracers (LangSmith's, and OpenInference's on top of them) keep the runs that are still going on, and send
their metadata when they end. A node finds the graph's run there and writes into it, so that one glance at the trace
tells how the answer came about, and nothing has to be put together from the nodes' outputs. Without a tracer nothing
is computed. What a tracer that is not of this family sees are the outputs, which hold the same as values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from langchain_core.tracers.langchain import LangChainTracer
from langsmith import Client

from curveroute.agent.account import attempt_account, candidates_account, decision_account, plan_account
from curveroute.agent.plan import PLANNER_SAID
from curveroute.agent.settings import hides_contents
from curveroute.graphs.langsmith_feedback import VERDICT_KEY, Feedback, send_later
from curveroute.graphs.model_runs import ATTEMPT_KEY
from curveroute.graphs.tracers import tracing_here

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.tracers.schemas import Run

    from curveroute.agent.ledger.events import RunEnd
    from curveroute.agent.types import Attempt, Decision, JsonObject, Plan
    from curveroute.graphs.events import RunEvent
    from curveroute.graphs.tracers import Tracer

_LOSERS = 5


def trace_event(event: RunEvent) -> None:
    """Write what an event tells of the run's course into the graph's run."""
    if event["type"] not in {"candidates", "plan", "verdict"}:
        return
    for _, run in _graph_runs():
        if event["type"] == "candidates":
            facts: JsonObject = {"run_id": event["run_id"], "candidates": candidates_account(event["candidates"])}
            run.add_metadata(_named({**facts, "decisions": [], "verdicts": {}}))
        elif event["type"] == "plan":
            run.add_metadata(_named({"plan": _plan(event["plan"])}))
            _append(run, event["decision"])
        elif event["type"] == "verdict":
            attempt = event["attempt"]
            given = run.metadata.get("curveroute_verdicts", {})
            run.add_metadata(_named({"verdicts": {**given, attempt.attempt_id: _attempt(attempt)}}))


def trace_decision(decision: Decision) -> None:
    """Write a decision that no event tells into the graph's run."""
    for _, run in _graph_runs():
        _append(run, decision)


def trace_end(pool: str, end: RunEnd, attempts: Sequence[Attempt], decision: Decision) -> None:
    """Write how a run ended into the graph's run, tag it, and have the verdicts sent as feedback on the model's runs.

    Args:
        pool: the pool's name.
        end: how the run ended.
        attempts: every call, with its last verdict.
        decision: the last one.
    """
    for tracer, run in _graph_runs():
        arm = None if end.arm is None else str(end.arm)
        cost = end.totals.cost_usd if end.totals is not None else None
        run.add_metadata(_named({"pool": pool, "status": end.status, "reason": end.reason, "arm": arm}))
        run.add_metadata(_named({"cost_usd": cost, "policy": decision.policy}))
        run.add_tags([f"pool:{pool}", f"policy:{decision.policy}", f"status:{end.status}"])
        if isinstance(tracer, LangChainTracer) and isinstance(tracer.client, Client):
            _send_verdicts(tracer, run, attempts)


def _send_verdicts(tracer: LangChainTracer, graph: Run, attempts: Sequence[Attempt]) -> None:
    """Only of calls that this trace holds: a run that was resumed after a crash has others elsewhere."""
    runs = {run.metadata.get(ATTEMPT_KEY): run for run in _below(graph)}
    for attempt in attempts:
        run = runs.get(attempt.attempt_id)
        if run is None or attempt.verdict is None or graph.session_name is None:
            continue
        verdict = attempt.verdict
        detail = "" if hides_contents() else verdict.detail
        comment = f"{verdict.reason}: {detail}" if detail else verdict.reason
        said = Feedback(run.id, run.trace_id, VERDICT_KEY, verdict.score, comment)
        send_later(tracer.client, graph.session_name, said)


def _below(run: Run) -> Iterator[Run]:
    for child in run.child_runs:
        yield child
        yield from _below(child)


def _append(run: Run, decision: Decision) -> None:
    """A step that is taken again, after an interrupt, replaces what it had decided."""
    taken = [one for one in run.metadata.get("curveroute_decisions", []) if one["step"] != decision.step]
    run.add_metadata(_named({"decisions": [*taken, decision_account(decision, _LOSERS)]}))


def _plan(plan: Plan) -> JsonObject:
    """The account of a plan; where contents are hidden, without what the planner said and what it may have quoted."""
    told = plan_account(plan)
    heard = plan.source == "planner" or plan.reason.startswith(PLANNER_SAID)
    return {**told, "criteria": "", "reason": ""} if hides_contents() and heard else told


def _attempt(attempt: Attempt) -> JsonObject:
    """The account of a call, without what somebody said where contents are hidden."""
    told = attempt_account(attempt)
    if not hides_contents():
        return told
    verdict = cast("JsonObject | None", told["verdict"])
    return {**told, "error": told["error"] and "", "verdict": verdict and {**verdict, "detail": ""}}


def _named(facts: JsonObject) -> JsonObject:
    return {f"curveroute_{name}": value for name, value in facts.items()}


def _graph_runs() -> list[tuple[Tracer, Run]]:
    """The run of the graph that the calling node belongs to, with the tracer that keeps it."""
    tracing = tracing_here()
    return [] if tracing is None else tracing.graph_runs()
