"""Where a node goes next: pure readings of the last decision.

A node hands its update and its goal to LangGraph in one command: an edge of its own that reads the state again would
take as long as the node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from langgraph.types import Send

from curveroute.graphs.state import ProbeInput

if TYPE_CHECKING:
    from curveroute.agent.approval import ApprovalRequest
    from curveroute.agent.step import Turn
    from curveroute.agent.types import Query, RunId


def to_probes(
    run_id: RunId, query: Query, turn: Turn, approval: ApprovalRequest | None
) -> list[Send] | Literal["approve", "accept"]:
    """One probe for each arm of the decision, in parallel, when nobody need be asked first."""
    if approval is not None:
        return "approve"
    if not turn.asks:
        return "accept"
    return [
        Send("probe", ProbeInput(run_id=run_id, query=query, ask=ask, live=turn.decision.committed))
        for ask in turn.asks
    ]


def after_verify(turn: Turn) -> Literal["accept", "escalate"]:
    """Go on as long as there is someone to ask."""
    return "escalate" if turn.asks else "accept"
