"""The edges: pure readings of the last decision.

They are coroutines although they wait for nothing: LangGraph sends every other function to a thread.
"""

from __future__ import annotations

from typing import Literal

from langgraph.types import Send

from curveroute.graphs.state import ProbeInput, State


async def to_probes(state: State) -> list[Send] | Literal["approve", "accept"]:
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


async def after_verify(state: State) -> Literal["accept", "escalate"]:
    """Go on as long as there is someone to ask."""
    return "escalate" if state["turn"].asks else "accept"
