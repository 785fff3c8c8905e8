"""One step of a run: what was seen so far in the terms of the rule, and the rule's decision in the terms of the run.

Pure. The rule is ``curveroute.agent.escalate``; here candidates become arrays, verdicts a posterior, the cap what is
left of it, and indices become arms with a reserve each. The reserves of a step never exceed what the cap still holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from curveroute.agent.escalate import Situation, Step, next_step, why_not
from curveroute.agent.posterior import Belief, observe, truncate
from curveroute.agent.probe import Ask, request_bounds
from curveroute.agent.types import Arm, Attempt, AttemptId, Decision, Rejection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.pool import Pool
    from curveroute.agent.propose import Outlooker
    from curveroute.agent.types import Estimate, Plan, Query, Role, RunId

MAX_STEPS = 8
_REJECTIONS_KEPT = 32
_PARTNERS = 1


class Knobs(Protocol):
    """The settings of a run that the rule reads."""

    @property
    def tradeoff(self) -> float: ...  # noqa: D102

    @property
    def max_cost_usd(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What is settled once a run is planned.

    Attributes:
        run_id: names the attempts to come.
        query: what is asked.
        candidates: every eligible arm's estimate.
        plan: the arms that may be tried, and which one first.
        knobs: tradeoff and cap.
    """

    run_id: RunId
    query: Query
    candidates: Sequence[Estimate]
    plan: Plan
    knobs: Knobs

    @property
    def arms(self) -> list[Arm]:
        """The candidates' arms, in their order."""
        return [candidate.arm for candidate in self.candidates]


@dataclass(frozen=True, slots=True)
class Turn:
    """A decision, and the asks that carry it out."""

    decision: Decision
    asks: tuple[Ask, ...]


def is_answer(attempt: Attempt) -> bool:
    """Whether an attempt tried to answer the query; planner, judge and lost requests did not."""
    return attempt.role in {"probe", "escalation"} and not attempt.attempt_id.endswith(".lost")


def spent_usd(attempts: Sequence[Attempt]) -> float:
    """What these attempts cost together."""
    return math.fsum(attempt.cost_usd for attempt in attempts)


def left_usd(cap_usd: float | None, attempts: Sequence[Attempt]) -> float:
    """What a cap still holds after these attempts; infinite without a cap."""
    return math.inf if cap_usd is None else max(cap_usd - spent_usd(attempts), 0.0)


def next_turn(pool: Pool, outlooker: Outlooker, inquiry: Inquiry, attempts: Sequence[Attempt], step: int) -> Turn:
    """What the rule does next.

    Args:
        pool: prices and reliability.
        outlooker: covariance and the unit of cost.
        inquiry: what was planned.
        attempts: every call so far, answers with their verdicts.
        step: number of this decision in the run, from 1.

    Raises:
        CapTooSmall: nothing was answered yet and no arm fits under the cap.
    """
    answers = [attempt for attempt in attempts if is_answer(attempt)]
    situation = _situation(pool, outlooker, inquiry, attempts)
    if step > MAX_STEPS:
        stopped = Step((), f"{MAX_STEPS} steps are enough", "best_so_far", False, np.zeros(len(inquiry.candidates)))
        return Turn(_decision(step, inquiry.arms, situation, stopped), ())
    first, partners = _opening(inquiry.arms, inquiry.plan) if not answers else (None, ())
    chosen = _stop_without_answer(situation) if answers else None
    chosen = chosen or next_step(situation, first=first, partners=partners)
    asks = _asks(inquiry, step, situation, chosen, "escalation" if answers else "probe")
    return Turn(_decision(step, inquiry.arms, situation, chosen), asks)


def _stop_without_answer(situation: Situation) -> Step | None:
    """The end of a run whose every call failed: nobody is left to ask, or the cap holds no one else."""
    if situation.best is not None or (situation.open & (situation.worst_usd <= situation.left_usd)).any():
        return None
    reason = "every call failed, and the cap holds no other arm" if situation.open.any() else "every arm was tried"
    return Step((), reason, "best_so_far", False, np.zeros(len(situation.quality)))


def _situation(pool: Pool, outlooker: Outlooker, inquiry: Inquiry, attempts: Sequence[Attempt]) -> Situation:
    arms, query = inquiry.arms, inquiry.query
    answers = [attempt for attempt in attempts if is_answer(attempt)]
    tried = {attempt.arm for attempt in answers}
    good = [attempt.verdict.score for attempt in answers if attempt.verdict is not None and attempt.error is None]
    remaining = np.array([arm in inquiry.plan.arms and arm not in tried for arm in arms])
    if answers and not good and not remaining.any():
        # Every planned arm failed: what the planner left out is better than nothing.
        remaining = np.array([arm not in tried for arm in arms])
    worst = [request_bounds(pool, arm, pool.messages(query, arm)).cost_usd for arm in arms]
    return Situation(
        quality=_believed(outlooker, inquiry.candidates, answers).mean,
        cost_usd=np.array([candidate.cost_usd for candidate in inquiry.candidates]),
        worst_usd=np.array(worst),
        open=remaining,
        best=max(good, default=None),
        tradeoff=inquiry.knobs.tradeoff,
        reference_cost_usd=outlooker.reference_cost_usd,
        left_usd=left_usd(inquiry.knobs.max_cost_usd, attempts),
        reliability=outlooker.reliability,
    )


def _believed(outlooker: Outlooker, candidates: Sequence[Estimate], answers: Sequence[Attempt]) -> Belief:
    """The heads' belief, conditioned on every verdict; a failed call says nothing about quality."""
    arms = [candidate.arm for candidate in candidates]
    belief = Belief(np.array([candidate.quality for candidate in candidates]), outlooker.covariance(arms))
    for attempt in answers:
        if attempt.error is not None or attempt.verdict is None:
            continue
        index = arms.index(attempt.arm)
        if attempt.verdict.reason == "truncated":
            belief = truncate(belief, index, arms, attempt.verdict.score)
        else:
            belief = observe(belief, index, attempt.verdict.score)
    return belief


def _opening(arms: Sequence[Arm], plan: Plan) -> tuple[int | None, tuple[int, ...]]:
    """The planner's first arm, if it spoke; and who may be asked beside it when probing is worth it."""
    first = arms.index(plan.arms[0]) if plan.source == "planner" and plan.arms[0] in arms else None
    if not plan.probe:
        return first, ()
    lead = arms[first] if first is not None else plan.arms[0]
    others = [index for index, arm in enumerate(arms) if arm.model != lead.model and arm in set(plan.arms)]
    return first, tuple(others[:_PARTNERS])


def _asks(inquiry: Inquiry, step: int, situation: Situation, chosen: Step, role: Role) -> tuple[Ask, ...]:
    """One ask an arm. What the cap holds beyond their worst cases is shared out, for repeated requests."""
    arms = [inquiry.arms[index] for index in chosen.arms]
    worst = [float(situation.worst_usd[index]) for index in chosen.arms]
    spare = 0.0 if math.isinf(situation.left_usd) else max(situation.left_usd - math.fsum(worst), 0.0)
    share = spare * (1.0 - 1e-9) / max(len(worst), 1)
    return tuple(
        Ask(
            AttemptId(f"{inquiry.run_id}.{step}.{number}"),
            role,
            arm,
            reserve_usd=math.inf if math.isinf(situation.left_usd) else one + share,
        )
        for number, (arm, one) in enumerate(zip(arms, worst, strict=True), start=1)
    )


def _decision(step: int, arms: Sequence[Arm], situation: Situation, chosen: Step) -> Decision:
    rejected = tuple(
        Rejection(arm, reason, float(net))
        for arm, reason, net in zip(arms, why_not(situation, chosen), chosen.net, strict=True)
        if reason
    )
    return Decision(
        step=step,
        arms=tuple(arms[index] for index in chosen.arms),
        reason=chosen.reason,
        status=chosen.status,
        committed=chosen.committed,
        rejected=rejected[:_REJECTIONS_KEPT],
    )
