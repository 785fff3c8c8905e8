"""One step of a run: what was seen so far in the terms of the rule, and the rule's decision in the terms of the run.

Pure. The rule is ``curveroute.agent.escalate``; here candidates become arrays, verdicts a posterior, the cap what is
left of it, and indices become arms with a reserve each. The reserves of a step never exceed what the cap still holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from curveroute.agent.advice import Advice, Survey, advise, advised, surveyed
from curveroute.agent.decided import decided, flips_near
from curveroute.agent.elsewhere import Elsewhere
from curveroute.agent.ending import as_promised, early_end, off_course
from curveroute.agent.errors import SettingError
from curveroute.agent.escalate import Situation, Step, next_step
from curveroute.agent.looking.looking import SPREAD, aside
from curveroute.agent.posterior import Heard, conditioned, whole_of
from curveroute.agent.probe import Ask, Bounds, affordable_limit, request_bounds
from curveroute.agent.types import Arm, Attempt, AttemptId, Decision
from curveroute.agent.verify.hearing import Hearing, hear_answers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from curveroute.agent.escalate import Floats, Mask
    from curveroute.agent.listed import Listed
    from curveroute.agent.propose import Outlooker
    from curveroute.agent.types import Estimate, Plan, Query, Role, RunId

    Answer = tuple[int, Attempt]

MAX_STEPS = 7  # 23 steps of the graph: within LangChain's recursion limit of 25
AGAIN = 0.7  # temperature of an arm's second and further answers


class Knobs(Protocol):
    """The settings of a run that the rule reads."""

    @property
    def tradeoff(self) -> float: ...  # noqa: D102

    @property
    def max_cost_usd(self) -> float | None: ...  # noqa: D102

    @property
    def seconds_usd(self) -> float: ...  # noqa: D102

    @property
    def max_error(self) -> float | None: ...  # noqa: D102

    @property
    def policy(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What is settled once a run is planned.

    Attributes:
        run_id: names the attempts to come.
        query: what is asked.
        candidates: every eligible arm's estimate.
        plan: the arms that may be tried, and which one first.
        knobs: tradeoff and cap.
        bounds: what one request of each arm can use at most, where the whole conversation is no longer known.
    """

    run_id: RunId
    query: Query
    candidates: Sequence[Estimate]
    plan: Plan
    knobs: Knobs
    bounds: Mapping[Arm, Bounds] | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A decision, and the asks that carry it out."""

    decision: Decision
    asks: tuple[Ask, ...]


def is_answer(attempt: Attempt) -> bool:
    """Whether an attempt tried to answer the query; planner, judge and lost requests did not."""
    return attempt.role in {"probe", "escalation"} and not attempt.attempt_id.endswith(".lost")


def best_attempt(attempts: Sequence[Attempt]) -> Attempt | None:
    """The answer that the jury gives: of the highest verdict the one that judge and verifiers spoke for most.

    Of equals the one that was expected to be best; of such the later arm's, which was chosen knowing the earlier; of
    one arm's answers the first.
    """
    answers = [attempt for attempt in attempts if is_answer(attempt) and attempt.error is None]
    arms = [attempt.arm for attempt in answers]
    return max(answers, key=lambda one: (*_standing(one), arms.index(one.arm)), default=None)


def spent_usd(attempts: Sequence[Attempt]) -> float:
    """What these attempts cost together."""
    return math.fsum(attempt.cost_usd for attempt in attempts)


def left_usd(cap_usd: float | None, attempts: Sequence[Attempt]) -> float:
    """What a cap still holds after these attempts; infinite without a cap. Rounded down: it never adds up to more."""
    if cap_usd is None:
        return math.inf
    costs = [attempt.cost_usd for attempt in attempts]
    left = max(math.fsum((cap_usd, *(-cost for cost in costs))), 0.0)
    return left if math.fsum((*costs, left)) <= cap_usd else math.nextafter(left, 0.0)


def next_turn(
    outlooker: Outlooker,
    inquiry: Inquiry,
    attempts: Sequence[Attempt],
    step: int,
    *,
    committed: bool = False,
    hearing: Hearing | None = None,
) -> Turn:
    """What the rule does next.

    Args:
        outlooker: worst cases, covariance, what was learned of looking, and the unit of cost.
        inquiry: what was planned.
        attempts: every call so far, answers with their verdicts.
        step: number of this decision in the run, from 1.
        committed: the answer was shown as it was written, so it stands, whatever its verdict.
        hearing: of the answers, where it was held already.

    Raises:
        CapTooSmall: nothing was asked yet and no arm fits under the cap.
    """
    known = outlooker.listed(inquiry.candidates)
    arms = known.arms
    answers = [attempt for attempt in attempts if is_answer(attempt)]
    hearing = hearing or _heard(outlooker, inquiry, answers)
    failed = frozenset(attempt.arm.model for attempt in answers if attempt.error is not None)
    plain = _situation(outlooker, inquiry, known, attempts, failed)
    elsewhere = _elsewhere(outlooker, inquiry, known, plain, failed, hearing)
    advice = elsewhere.advice
    situation = plain if advice is None else advised(plain, advice)
    most = MAX_STEPS if step > MAX_STEPS else None
    chosen = early_end(situation, answers, committed=committed, most_steps=most) if answers else None
    early = chosen is not None
    chosen = chosen or _chosen(inquiry, arms, elsewhere, situation, begins=not answers)
    chosen = _ended(outlooker, inquiry, situation, chosen, failed, hearing)
    asks = _asks(inquiry.run_id, step, arms, situation, chosen, advice, "escalation" if answers else "probe")
    flips = () if early else flips_near(arms, elsewhere, chosen)
    return Turn(decided(step, arms, situation, chosen, flips), asks)


def _chosen(inquiry: Inquiry, arms: list[Arm], elsewhere: Elsewhere, situation: Situation, *, begins: bool) -> Step:
    """What the rule asks, or that it stops."""
    advice, first = elsewhere.advice, _planned(arms, inquiry.plan) if begins else None
    chosen = next_step(situation, first=first, partners=elsewhere.partners(situation, first))
    if chosen.committed and advice is not None and not advice.last:  # the same arm may be asked again
        return replace(chosen, committed=False)
    return chosen


def _standing(attempt: Attempt) -> tuple[float, float, float]:
    """The jury's probability of an answer, before it was calibrated, what was said of it, and what was expected."""
    if attempt.verdict is None:
        return -1.0, 0.0, -math.inf
    signals = dict(attempt.verdict.signals)
    jury = signals.get("jury", attempt.verdict.score)
    return jury, signals.get("judged", 0.0), signals.get("prior", -math.inf)


def _heard(outlooker: Outlooker, inquiry: Inquiry, answers: Sequence[Attempt]) -> Hearing | None:
    """The answers heard again, with the words that their verdicts tell of."""
    if not answers:
        return None
    words = {
        attempt.attempt_id: dict(attempt.verdict.signals).get("judged", 0.0)
        for attempt in answers
        if attempt.verdict is not None
    }
    estimates = {candidate.arm: candidate for candidate in inquiry.candidates}
    return hear_answers(inquiry.query.text, answers, estimates, outlooker.looking.jury, words)


def _elsewhere(
    outlooker: Outlooker, inquiry: Inquiry, known: Listed, plain: Situation, failed: Set[str], hearing: Hearing | None
) -> Elsewhere:
    """The step at any tradeoff."""
    survey = _survey(outlooker, inquiry, known, hearing)
    models = known.models if inquiry.plan.probe and inquiry.knobs.seconds_usd > 0.0 else None
    if survey is None:
        return Elsewhere(plain, models)
    return Elsewhere(plain, models, survey, survey.stack.beside[aside(inquiry.query.text) + SPREAD], failed)


def _survey(outlooker: Outlooker, inquiry: Inquiry, known: Listed, hearing: Hearing | None) -> Survey | None:
    """What was learned, where the plan is the ranking and leaves nothing out: a planner is not second-guessed."""
    if inquiry.plan.source == "planner" or len(inquiry.plan.arms) < len(inquiry.candidates):
        return None
    if inquiry.knobs.policy == "closed-form" or not outlooker.looking.courses:
        return None
    return surveyed(outlooker.looking.stack, outlooker.slots, known, hearing)


def _begun(outlooker: Outlooker, inquiry: Inquiry, known: Listed, failed: Set[str]) -> Advice | None:
    """What the run's course says before anything is asked; None where it has none, or a model of it failed since."""
    survey = _survey(outlooker, inquiry, known, None)
    course = outlooker.looking.place(inquiry.knobs.tradeoff, aside(inquiry.query.text))
    begun = None if survey is None or course is None else advise(survey, course, len(known.arms))
    return None if begun is None or failed & begun.models else begun


def check_knobs(outlooker: Outlooker, knobs: Knobs) -> None:
    """Refuse what was never learned, before anything is asked.

    Raises:
        SettingError: a promise that was not calibrated for this tradeoff, or a learned rule where nothing was learned.
    """
    if knobs.policy == "learned" and not outlooker.looking.courses:
        raise SettingError(
            f"policy is 'learned', and nothing was learned for pool {outlooker.pool.name!r}: train a predictor for it, "
            "or leave policy out"
        )
    if knobs.max_error is None:
        return
    promise = outlooker.looking.calibrator.promise(knobs.max_error, knobs.tradeoff)
    if promise is None or promise.threshold is None:
        raise SettingError(
            f"no score is known above which at most {knobs.max_error:g} of the answers are wrong at tradeoff "
            f"{knobs.tradeoff:g}: calibrate the predictor on a table (curveroute calibrate), or leave max_error out"
        )


def _situation(
    outlooker: Outlooker, inquiry: Inquiry, known: Listed, attempts: Sequence[Attempt], failed_models: Set[str]
) -> Situation:
    """The run as the closed form sees it."""
    arms, places = known.arms, known.places
    answers = [(known.place(attempt.arm), attempt) for attempt in attempts if is_answer(attempt)]
    good = [one.verdict.score for _, one in answers if one.verdict is not None and one.error is None]
    quality, heard = known.quality, _verdicts(answers)
    if answers:
        columns = outlooker.covariance(places, places[whole_of(heard)])
        quality = conditioned(quality, columns, heard, arms)
    left = left_usd(inquiry.knobs.max_cost_usd, attempts)
    worst = _cut_to_cap(outlooker, inquiry, arms, _worst_usd(outlooker, inquiry, known), left)
    asked, failed = _closed(arms, answers, failed_models)
    return Situation(
        quality=quality,
        cost_usd=known.cost_usd,
        worst_usd=worst,
        open=_open(arms, inquiry.plan, asked, failed, worst <= left, answered=bool(good)),
        best=max(good, default=None),
        tradeoff=inquiry.knobs.tradeoff,
        reference_cost_usd=outlooker.reference_cost_usd,
        left_usd=left,
        reliability=outlooker.reliability,
        latency_s=known.latency_s if inquiry.knobs.seconds_usd > 0.0 else None,
        seconds_usd=inquiry.knobs.seconds_usd,
        asked=asked,
        failed=failed,
    )


def _ended(
    outlooker: Outlooker,
    inquiry: Inquiry,
    situation: Situation,
    chosen: Step,
    failed: Set[str],
    hearing: Hearing | None,
) -> Step:
    """The step, where the rule accepts an answer that is no more than the best so far."""
    if chosen.status != "accepted":
        return chosen
    knobs = inquiry.knobs
    if situation.gain is None and not math.isinf(situation.left_usd):
        chosen = off_course(chosen, situation, _begun(outlooker, inquiry, outlooker.listed(inquiry.candidates), failed))
    promise = None if knobs.max_error is None else outlooker.looking.calibrator.promise(knobs.max_error, knobs.tradeoff)
    spoken = hearing is not None and any(hearing.words)
    measured = situation.gain is not None and knobs.seconds_usd <= 0.0 and not spoken
    return as_promised(chosen, situation, None if promise is None else promise.threshold, measured=measured)


def _worst_usd(outlooker: Outlooker, inquiry: Inquiry, known: Listed) -> Floats:
    """(A,) the most that one request of each arm can cost."""
    if inquiry.bounds is None:
        return outlooker.worst_usd(inquiry.query, known.places)
    return np.array([inquiry.bounds[arm].cost_usd for arm in known.arms])


def _bounds(outlooker: Outlooker, inquiry: Inquiry, arm: Arm) -> Bounds:
    if inquiry.bounds is not None:
        return inquiry.bounds[arm]
    return request_bounds(outlooker.pool, arm, outlooker.pool.messages(inquiry.query, arm), inquiry.query.form)


def _cut_to_cap(outlooker: Outlooker, inquiry: Inquiry, arms: list[Arm], worst: Floats, left: float) -> Floats:
    """Worst cases, where an unlimited arm that the cap does not hold is cut down to what it does hold.

    It is cut no further than to the tokens that it is expected to use.
    """
    for place in () if math.isinf(left) else np.flatnonzero(worst > left).tolist():
        arm, expected = arms[place], inquiry.candidates[place]
        if arm.budget is None:
            tokens = affordable_limit(outlooker.pool, arm, _bounds(outlooker, inquiry, arm), left)
            if tokens >= expected.output_tokens:
                worst[place] = left
    return worst


def _closed(arms: Sequence[Arm], answers: Sequence[Answer], failed: Set[str]) -> tuple[Mask, Mask | None]:
    """The arms that were asked, and those of a model whose call failed for good; None where none did."""
    asked = np.zeros(len(arms), dtype=np.bool_)
    asked[[index for index, _ in answers]] = True
    return asked, np.array([arm.model in failed for arm in arms]) if failed else None


def _open(arms: list[Arm], plan: Plan, asked: Mask, failed: Mask | None, fits: Mask, *, answered: bool) -> Mask:
    """The arms that may be asked: planned, not asked yet, and of no model whose call failed.

    As long as there is no answer, anyone whom the cap holds is better than nobody: first what the plan left out, then
    the failed models' other budgets.
    """
    untried = ~asked
    sound = untried if failed is None else untried & ~failed
    wanted = set(plan.arms) if len(plan.arms) < len(arms) else None
    planned = sound if wanted is None else np.array([arm in wanted for arm in arms]) & sound
    if answered or (planned & fits).any():
        return planned
    return next((one for one in (sound, untried) if (one & fits).any()), planned)


def _verdicts(answers: Sequence[Answer]) -> list[Heard]:
    """Verdicts as the belief reads them; a failed call says nothing about quality."""
    return [
        Heard(index, attempt.verdict.score, attempt.verdict.reason == "truncated")
        for index, attempt in answers
        if attempt.error is None and attempt.verdict is not None
    ]


def _planned(arms: list[Arm], plan: Plan) -> int | None:
    """The planner's first arm, if it spoke."""
    return arms.index(plan.arms[0]) if plan.source == "planner" and plan.arms[0] in arms else None


def _asks(
    run_id: RunId, step: int, arms: list[Arm], situation: Situation, chosen: Step, advice: Advice | None, role: Role
) -> tuple[Ask, ...]:
    """One ask an arm. What the cap holds beyond its worst case is for repeated requests, if it is asked alone."""
    worst = [float(situation.worst_usd[index]) for index in chosen.arms]
    share = math.inf
    if not math.isinf(situation.left_usd):
        share = max(situation.left_usd - math.fsum(worst), 0.0) * (1.0 - 1e-9) if len(worst) == 1 else 0.0
    samples = [0 if advice is None else advice.heard.count(arms[index]) for index in chosen.arms]
    return tuple(
        Ask(
            AttemptId(f"{run_id}.{step}.{number}"),
            role,
            arms[index],
            sample=sample,
            temperature=AGAIN if sample else 0.0,
            reserve_usd=one + share,
        )
        for number, (index, one, sample) in enumerate(zip(chosen.arms, worst, samples, strict=True), start=1)
    )
