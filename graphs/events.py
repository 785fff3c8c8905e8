"""What a run tells while it goes on, through ``stream_mode="custom"``: one typed event for each turn it takes.

Tokens are told only of an attempt that the run is committed to; drafts and rejected probes never are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from typing_extensions import TypedDict

from curveroute.graphs.traces import trace_event

if TYPE_CHECKING:
    from langgraph.runtime import Runtime

    from curveroute.agent.types import Arm, Attempt, AttemptId, Decision, Estimate, Plan, RunId, ToolCall
    from curveroute.graphs.context import Context


class CandidatesEvent(TypedDict):
    """Every eligible arm with its estimate, best first."""

    type: Literal["candidates"]
    run_id: RunId
    candidates: tuple[Estimate, ...]


class PlanEvent(TypedDict):
    """The plan, and what is tried first."""

    type: Literal["plan"]
    plan: Plan
    decision: Decision


class ProbeEvent(TypedDict):
    """An arm is asked."""

    type: Literal["probe"]
    attempt_id: AttemptId
    arm: Arm


class TokenEvent(TypedDict):
    """A piece of the answer, live; only of the attempt that the run is committed to."""

    type: Literal["token"]
    attempt_id: AttemptId
    text: str


class VerdictEvent(TypedDict):
    """An attempt has got its verdict, or a new one."""

    type: Literal["verdict"]
    attempt: Attempt


class EscalateEvent(TypedDict):
    """More is tried, and why."""

    type: Literal["escalate"]
    decision: Decision


class CommitEvent(TypedDict):
    """The answer, whole: what it says, and the tools that it wants to have called."""

    type: Literal["commit"]
    attempt_id: AttemptId | None
    text: str
    tool_calls: tuple[ToolCall, ...]


RunEvent = CandidatesEvent | PlanEvent | ProbeEvent | TokenEvent | VerdictEvent | EscalateEvent | CommitEvent


def emit(runtime: Runtime[Context], event: RunEvent) -> None:
    """Tell whoever listens, traces included; costs next to nothing when nobody does."""
    runtime.stream_writer(event)
    trace_event(event)
