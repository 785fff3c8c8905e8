"""Rethinking: a recorded run decided again, offline, with another tradeoff, cap or policy.

The same rule decides (``next_turn``) and the same review gives the verdicts (``review_run``), fed with the attempts
that the run made: an arm that the rule chooses answers as it answered then. Where the rule chooses an arm that was
never asked, nobody knows what it would have said: the run is followed no further, and what that arm would have cost and
been worth is an estimate, marked as such. Nothing is asked, spent or written.

What is taken from the record: the estimates, the rule and the promise that were asked for, and the words of planner and
judge where asking them still pays. What is of today: the pool, the rule, and whatever predictor is handed in, with its
courses, covariance and unit of cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np

from curveroute.agent.chat.recorded import RecordedChat
from curveroute.agent.decide import rank
from curveroute.agent.errors import CapTooSmall, SettingError
from curveroute.agent.otherwise import why_otherwise
from curveroute.agent.plan import make_plan, ranking_plan
from curveroute.agent.review import Panel, review_run
from curveroute.agent.shelf import Shelf
from curveroute.agent.step import Inquiry, best_attempt, is_answer, left_usd, next_turn, spent_usd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curveroute.agent.embed.seam import Embedder
    from curveroute.agent.ledger.records import RunRecord
    from curveroute.agent.pool import Pool
    from curveroute.agent.propose import Outlooker
    from curveroute.agent.step import Knobs, Turn
    from curveroute.agent.types import Arm, Attempt, AttemptId, Decision, Estimate, Status

Policy: TypeAlias = Literal["closed-form", "learned", "single"]
POLICIES: tuple[Policy, ...] = ("learned", "closed-form", "single")


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a run is decided again; these are a run's knobs.

    Attributes:
        policy: ``single`` takes the first arm's answer as it is; none: the rule that runs follow today.
    """

    tradeoff: float
    max_cost_usd: float | None = None
    seconds_usd: float = 0.0
    max_error: float | None = None
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """How a run goes: what it asks, what it answers, what that costs.

    Attributes:
        asked: arms in the order in which they are asked; those of ``missing`` are the last of them.
        answer: the attempt whose text is the answer; none when all failed, or nothing recorded was asked.
        known_usd: what the recorded calls cost.
        missing: arms that the rule would ask now and that were never asked.
        expected_usd: what the missing ones are expected to cost.
        score: probability that the answer is right: its verdict, or with arms missing an estimate.
        status: how it ends; none where that is not known, or nobody decided.
        reason: why it stops, or why it cannot begin.
        decisions: every step.
    """

    asked: tuple[Arm, ...]
    answer: Attempt | None
    known_usd: float
    missing: tuple[Arm, ...] = ()
    expected_usd: float = 0.0
    score: float | None = None
    status: Status | None = None
    reason: str = ""
    decisions: tuple[Decision, ...] = ()

    @property
    def opening(self) -> tuple[Arm, ...]:
        """What is asked first, in parallel."""
        return self.decisions[0].arms if self.decisions else self.asked[:1]

    @property
    def cost_usd(self) -> float:
        """Known and expected cost together."""
        return self.known_usd + self.expected_usd


@dataclass(frozen=True, slots=True)
class Rethought:
    """One run as it was and as it would be.

    Attributes:
        was: from the record.
        now: decided again on other terms.
        reproduced: whether on its own terms it would go today as it went then; if not, a difference is not the new
            terms' alone.
        otherwise: what is known of why it is not reproduced, or what is not; empty when it is.
    """

    record: RunRecord
    was: Course
    now: Course
    reproduced: bool
    otherwise: str = ""

    @property
    def changes(self) -> tuple[str, ...]:
        """What would have changed, in words; empty when nothing would."""
        was, now = self.was, self.now
        if was.asked and not now.asked:
            return (f"would not begin: {now.reason}",)
        return tuple(_paths(was, now)) or tuple(_ends(was, now))


def _paths(was: Course, now: Course) -> Iterator[str]:
    """Where another way is taken, and where it leads."""
    if set(was.opening) != set(now.opening):
        unknown = " (not recorded)" * bool(set(now.opening) & set(now.missing))
        yield f"asks {' and '.join(map(str, now.opening))} first{unknown}"
    if set(now.missing) - set(now.opening):
        yield f"goes on to {' and '.join(map(str, now.missing))} (not recorded)"
    elif len(now.asked) < len(was.asked) and not now.missing:
        yield f"stops after {len(now.asked)} of {len(was.asked)}, saves {was.known_usd - now.known_usd:.2e} USD"
    elif len(now.asked) > len(was.asked) and not now.missing:
        yield f"asks {len(now.asked)} instead of {len(was.asked)}"
    if not now.missing and _name(was.answer) != _name(now.answer):
        yield "another answer" if _text(was.answer) != _text(now.answer) else "the same answer from another arm"


def _ends(was: Course, now: Course) -> Iterator[str]:
    """What may differ where the same arms begin, and as many are asked."""
    if was.asked != now.asked:
        yield f"asks {', '.join(str(arm) for arm in now.asked if arm not in was.asked) or 'in another order'} instead"
    elif not math.isclose(was.known_usd, now.known_usd, rel_tol=1e-9):
        yield "asks the planner or the judge otherwise"
    if was.status and now.status and was.status != now.status:
        yield f"ends {now.status} instead of {was.status}: {now.reason}"


def check_policy(policy: Policy | None, outlooker: Outlooker) -> None:
    """Refuse a policy that this pool's predictor does not hold.

    Raises:
        SettingError: it was not learned.
    """
    if policy == "learned" and not outlooker.looking.courses:
        raise SettingError(
            f"pool {outlooker.pool.name!r} has no learned policy; train a predictor for it, "
            "or give --policy closed-form"
        )


def why_not_rethought(record: RunRecord, pool: Pool) -> str:
    """Why a run cannot be decided again over this pool; empty when it can."""
    if record.kind != "ask":
        return "a collection decides nothing"
    if not record.candidates or record.plan is None:
        return f"it has no candidates on record ({record.status})"
    gone = [str(one.arm) for one in record.candidates if one.arm not in set(pool.arms)]
    if gone:
        return f"pool {pool.name!r} no longer has {', '.join(gone[:4])}{' and more' if len(gone) > 4 else ''}"  # noqa: PLR2004
    return ""


def own_terms(record: RunRecord) -> Terms:
    """The terms that a run was decided on; of runs that were written before it was kept, without rule and promise."""
    settings = record.settings
    return Terms(
        tradeoff=record.tradeoff,
        max_cost_usd=record.max_cost_usd,
        seconds_usd=record.seconds_usd,
        max_error=None if settings is None else settings.max_error,
        policy=None if settings is None else cast("Policy | None", settings.policy),
    )


async def rethink(record: RunRecord, outlooker: Outlooker, terms: Terms, embedder: Embedder | None = None) -> Rethought:
    """Decide a recorded run again, on other terms and on its own.

    Args:
        record: a run that ``why_not_rethought`` finds nothing against.
        outlooker: worst cases, covariance and unit of cost of the run's pool.
        terms: tradeoff, cap and policy.
        embedder: compares answers in free text, as the run's did; by their spelling alone where there is none.
    """
    own, was = own_terms(record), _as_it_was(record)
    again = await _course(record, outlooker, own, embedder)
    now = again if terms == own else await _course(record, outlooker, terms, embedder)
    reproduced = _gist(again) == _gist(was)
    return Rethought(record, was, now, reproduced, "" if reproduced else why_otherwise(record, outlooker))


def _gist(course: Course) -> tuple[tuple[Arm, ...], AttemptId | None, Status | None]:
    return course.asked, _name(course.answer), course.status


def _as_it_was(record: RunRecord) -> Course:
    attempts = sorted((one.attempt for one in record.attempts), key=_place)
    answer = next((one for one in attempts if one.attempt_id == record.answer_attempt_id), None)
    return Course(
        asked=tuple(one.arm for one in attempts if is_answer(one)),
        answer=answer,
        known_usd=record.totals.cost_usd,
        score=None if answer is None or answer.verdict is None else answer.verdict.score,
        status=None if record.status == "running" else record.status,
        reason=record.reason,
        decisions=tuple(one.decision for one in record.decisions),
    )


async def _course(record: RunRecord, outlooker: Outlooker, terms: Terms, embedder: Embedder | None) -> Course:
    """Decide, take what was recorded of the arms chosen, judge, decide again."""
    shelf = Shelf(record, outlooker.pool.spec.judge_reliability)
    panel = Panel(outlooker.pool, RecordedChat(()), outlooker, shelf.made, embedder, recorded=shelf.checked)
    inquiry, attempts = await _planned(record, panel, terms, shelf)
    decisions: list[Decision] = []
    asked: list[Arm] = []
    try:
        turn = next_turn(outlooker, inquiry, attempts, 1)
        while True:
            decisions.append(turn.decision)
            found = [(ask.arm, shelf.take(ask.arm)) for ask in turn.asks]
            missing = tuple(arm for arm, calls in found if not calls)
            asked += [arm for arm, calls in found if calls]
            attempts = (*attempts, *(call for _, calls in found for call in calls))
            if any(calls for _, calls in found):
                attempts, turn = await _reviewed(panel, inquiry, attempts, len(decisions) + 1, turn, shelf)
            if missing or not found or terms.policy == "single":
                return _ended(inquiry, attempts, asked, missing, decisions)
    except CapTooSmall as error:
        return Course((), None, spent_usd(attempts), status="failed", reason=str(error))


async def _reviewed(
    panel: Panel, inquiry: Inquiry, attempts: tuple[Attempt, ...], step: int, turn: Turn, shelf: Shelf
) -> tuple[tuple[Attempt, ...], Turn]:
    """All calls with their verdicts, and the next turn: exactly as in the graph."""
    committed = turn.decision.committed
    reviewed = await review_run(panel, inquiry, attempts, step, judge=shelf.was_judged, committed=committed)
    known = {attempt.attempt_id: attempt for attempt in (*attempts, *reviewed.judged, *reviewed.changed)}
    return tuple(known.values()), reviewed.turn


def _ended(
    inquiry: Inquiry,
    attempts: tuple[Attempt, ...],
    asked: list[Arm],
    missing: tuple[Arm, ...],
    decisions: list[Decision],
) -> Course:
    estimates = {one.arm: one for one in inquiry.candidates if one.arm in missing}
    answer = best_attempt(attempts)
    scores = [estimate.quality for estimate in estimates.values()]
    scores += [] if answer is None else [_score(answer)]
    return Course(
        asked=(*asked, *missing),
        answer=answer,
        known_usd=spent_usd(attempts),
        missing=missing,
        expected_usd=math.fsum(estimate.cost_usd for estimate in estimates.values()),
        score=max(scores, default=None),
        status=_status(inquiry.knobs, decisions[-1], answer) if not missing else None,
        reason=decisions[-1].reason,
        decisions=tuple(decisions),
    )


def _status(knobs: Knobs, last: Decision, answer: Attempt | None) -> Status | None:
    """How a run ends, as the graph has it; a single shot's answer is taken as it is."""
    if answer is None:
        return "failed"
    return None if knobs.policy == "single" else last.status


async def _planned(record: RunRecord, panel: Panel, terms: Terms, shelf: Shelf) -> tuple[Inquiry, tuple[Attempt, ...]]:
    """What the run is about on these terms, and what planning it costs.

    Of the conversation the ledger keeps the user's words, and what a request of each arm can use at most. A planner
    that was heard is heard again if it still pays, and says what it said; one that was not stays out of it.
    """
    outlooker, query, planner = panel.outlooker, shelf.query, shelf.planner
    bounds = shelf.bounds(panel.pool)
    candidates = _ranked(record.candidates, outlooker, terms)
    recorded = record.plan or ranking_plan(candidates, "")
    plan = ranking_plan(candidates, recorded.reason)
    if terms.policy == "single":
        return Inquiry(record.run_id, query, candidates, replace(plan, probe=False), terms, bounds), ()
    if planner:
        plan, asked = await make_plan(
            panel.pool,
            panel.chat,
            query,
            candidates,
            tradeoff=terms.tradeoff,
            reference_cost_usd=outlooker.reference_cost_usd,
            left_usd=left_usd(terms.max_cost_usd, ()),
            attempt_id=planner[0].attempt_id,
        )
        planner = planner if asked else ()
        plan = recorded if asked and recorded.source == "planner" else plan
    return Inquiry(record.run_id, query, candidates, plan, terms, bounds), planner


def _ranked(candidates: tuple[Estimate, ...], outlooker: Outlooker, terms: Terms) -> tuple[Estimate, ...]:
    """The candidates in the order of their score at the new tradeoff."""
    order = rank(
        np.array([one.quality for one in candidates]),
        np.array([one.cost_usd for one in candidates]),
        tradeoff=terms.tradeoff,
        reference_cost_usd=outlooker.reference_cost_usd,
    )
    return tuple(candidates[place] for place in order.tolist())


def _place(attempt: Attempt) -> tuple[int, ...]:
    """Step and number of an answer, from its name; parallel calls come back in any order."""
    return tuple(int(part) for part in attempt.attempt_id.split(".")[1:] if part.isdecimal())


def _name(attempt: Attempt | None) -> AttemptId | None:
    return None if attempt is None else attempt.attempt_id


def _text(attempt: Attempt | None) -> str | None:
    return None if attempt is None else attempt.answer or attempt.text


def _score(attempt: Attempt) -> float:
    return -1.0 if attempt.verdict is None else attempt.verdict.score
