"""The edges: pure readings of the last decision.

Each names the part of the state that it reads, because LangGraph reads the state anew for every edge.
"""

from __future__ import annotations

from typing import Literal

from langgraph.types import Send
from typing_extensions import TypedDict

from curveroute.agent.approval import ApprovalRequest
from curveroute.agent.step import Turn
from curveroute.agent.types import Query, RunId
from curveroute.graphs.state import ProbeInput


class Deciding(TypedDict):
    """What a run is to do next."""

    turn: Turn


class Taking(Deciding):
    """A turn that is to be taken, and what a person is to be asked before."""

    run_id: RunId
    query: Query
    approval: ApprovalRequest | None


def to_probes(state: Taking) -> list[Send] | Literal["approve", "accept"]:
    """One probe for each arm of the decision, in parallel, when nobody need be asked first."""
    if state.get("approval") is not None:
        return "approve"
    turn = state["turn"]
    if not turn.asks:
        return "accept"
    return [
        Send("probe", ProbeInput(run_id=state["run_id"], query=state["query"], ask=ask, live=turn.decision.committed))
        for ask in turn.asks
    ]


def after_verify(state: Deciding) -> Literal["accept", "escalate"]:
    """Go on as long as there is someone to ask."""
    return "escalate" if state["turn"].asks else "accept"
