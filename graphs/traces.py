"""Traces: the graph's own run carries the candidate table, the decisions and the verdicts in its metadata.

LangChain's tracers (LangSmith's, and OpenInference's on top of them) keep the runs that are still going on, and send
their metadata when they end. A node finds the graph's run there and writes into it, so that one glance at the trace
tells how the answer came about, and nothing has to be put together from the nodes' outputs. Without a tracer nothing
is computed. What a tracer that is not of this family sees are the outputs, which hold the same as values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.tracers.base import AsyncBaseTracer, BaseTracer
from langgraph.config import get_config

from curveroute.agent.account import attempt_account, candidates_account, decision_account, plan_account

if TYPE_CHECKING:
    from langchain_core.tracers.schemas import Run

    from curveroute.agent.types import Decision, JsonObject
    from curveroute.graphs.events import RunEvent

_LOSERS = 5


def trace_event(event: RunEvent) -> None:
    """Write what an event tells of the run's course into the graph's run."""
    if event["type"] not in {"candidates", "plan", "verdict"}:
        return
    for run in _graph_runs():
        if event["type"] == "candidates":
            facts: JsonObject = {"run_id": event["run_id"], "candidates": candidates_account(event["candidates"])}
            run.add_metadata(_named({**facts, "decisions": [], "verdicts": {}}))
        elif event["type"] == "plan":
            run.add_metadata(_named({"plan": plan_account(event["plan"])}))
            _append(run, event["decision"])
        elif event["type"] == "verdict":
            attempt = event["attempt"]
            given = run.metadata.get("curveroute_verdicts", {})
            run.add_metadata(_named({"verdicts": {**given, attempt.attempt_id: attempt_account(attempt)}}))


def trace_decision(decision: Decision) -> None:
    """Write a decision that no event tells into the graph's run."""
    for run in _graph_runs():
        _append(run, decision)


def _append(run: Run, decision: Decision) -> None:
    """A step that is taken again, after an interrupt, replaces what it had decided."""
    taken = [one for one in run.metadata.get("curveroute_decisions", []) if one["step"] != decision.step]
    run.add_metadata(_named({"decisions": [*taken, decision_account(decision, _LOSERS)]}))


def _named(facts: JsonObject) -> JsonObject:
    return {f"curveroute_{name}": value for name, value in facts.items()}


def _graph_runs() -> list[Run]:
    """The run of the graph that the calling node belongs to, once for each tracer."""
    try:
        callbacks = get_config().get("callbacks")
    except RuntimeError:  # called by no graph
        return []
    if not isinstance(callbacks, BaseCallbackManager):
        return []
    tracers = [one for one in callbacks.handlers if isinstance(one, BaseTracer | AsyncBaseTracer)]
    nodes = [(tracer, tracer.run_map.get(str(callbacks.parent_run_id))) for tracer in tracers]
    graphs = [tracer.run_map.get(str(node.parent_run_id)) for tracer, node in nodes if node is not None]
    return [run for run in graphs if run is not None]
