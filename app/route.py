"""The typed result of one run: the answer, the arm that gave it, what it cost, and how it came about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from curveroute.agent.types import Arm, Attempt, AttemptId, Decision, Estimate, Plan, RunId, Status, ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curveroute.agent.types import JsonObject


class Route(BaseModel):
    """One run's result. While streaming it comes in pieces that add up: ``first + second + …`` is the whole.

    Attributes:
        answer: the committed answer.
        model: the model that gave it.
        budget: its output budget in tokens; ``None`` is unlimited.
        status: ``accepted``, or ``best_so_far`` when a cap or the pool's end stopped the search.
        reason: why the run stopped.
        cost_usd: everything the run spent: rejected probes, planner and judge included.
        attempts: every call, in order, with its verdict.
        candidates: every eligible arm with its estimate, best first.
        decisions: what the rule chose at each step, and why every other arm lost.
        restart: in a stream, the text before this piece is void: its connection was lost.
        tool_calls: what the answer wants to have called, where the query brought tools.
    """

    model_config = ConfigDict(frozen=True)

    answer: str = ""
    model: str = ""
    budget: int | None = None
    status: Status | None = None
    reason: str = ""
    cost_usd: float = 0.0
    run_id: RunId = RunId("")
    answer_attempt_id: AttemptId | None = Field(default=None, repr=False)
    attempts: tuple[Attempt, ...] = ()
    candidates: tuple[Estimate, ...] = ()
    plan: Plan | None = None
    decisions: tuple[Decision, ...] = Field(default=(), repr=False)
    restart: bool = Field(default=False, repr=False)
    tool_calls: tuple[ToolCall, ...] = ()

    @property
    def served(self) -> Attempt | None:
        """The attempt whose answer was given; ``None`` in a stream's early pieces."""
        return next((one for one in self.attempts if one.attempt_id == self.answer_attempt_id), None)

    @property
    def arm(self) -> Arm | None:
        """The (model, budget) pair that gave the answer; ``None`` in a stream's early pieces."""
        served = [attempt.arm for attempt in self.attempts if attempt.arm.model == self.model]
        return next((arm for arm in served if arm.budget == self.budget), None)

    def __str__(self) -> str:
        return self.answer

    def __add__(self, other: Route) -> Route:
        """The stream so far and its next piece."""
        answer = other.answer if other.restart else self.answer + other.answer
        later = other.model_dump(exclude_defaults=True, exclude={"answer", "restart", "attempts", "candidates", "plan"})
        kept = {name: getattr(other, name) for name in _WHOLE if getattr(other, name)}
        later.pop("decisions", None)
        later.pop("tool_calls", None)
        return self.model_copy(update={**later, **kept, "answer": answer, "restart": self.restart or other.restart})

    @classmethod
    def from_output(cls, output: Mapping[str, Any]) -> Self:
        """From the graph's final state."""
        attempts = tuple(output["attempts"].values())
        served = next((one for one in attempts if one.attempt_id == output.get("answer_attempt_id")), None)
        return cls(
            answer=output["answer"],
            model=served.arm.model if served else "",
            budget=served.arm.budget if served else None,
            status=output["status"],
            reason=output["reason"],
            cost_usd=output["cost_usd"],
            run_id=output["run_id"],
            answer_attempt_id=None if served is None else served.attempt_id,
            tool_calls=served.tool_calls if served else (),
            attempts=attempts,
            candidates=output["candidates"],
            plan=output["plan"],
            decisions=output["decisions"],
        )

    def to_json(self) -> JsonObject:
        """The documented JSON object of ``curveroute ask --json``."""
        return {
            "answer": self.answer,
            "model": self.model,
            "budget": self.budget,
            "status": self.status,
            "cost_usd": self.cost_usd,
            "run_id": self.run_id,
            "attempts": [_attempt_json(attempt) for attempt in self.attempts],
            "candidates": [_candidate_json(candidate) for candidate in self.candidates],
            "plan": None if self.plan is None else _plan_json(self.plan),
            **({"tool_calls": [_call_json(call) for call in self.tool_calls]} if self.tool_calls else {}),
        }


_WHOLE = ("attempts", "candidates", "plan", "decisions", "tool_calls")


def _call_json(call: ToolCall) -> JsonObject:
    return {"call_id": call["call_id"], "name": call["name"], "arguments": call["arguments"]}


def _attempt_json(attempt: Attempt) -> JsonObject:
    verdict = attempt.verdict
    return {
        "role": attempt.role,
        "model": attempt.arm.model,
        "budget": attempt.arm.budget,
        "input_tokens": attempt.usage.input_tokens,
        "output_tokens": attempt.usage.output_tokens,
        "cost_usd": attempt.cost_usd,
        "finish_reason": attempt.finish_reason,
        "latency_s": round(attempt.latency_s, 4),
        "verdict": None if verdict is None else {"score": verdict.score, "reason": verdict.reason},
    }


def _candidate_json(candidate: Estimate) -> JsonObject:
    return {
        "model": candidate.arm.model,
        "budget": candidate.arm.budget,
        "quality": candidate.quality,
        "quality_std": candidate.quality_std,
        "output_tokens": candidate.output_tokens,
        "cost_usd": candidate.cost_usd,
    }


def _plan_json(plan: Plan) -> JsonObject:
    return {
        "arms": [{"model": arm.model, "budget": arm.budget} for arm in plan.arms],
        "probe": plan.probe,
        "criteria": plan.criteria,
        "source": plan.source,
        "reason": plan.reason,
    }
