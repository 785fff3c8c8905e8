"""One step of a run: what was seen so far in the terms of the rule, and the rule's decision in the terms of the run.

Pure. The rule is ``curveroute.agent.escalate``; here candidates become arrays, verdicts a posterior, the cap what is
left of it, and indices become arms with a reserve each. The reserves of a step never exceed what the cap still holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np

from curveroute.agent.escalate import Situation, Step, next_step, why_not
from curveroute.agent.posterior import Belief, observe, truncate
from curveroute.agent.probe import Ask, affordable_limit
from curveroute.agent.types import Arm, Attempt, AttemptId, Decision, Rejection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curveroute.agent.escalate import Floats, Mask
    from curveroute.agent.propose import Outlooker
    from curveroute.agent.types import Estimate, Plan, Query, Role, RunId

    Answer = tuple[int, Attempt]

MAX_STEPS = 7  # 23 steps of the graph: within LangChain's recursion limit of 25
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


def next_turn(
    outlooker: Outlooker, inquiry: Inquiry, attempts: Sequence[Attempt], step: int, *, committed: bool = False
) -> Turn:
    """What the rule does next.

    Args:
        outlooker: worst cases, covariance, reliability and the unit of cost.
        inquiry: what was planned.
        attempts: every call so far, answers with their verdicts.
        step: number of this decision in the run, from 1.
        committed: the answer was shown as it was written, so it stands, whatever its verdict.

    Raises:
        CapTooSmall: nothing was asked yet and no arm fits under the cap.
    """
    arms = inquiry.arms
    answers = [attempt for attempt in attempts if is_answer(attempt)]
    situation = _situation(outlooker, inquiry, arms, attempts)
    chosen = _stop_early(situation, step, committed=committed) if answers else None
    if chosen is None:
        first, partners = (None, ()) if answers else _opening(arms, inquiry.plan, situation)
        chosen = next_step(situation, first=first, partners=partners)
    asks = _asks(inquiry.run_id, step, arms, situation, chosen, "escalation" if answers else "probe")
    return Turn(_decision(step, arms, situation, chosen), asks)


def _stop_early(situation: Situation, step: int, *, committed: bool) -> Step | None:
    """An end that is not the rule's: a committed answer, enough steps, or only failed calls and no one else to ask."""
    net = np.zeros(situation.quality.size)
    if committed and situation.best is not None:
        return Step((), "no verdict could have changed the choice", "accepted", False, net)
    if step > MAX_STEPS:
        return Step((), f"{MAX_STEPS} steps are enough", "best_so_far", False, net)
    if situation.best is not None or (situation.open & (situation.worst_usd <= situation.left_usd)).any():
        return None
    reason = "every call failed, and the cap holds no other arm" if situation.open.any() else "every arm was tried"
    return Step((), reason, "best_so_far", False, net)


def _situation(outlooker: Outlooker, inquiry: Inquiry, arms: list[Arm], attempts: Sequence[Attempt]) -> Situation:
    answers = [(arms.index(attempt.arm), attempt) for attempt in attempts if is_answer(attempt)]
    good = [one.verdict.score for _, one in answers if one.verdict is not None and one.error is None]
    places = outlooker.places(arms)
    quality = np.array([candidate.quality for candidate in inquiry.candidates])
    left = left_usd(inquiry.knobs.max_cost_usd, attempts)
    worst = _cut_to_cap(outlooker, inquiry, arms, outlooker.worst_usd(inquiry.query, places), left)
    return Situation(
        quality=_believed(Belief(quality, outlooker.covariance(places)), arms, answers) if answers else quality,
        cost_usd=np.array([candidate.cost_usd for candidate in inquiry.candidates]),
        worst_usd=worst,
        open=_open(arms, inquiry.plan, answers, worst <= left, answered=bool(good)),
        best=max(good, default=None),
        tradeoff=inquiry.knobs.tradeoff,
        reference_cost_usd=outlooker.reference_cost_usd,
        left_usd=left,
        reliability=outlooker.reliability,
    )


def _cut_to_cap(outlooker: Outlooker, inquiry: Inquiry, arms: list[Arm], worst: Floats, left: float) -> Floats:
    """Worst cases, where an unlimited arm that the cap does not hold is cut down to what it does hold.

    It is cut no further than to the tokens that it is expected to use.
    """
    for place, (arm, expected) in enumerate(zip(arms, inquiry.candidates, strict=True)):
        if arm.budget is None and worst[place] > left:
            messages = outlooker.pool.messages(inquiry.query, arm)
            tokens = affordable_limit(outlooker.pool, arm, messages, left)
            if tokens >= expected.output_tokens:
                worst[place] = left
    return worst


def _open(arms: list[Arm], plan: Plan, answers: Sequence[Answer], fits: Mask, *, answered: bool) -> Mask:
    """The arms that may be asked: planned, not tried, and of no model whose call failed for good.

    As long as there is no answer, anyone whom the cap holds is better than nobody: first what the plan left out, then
    the failed models' other budgets.
    """
    untried = np.ones(len(arms), dtype=np.bool_)
    untried[[index for index, _ in answers]] = False
    failed = {attempt.arm.model for _, attempt in answers if attempt.error is not None}
    sound = np.array([arm.model not in failed for arm in arms]) & untried if failed else untried
    wanted = set(plan.arms) if len(plan.arms) < len(arms) else None
    planned = sound if wanted is None else np.array([arm in wanted for arm in arms]) & sound
    if answered or (planned & fits).any():
        return planned
    return next((one for one in (sound, untried) if (one & fits).any()), planned)


def _believed(belief: Belief, arms: list[Arm], answers: Sequence[Answer]) -> Floats:
    """Qualities conditioned on every verdict; a failed call says nothing about quality."""
    for index, attempt in answers:
        if attempt.error is not None or attempt.verdict is None:
            continue
        if attempt.verdict.reason == "truncated":
            belief = truncate(belief, index, arms, attempt.verdict.score)
        else:
            belief = observe(belief, index, attempt.verdict.score)
    return belief.mean


def _opening(arms: list[Arm], plan: Plan, situation: Situation) -> tuple[int | None, tuple[int, ...]]:
    """The planner's first arm, if it spoke; and who may be asked beside the first one when probing is worth it."""
    able = situation.open & (situation.worst_usd <= situation.left_usd)
    first = arms.index(plan.arms[0]) if plan.source == "planner" and plan.arms[0] in arms else None
    if not plan.probe or not able.any():
        return first, ()
    lead = arms[first if first is not None and able[first] else int(np.flatnonzero(able)[0])]
    others = [index for index in np.flatnonzero(able).tolist() if arms[index].model != lead.model]
    return first, tuple(others[:_PARTNERS])


def _asks(run_id: RunId, step: int, arms: list[Arm], situation: Situation, chosen: Step, role: Role) -> tuple[Ask, ...]:
    """One ask an arm. What the cap holds beyond their worst cases is shared out, for repeated requests."""
    worst = [float(situation.worst_usd[index]) for index in chosen.arms]
    share = math.inf
    if not math.isinf(situation.left_usd):
        share = max(situation.left_usd - math.fsum(worst), 0.0) * (1.0 - 1e-9) / max(len(worst), 1)
    return tuple(
        Ask(AttemptId(f"{run_id}.{step}.{number}"), role, arms[index], reserve_usd=one + share)
        for number, (index, one) in enumerate(zip(chosen.arms, worst, strict=True), start=1)
    )


def _decision(step: int, arms: Sequence[Arm], situation: Situation, chosen: Step) -> Decision:
    lost = zip(arms, why_not(situation, chosen), chosen.net.tolist(), strict=True)
    rejected = (Rejection(arm, reason, net) for arm, reason, net in lost if reason)
    return Decision(
        step=step,
        arms=tuple(arms[index] for index in chosen.arms),
        reason=chosen.reason,
        status=chosen.status,
        committed=chosen.committed,
        rejected=tuple(islice(rejected, _REJECTIONS_KEPT)),
    )
